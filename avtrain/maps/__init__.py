"""Maps of where in the clips of a shard set the sound comes from, by any method that has them."""

from avtrain.maps.clip_map import ClipMaps, ClipRequest, HeardSound
from avtrain.maps.pair_maps import PairMaps
from avtrain.maps.set_maps import SetMaps, map_clips
from avtrain.maps.smoothing import SMOOTHING_CELLS, refined_maps, smoothed
from avtrain.maps.sync_maps import SyncMaps

__all__ = [
    "SMOOTHING_CELLS",
    "ClipMaps",
    "ClipRequest",
    "HeardSound",
    "PairMaps",
    "SetMaps",
    "SyncMaps",
    "map_clips",
    "refined_maps",
    "smoothed",
]
