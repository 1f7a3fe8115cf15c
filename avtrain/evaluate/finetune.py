"""A whole network trained on labels, its classifier first: the UCF-101 and HMDB-51 protocol.

Reference: Morgado, Vasconcelos, Misra 2021, section 4.2, and the released configurations: global
max-pool, dropout, Linear; stage one trains the classifier alone, stage two all weights; Adam.

Departures:
    - An epoch is cut into batches of almost equal size, so that none is tiny.
    - Frames were resized and stored before they are cropped.
    - Test clips start at evenly spaced times, rounded down to stored frames, not at evenly spaced
      whole frames of a decoding at 16 fps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avdata import ShardSet
from avtrain.data.sample_generator import step_seed
from avtrain.evaluate.accuracy import ClassificationAccuracy, classification_accuracy
from avtrain.evaluate.classifier_training import TrainingOptions
from avtrain.evaluate.clip_batches import (
    ClipForm,
    ClipSource,
    epoch_batches,
    sample_scores,
)
from avtrain.evaluate.config import FinetuneConfig
from avtrain.evaluate.folds import LabelledFold
from avtrain.evaluate.frozen import FrozenEncoders

if TYPE_CHECKING:
    from jaxtyping import Float

_FIRST_TEST_CLIP = 1_000_000
"""Occurrence of the first random test clip: test samples may train in another fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneAccuracy:
    """Accuracy over test samples, and over single clips of them."""

    dense: ClassificationAccuracy
    """Video@1: each sample's class probabilities are the mean over evenly spaced clips."""
    single: ClassificationAccuracy | None
    """Clip@1: each random clip is an answer; None where the settings leave it out."""


class FinetunedNetwork(nn.Module):
    """A network, dropout and a linear classifier."""

    def __init__(self, network: nn.Module, *, dim: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.network = network
        self.dropout = dropout
        self.classifier = nn.Linear(dim, num_classes)

    def forward(
        self, inputs: Tensor, *, dropout_generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c"]:
        """Logits; dropout only where a generator is given."""
        features: Tensor = self.network(inputs).float()
        if dropout_generator is not None and self.dropout > 0:
            drawn = torch.rand(features.shape, generator=dropout_generator, device=features.device)
            features = features * (drawn >= self.dropout) / (1 - self.dropout)
        logits: Tensor = self.classifier(features)
        return logits


def finetune_accuracy(
    frozen: FrozenEncoders,
    shards: ShardSet,
    fold: LabelledFold,
    config: FinetuneConfig,
    options: TrainingOptions,
) -> FinetuneAccuracy:
    """Test accuracy of a copy of the network after both stages; the given one stays as it is."""
    form = ClipForm(
        modality=options.modality,
        clip_frames=config.clip_frames,
        crop="resized",
        jitter=config.jitter,
    )
    source = ClipSource(frozen, shards, form)
    tuning = _Tuning(frozen, source, fold, config, options)
    tuning.train_head()
    tuning.train_all()
    model = tuning.model.eval()
    scores = sample_scores(
        source,
        frozen,
        fold.test,
        lambda inputs: {"all": model(inputs)},
        num_windows=config.test_clips,
        batch_clips=config.batch_size,
        num_threads=options.num_threads,
        progress=options.progress,
        description=f"finetune {fold.name}, test",
    )["all"]
    return FinetuneAccuracy(
        dense=classification_accuracy(scores, fold.test_target, train_target=fold.train_target),
        single=tuning.single_clip_accuracy() if config.single_test_clips else None,
    )


class _Tuning:
    """The model of one fold while it is trained."""

    def __init__(
        self,
        frozen: FrozenEncoders,
        source: ClipSource,
        fold: LabelledFold,
        config: FinetuneConfig,
        options: TrainingOptions,
    ) -> None:
        self.frozen, self.source, self.fold = frozen, source, fold
        self.config, self.options = config, options
        self.target_of = dict(zip(fold.train, fold.train_target.tolist(), strict=True))
        self.num_steps = 0
        network = frozen.network_copy(options.modality)
        dim: Any = network.embedding_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.model = FinetunedNetwork(
                network, dim=dim, num_classes=len(fold.classes), dropout=config.dropout
            )
        self.model.to(frozen.device)

    def _items(self, epoch: int) -> list[Any]:
        return epoch_batches(
            self.fold.train,
            clips_per_sample=self.config.clips_per_sample,
            batch_size=self.config.batch_size,
            seed=self.options.seed,
            epoch=epoch,
        )

    def train_head(self) -> None:
        """Stage one: the classifier alone."""
        config, model = self.config, self.model
        optimizer = torch.optim.Adam(model.classifier.parameters(), lr=config.head_lr)
        model.network.requires_grad_(False)
        for epoch in range(config.head_epochs):
            model.network.train(config.head_bn_quirk)
            self._epoch(epoch, optimizer, f"classifier epoch {epoch + 1}/{config.head_epochs}")
        model.network.requires_grad_(True)

    def train_all(self) -> None:
        """Stage two: all weights."""
        config, model = self.config, self.model
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(
            optimizer, milestones=list(config.milestones), gamma=config.gamma
        )
        model.network.train()
        for epoch in range(config.epochs):
            self._epoch(config.head_epochs + epoch, optimizer, f"epoch {epoch + 1}/{config.epochs}")
            schedule.step()

    def _epoch(self, epoch: int, optimizer: torch.optim.Optimizer, description: str) -> None:
        seed, device = self.options.seed, self.frozen.device
        view = self.source.random_view(seed=seed, augment=True)
        items = self._items(epoch)
        loaded_batches = self.source.load(view, items, num_threads=self.options.num_threads)
        for loaded in self.options.progress(
            loaded_batches,
            total=len(items),
            description=f"finetune {self.fold.name}, {description}",
        ):
            generator = torch.Generator(device)
            generator.manual_seed(step_seed(seed=seed, step=self.num_steps))
            target = torch.tensor([self.target_of[item.sample] for item in loaded.items])
            logits = self.model(self.frozen.inputs(loaded.batch), dropout_generator=generator)
            loss = F.cross_entropy(logits, target.to(device, non_blocking=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.num_steps += 1

    @torch.no_grad()
    def single_clip_accuracy(self) -> ClassificationAccuracy:
        """Accuracy of random clips of the test samples, one by one."""
        fold, config = self.fold, self.config
        view = self.source.random_view(seed=self.options.seed, augment=False)
        items = epoch_batches(
            fold.test,
            clips_per_sample=config.single_test_clips,
            batch_size=config.batch_size,
            seed=self.options.seed,
            epoch=0,
            occurrence=_FIRST_TEST_CLIP,
        )
        target_of = dict(zip(fold.test, fold.test_target.tolist(), strict=True))
        scores, targets = [], []
        loaded_batches = self.source.load(view, items, num_threads=self.options.num_threads)
        for loaded in self.options.progress(
            loaded_batches, total=len(items), description=f"finetune {fold.name}, single clips"
        ):
            scores.append(self.model(self.frozen.inputs(loaded.batch)).cpu())
            targets += [target_of[item.sample] for item in loaded.items]
        return classification_accuracy(
            torch.cat(scores), torch.tensor(targets), train_target=fold.train_target
        )
