"""A whole network trained on labels, its classifier first: the UCF-101 and HMDB-51 protocols.

Reference: Morgado, Vasconcelos, Misra 2021, section 4.2, and the released configurations: global
max-pool, dropout, Linear; stage one trains the classifier alone, stage two all weights; Adam.

The network of a sync run, which hears too, by Owens & Efros 2018, section 5, and the released code:
mean over time and place, Linear; all weights from the start, the scales of its normalizations new;
SGD; clips with their sound, moved by up to a frame.

Departures:
    - An epoch is cut into batches of almost equal size, so that none is tiny.
    - Frames were resized and stored before they are cropped.
    - Test clips start at evenly spaced times, rounded down to stored frames, not at evenly spaced
      whole frames of a decoding at 16 fps.
    - Sync runs: rate and schedule are ours, the released template has names in their place; a clip
      longer than its sample begins again, pictures and sound together; sound that ends is silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avdata import ShardSet
from avtrain.data.sample_generator import step_seed
from avtrain.engine.compute import autocast, set_up_compute
from avtrain.engine.config import OptimConfig
from avtrain.engine.optim import make_optimizer
from avtrain.evaluate.accuracy import ClassificationAccuracy, classification_accuracy
from avtrain.evaluate.classifier_training import TrainingOptions
from avtrain.evaluate.clip_batches import (
    ClipForm,
    ClipSource,
    LabelledClips,
    epoch_batches,
    sample_scores,
)
from avtrain.evaluate.config import FinetuneConfig
from avtrain.evaluate.folds import LabelledFold
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.fused_network import FusedClassifier, copy_to_finetune
from avtrain.evaluate.fused_source import FusedSource
from avtrain.models.batch_renorm import BatchNorm

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
        self, inputs: Tensor, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c"]:
        """Logits; dropout only where a generator is given."""
        features: Tensor = self.network(inputs).float()
        if generator is not None and self.dropout > 0:
            drawn = torch.rand(features.shape, generator=generator, device=features.device)
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
    source: LabelledClips
    if frozen.fused is not None:
        source = FusedSource(
            frozen,
            frozen.fused,
            shards,
            clip_frames=config.clip_length(frozen.fused.config.view.fps),
            sound_jitter_frames=config.sound_jitter_frames,
        )
    else:
        form = ClipForm(
            modality=options.modality,
            clip_frames=config.clip_length(frozen.view.video.fps),
            crop="resized",
            jitter=config.jitter,
        )
        source = ClipSource(frozen, shards, form)
    tuning = _Tuning(frozen, source, fold, config, options)
    tuning.train_head()
    tuning.train_all()
    tuning.estimate_norms()
    model = tuning.model.eval()
    scores = sample_scores(
        source,
        fold.test,
        lambda inputs: {"all": tuning.logits(model, inputs)},
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
        source: LabelledClips,
        fold: LabelledFold,
        config: FinetuneConfig,
        options: TrainingOptions,
    ) -> None:
        self.frozen, self.source, self.fold = frozen, source, fold
        self.config, self.options = config, options
        self.target_of = dict(zip(fold.train, fold.train_target.tolist(), strict=True))
        self.num_steps = 0
        self.model: FinetunedNetwork | FusedClassifier = _new_model(frozen, fold, config, options)
        self.model.to(frozen.device)
        if config.compute is not None:
            set_up_compute(self.model.network, config.compute, frozen.device)

    def logits(
        self, model: nn.Module, inputs: Any, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Of the model, float32, with the precision of the settings."""
        compute, device = self.config.compute, self.frozen.device
        if compute is None:
            logits: Tensor = model(inputs, generator=generator)
            return logits
        with autocast(compute, device):
            logits = model(inputs, generator=generator)
        return logits.float()

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
        optimizer = _optimizer(model, config)
        schedule = torch.optim.lr_scheduler.MultiStepLR(
            optimizer, milestones=list(config.milestones), gamma=config.gamma
        )
        model.network.train()
        for epoch in range(config.epochs):
            self._epoch(config.head_epochs + epoch, optimizer, f"epoch {epoch + 1}/{config.epochs}")
            schedule.step()

    @torch.no_grad()
    def estimate_norms(self) -> None:
        """Statistics of normalizations for tests, by the weights as they are.

        Reference: Wu & Johnson 2021, "Rethinking Batch in BatchNorm", section 3.
        """
        config, options = self.config, self.options
        if config.norm_batches == 0:
            return
        for norm in self.model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.momentum = None  # the mean over all batches
                norm.reset_running_stats()
            elif isinstance(norm, BatchNorm):
                norm.reset_running_stats()
        self.model.train()
        epoch = config.head_epochs + config.epochs
        view = self.source.random_view(seed=options.seed, augment=True)
        items = self._items(epoch)[: config.norm_batches]
        generator = torch.Generator(self.frozen.device)
        generator.manual_seed(step_seed(seed=options.seed, step=self.num_steps))
        loaded_batches = self.source.load(view, items, num_threads=options.num_threads)
        for loaded in options.progress(
            loaded_batches, total=len(items), description=f"finetune {self.fold.name}, statistics"
        ):
            self.logits(self.model, self.source.inputs(loaded.batch), generator=generator)

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
            inputs = self.source.inputs(loaded.batch)
            loss = F.cross_entropy(
                self.logits(self.model, inputs, generator=generator),
                target.to(device, non_blocking=True),
                label_smoothing=self.config.label_smoothing,
            )
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
            scores.append(self.logits(self.model, self.source.inputs(loaded.batch)).cpu())
            targets += [target_of[item.sample] for item in loaded.items]
        return classification_accuracy(
            torch.cat(scores), torch.tensor(targets), train_target=fold.train_target
        )


def _new_model(
    frozen: FrozenEncoders,
    fold: LabelledFold,
    config: FinetuneConfig,
    options: TrainingOptions,
) -> FinetunedNetwork | FusedClassifier:
    """A copy of the network with a new classifier, drawn by the seed."""
    num_classes = len(fold.classes)
    if frozen.fused is not None:
        fused = copy_to_finetune(frozen.fused, sound=config.sound)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            return FusedClassifier(fused, num_classes=num_classes, dropout=config.dropout)
    network = frozen.network_copy(options.modality)
    dim: Any = network.embedding_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return FinetunedNetwork(network, dim=dim, num_classes=num_classes, dropout=config.dropout)


def _optimizer(model: nn.Module, config: FinetuneConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    optim = OptimConfig(
        name="sgd",
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        decay_vectors=False,
    )
    return make_optimizer(model, optim)
