"""Separation on a shard set: mixtures of its samples, and how near what comes out is to both."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import (
    SampleTable,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.data.stream import StreamItem, sequential_batches
from avtrain.data.views.mixture import MixtureEvalView, MixtureReader
from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.data.views.off_screen import open_off_screen
from avtrain.errors import DataError, RunError
from avtrain.evaluate.config import SeparationEvalConfig
from avtrain.evaluate.folds import TEST_SPLIT
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.options import EvalOptions
from avtrain.evaluate.result import EvalResult
from avtrain.evaluate.separation_metrics import (
    better_order,
    bss_scores,
    is_silent,
    mixture_error_db,
    si_sdr,
)
from avtrain.evaluate.side_by_side import (
    HiddenInTurn,
    SeparatedMixtures,
    crosswise_margin,
    separate_side_by_side,
)
from avtrain.methods.separation import Separation
from avtrain.methods.separation_inputs import SOURCE_RMS, cropped_pictures, equal_level

_BOTH, _ON = "", "on/"


def separation(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Scores of both parts of mixtures of two samples, beside those of the mixture as it is."""
    method, config = frozen.method, options.config.separation
    if not isinstance(method, Separation):
        raise RunError(
            f"this evaluation takes mixtures apart, {type(method).__name__} does not; evaluate a "
            "run of separation"
        )
    if config.side_by_side and not method.sees:
        raise RunError(
            "separation.side_by_side=true asks whose sound is seen, and this run does not know; "
            "set it to false, or evaluate a run with another objective than 'pit'"
        )
    _check_set(method, shards)
    table, where = read_sample_table(shards), str(shards.location)
    split = options.split
    if split is None and TEST_SPLIT in table.splits:
        split = TEST_SPLIT
    samples = filter_samples(shards, select_samples(table, split, where=where), options.where)
    off_screen = open_off_screen(config.off_screen, sample_rate_hz=method.clip.sound_rate_hz)
    if off_screen is None:
        pairs = mixture_pairs(
            table, samples, seed=options.config.seed, other_label=config.other_label, where=where
        )[: config.num_mixtures]
        size = max(options.embed.batch_size // (2 * config.windows), 1)
        parts = [pairs[start : start + size] for start in range(0, len(pairs), size)]
        # what is seen is the first half of a batch, what is not the second
        item_lists = [[_item(pair[side]) for side in (0, 1) for pair in part] for part in parts]
    else:
        size = max(options.embed.batch_size // config.windows, 1)
        item_lists = list(sequential_batches(samples[: config.num_mixtures], size))
    reader = MixtureReader(shards, table, method.config.view, off_screen=off_screen)
    view = MixtureEvalView(
        reader,
        num_windows=config.windows,
        pin_memory=frozen.device.type == "cuda",
        seed=options.config.seed,
    )
    scores = _Scores(config, blind=not method.sees)
    with BatchLoader(
        view,
        item_lists,
        num_threads=options.embed.loader_threads,
        prefetch_batches=2,
        keys=table.keys,
    ) as loader:
        for loaded in options.embed.progress(
            loader, total=len(item_lists), description="separation"
        ):
            batch = loaded.batch.to(frozen.device)
            if config.side_by_side:
                scores.add_hidden_in_turn(_separate_in_turn(method, batch, config))
            else:
                scores.add(_separate(method, batch, config))
    return scores.result(where=where)


def _item(sample: int) -> StreamItem:
    return StreamItem(sample=sample, epoch=0, occurrence=0)


def mixture_pairs(
    table: SampleTable, samples: tuple[int, ...], *, seed: int, other_label: bool, where: str
) -> list[tuple[int, int]]:
    """Each sample as the one that is seen, with one of another source that is not.

    The other one is the next in a random order that fits; the pairs follow from samples and seed.

    Args:
        table: Facts of the samples.
        samples: Rows of the table.
        seed: Of the order.
        other_label: The other one is of another class.
        where: Name of the set, for messages.

    Raises:
        DataError: A sample has none that fits.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    order = [samples[i] for i in rng.permutation(len(samples))]
    pairs = []
    for place, sample in enumerate(order):
        others = order[place + 1 :] + order[:place]
        fits = (
            other
            for other in others
            if table.source_index[other] != table.source_index[sample]
            and not (other_label and table.labels[other] == table.labels[sample])
        )
        other = next(fits, None)
        if other is None:
            kind = "source and class" if other_label else "source"
            raise DataError(
                f"sample {table.keys[sample]} of {where} has no other of the {len(samples)} to be "
                f"mixed with: all are of its own {kind}; measure on a set of more sources"
                + (", or set separation.other_label=false" if other_label else "")
            )
        pairs.append((sample, other))
    return pairs


@torch.no_grad()
def _separate(
    method: Separation, batch: MixtureBatch, config: SeparationEvalConfig
) -> SeparatedMixtures:
    """Mixtures of clips with sounds without pictures, or of half of a batch with the other half."""
    on = equal_level(batch.sound)
    if batch.other.shape[-1]:
        off = equal_level(batch.other)
    else:
        on, off = on.chunk(2)
    pictures = cropped_pictures(batch, static=method.config.view.static)[: len(on)]
    found = method.separate_pictures(pictures, on + off, form=config.sound)
    return SeparatedMixtures(
        sources=torch.stack([on.mean(dim=1), off.mean(dim=1)], dim=1).cpu(),
        estimates=torch.stack([found.on.mean(dim=1), found.off.mean(dim=1)], dim=1).cpu(),
    )


@torch.no_grad()
def _separate_in_turn(
    method: Separation, batch: MixtureBatch, config: SeparationEvalConfig
) -> HiddenInTurn:
    """Mixtures of both halves of a batch, which are both in the picture."""

    def separate(pictures: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
        found = method.separate_pictures(pictures, mixture, form=config.sound)
        return found.on, found.off

    left, right = equal_level(batch.sound).chunk(2)
    pictures = cropped_pictures(batch, static=method.config.view.static)
    return separate_side_by_side(
        separate, (pictures[: len(left)], pictures[len(left) :]), (left, right)
    )


class _Scores:
    """Adds up scores of mixtures.

    Args:
        blind: The order of the estimates means nothing: the better one counts.
    """

    def __init__(self, config: SeparationEvalConfig, *, blind: bool) -> None:
        self.config, self.blind = config, blind
        self.values: dict[str, list[float]] = {}
        self.baselines: dict[str, list[float]] = {}
        self.num_mixtures = 0
        self.num_silent_sources = 0
        self.num_silent_outputs = 0

    def add(self, mixtures: SeparatedMixtures) -> None:
        """Score mixtures; those with a silent source or output are only counted."""
        silent_source = is_silent(mixtures.sources).any(dim=1)
        silent_output = is_silent(mixtures.estimates).any(dim=1) & ~silent_source
        self.num_mixtures += len(silent_source)
        self.num_silent_sources += int(silent_source.sum())
        self.num_silent_outputs += int(silent_output.sum())
        kept = ~(silent_source | silent_output)
        sources, estimates = mixtures.sources[kept], mixtures.estimates[kept]
        if not len(sources):
            return
        mixture = sources.sum(dim=1)
        nearer = si_sdr(estimates[:, 0], sources[:, 0]) > si_sdr(estimates[:, 0], sources[:, 1])
        if self.blind:
            estimates = better_order(estimates, sources)
        else:
            self._note("assignment_accuracy", nearer.double(), torch.full((len(nearer),), 0.5))
        both = torch.stack([mixture, mixture], dim=1)
        self._note_pair("si_sdr", si_sdr(estimates, sources), si_sdr(both, sources))
        self._note("mixture_error_db", mixture_error_db(estimates, mixture), None)
        if not self.config.bss:
            return
        for one, real, mixed in zip(estimates, sources, both, strict=True):
            ours, theirs = bss_scores(one, real), bss_scores(mixed, real)
            for name in ("sdr", "sir", "sar"):
                pair = torch.tensor([getattr(ours, name)], dtype=torch.float64)
                baseline = torch.tensor([getattr(theirs, name)], dtype=torch.float64)
                self._note_pair(name, pair, baseline)

    def add_hidden_in_turn(self, hidden: HiddenInTurn) -> None:
        """Score both, and how well they fit together where nothing is silent."""
        both = (hidden.left_hidden, hidden.right_hidden)
        sounds = torch.cat([part for each in both for part in (each.sources, each.estimates)], 1)
        margin = crosswise_margin(hidden)[~is_silent(sounds).any(dim=1)]
        # the mixture as it is, twice, is as much like itself as like the other
        self._note("crosswise_margin", margin, torch.zeros_like(margin))
        for each in both:
            self.add(each)

    def result(self, *, where: str) -> EvalResult:
        """Means over all windows of all mixtures.

        Raises:
            DataError: No mixture could be scored.
        """
        scored = self.num_mixtures - self.num_silent_sources - self.num_silent_outputs
        if not scored:
            raise DataError(
                f"none of {self.num_mixtures} mixtures of {where} can be scored: "
                f"{self.num_silent_sources} have a silent source, and of "
                f"{self.num_silent_outputs} one output is silent; leave silent samples out with "
                '--where "silence_fraction < 0.5"'
            )
        notes = [
            f"both sources have an RMS of {SOURCE_RMS:g}; dB are means over {scored} mixtures, "
            "chance is the mixture as it is"
        ]
        if self.config.side_by_side:
            notes.append(
                "both clips are in the picture, side by side, and each is hidden in turn; "
                "crosswise_margin: correlation of what is seen with the one hidden and not seen "
                "with the other, less that of outputs of the same name"
            )
        if self.num_silent_sources:
            notes.append(f"{self.num_silent_sources} mixtures have a silent source: not scored")
        if self.num_silent_outputs:
            notes.append(f"{self.num_silent_outputs} mixtures have a silent output: not scored")
        if self.blind:
            notes.append("the run does not know what is seen: outputs are in their better order")
        return EvalResult(
            task="separation",
            metrics={name: float(np.mean(values)) for name, values in self.values.items()},
            chance={name: float(np.mean(values)) for name, values in self.baselines.items()},
            num_samples=scored,
            notes=tuple(notes),
        )

    def _note_pair(self, name: str, scores: Tensor, baseline: Tensor) -> None:
        """Scores (b, 2) of both sources: their mean, that of what is seen, and the gain."""
        for prefix, ours, theirs in (
            (_BOTH, scores.mean(dim=1), baseline.mean(dim=1)),
            (_ON, scores[:, 0], baseline[:, 0]),
        ):
            if name == "sar":  # a mixture has no artifacts: no finite number
                self._note(f"{prefix}{name}_db", ours, None)
                continue
            self._note(f"{prefix}{name}_db", ours, theirs)
            self._note(f"{prefix}{name}_gain_db", ours - theirs, torch.zeros_like(ours))

    def _note(self, name: str, values: Tensor, baseline: Tensor | None) -> None:
        self.values.setdefault(name, []).extend(values.tolist())
        if baseline is not None:
            self.baselines.setdefault(name, []).extend(baseline.tolist())


def _check_set(method: Separation, shards: ShardSet) -> None:
    spec, where = shards.spec, str(shards.location)
    method.config.check(spec, where=where)
    assert spec.audio is not None
    if spec.audio.sample_rate_hz != method.clip.sound_rate_hz:
        raise DataError(
            f"{where} has sound at {spec.audio.sample_rate_hz} Hz, the run was trained on "
            f"{method.clip.sound_rate_hz} Hz; build it again with --set "
            f"audio.sample_rate_hz={method.clip.sound_rate_hz}"
        )
