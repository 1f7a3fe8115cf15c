"""A sample of a shard set by its key."""

import difflib

from avdata.errors import ShardSetError
from avdata.shards.reader import ShardSet

NEAR_KEYS_AMONG = 100_000
"""Names that are searched for similar ones: more would take seconds."""


def find_sample(shards: ShardSet, key: str) -> int:
    """Row of the sample with `key`.

    Raises:
        ShardSetError: There is none; the text names keys like it.
    """
    try:
        return shards.keys.index(key)
    except ValueError:
        pass
    near = difflib.get_close_matches(key, shards.keys[:NEAR_KEYS_AMONG], n=3, cutoff=0.4)
    near = near or shards.keys[:3]
    closest = f"; the closest keys are {', '.join(near)}" if near else ""
    raise ShardSetError(f"{shards.location} has no sample {key!r} among its {len(shards)}{closest}")
