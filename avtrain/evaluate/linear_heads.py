"""Linear heads trained on the frozen maps of a network's stages: the Kinetics protocol.

Reference: Morgado, Vasconcelos, Misra 2021, section 4.2, and the released code: heads on conv2x to
conv5x, each adaptive max-pool to a grid, BatchNorm1d, Linear; their losses summed; Adam.

Departures:
    - A map that is smaller than its grid keeps its size: small networks and small pictures.
    - An epoch is cut into batches of almost equal size, so that none is tiny.
    - Clips are those of the run (frames, rate, pixels) where the settings do not say otherwise.
    - `bn_quirk` is off unless asked for: the published script left the frozen network in training
      mode, so that batch statistics were used and the running ones moved.
    - Frames were resized and stored before they are squashed to a square and cropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avdata import ShardSet
from avtrain.evaluate.accuracy import ClassificationAccuracy, classification_accuracy
from avtrain.evaluate.classifier_training import TrainingOptions
from avtrain.evaluate.clip_batches import (
    ClipForm,
    ClipSource,
    epoch_batches,
    sample_scores,
)
from avtrain.evaluate.config import STAGES, LinearConfig
from avtrain.evaluate.folds import LabelledFold
from avtrain.evaluate.frozen import FrozenEncoders, layer_maps
from avtrain.evaluate.map_grids import pool_to_grid

if TYPE_CHECKING:
    from jaxtyping import Float


class StageHeads(nn.Module):
    """One linear classifier a stage, made for maps of known shapes."""

    def __init__(self, config: LinearConfig, maps: dict[str, Tensor], num_classes: int) -> None:
        super().__init__()
        self.sides: dict[str, int] = {name: getattr(config.grids, name) for name in STAGES}
        self.heads = nn.ModuleDict()
        for name, side in self.sides.items():
            dim = pool_to_grid(maps[name][:1], side=side, pooling="max").shape[1]
            self.heads[name] = nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, num_classes))

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Float[Tensor, "b c"]]:
        """Logits by stage."""
        return {
            name: self.heads[name](pool_to_grid(maps[name].float(), side=side, pooling="max"))
            for name, side in self.sides.items()
        }


def linear_heads_accuracy(
    frozen: FrozenEncoders,
    shards: ShardSet,
    fold: LabelledFold,
    config: LinearConfig,
    options: TrainingOptions,
) -> dict[str, ClassificationAccuracy]:
    """Test accuracy of the heads by stage, after the last epoch."""
    form = ClipForm(
        modality=options.modality,
        clip_frames=config.clip_frames,
        crop="squashed",
        jitter=config.jitter,
    )
    source = ClipSource(frozen, shards, form)
    network = frozen.network_copy(options.modality).requires_grad_(False)
    network.train(config.bn_quirk)
    target_of = dict(zip(fold.train, fold.train_target.tolist(), strict=True))
    epochs = [
        epoch_batches(
            fold.train,
            clips_per_sample=config.clips_per_sample,
            batch_size=config.batch_size,
            seed=options.seed,
            epoch=epoch,
        )
        for epoch in range(config.epochs)
    ]
    heads: StageHeads | None = None
    for epoch, items in enumerate(epochs):
        view = source.random_view(seed=options.seed, augment=True)
        loaded_batches = source.load(view, items, num_threads=options.num_threads)
        for loaded in options.progress(
            loaded_batches,
            total=len(items),
            description=f"linear {fold.name}, epoch {epoch + 1}/{config.epochs}",
        ):
            with torch.no_grad():
                maps = layer_maps(network, frozen.inputs(loaded.batch))
            if heads is None:
                heads = _new_heads(config, maps, num_classes=len(fold.classes), seed=options.seed)
                heads.to(frozen.device)
                optimizer = torch.optim.Adam(
                    heads.parameters(), lr=config.lr, weight_decay=config.weight_decay
                )
                schedule = torch.optim.lr_scheduler.MultiStepLR(
                    optimizer, milestones=list(config.milestones), gamma=config.gamma
                )
            target = torch.tensor([target_of[item.sample] for item in loaded.items])
            target = target.to(frozen.device, non_blocking=True)
            loss = torch.stack([F.cross_entropy(out, target) for out in heads(maps).values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    assert heads is not None
    trained = heads.eval()
    network.eval()
    scores = sample_scores(
        source,
        fold.test,
        lambda inputs: trained(layer_maps(network, inputs)),
        num_windows=config.test_clips,
        batch_clips=config.batch_size,
        num_threads=options.num_threads,
        progress=options.progress,
        description=f"linear {fold.name}, test",
    )
    return {
        name: classification_accuracy(rows, fold.test_target, train_target=fold.train_target)
        for name, rows in scores.items()
    }


def _new_heads(
    config: LinearConfig, maps: dict[str, Tensor], *, num_classes: int, seed: int
) -> StageHeads:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StageHeads(config, maps, num_classes)
