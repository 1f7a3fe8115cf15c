"""Adds up how maps agree with boxes, moment by moment.

Every number stands beside that of chance: places drawn at random for what depends on places, and
strengths drawn at random for what depends on strengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avtrain.evaluate.localization_clips import CONTROLS, OWN, MomentClip
from avtrain.evaluate.map_scores import (
    SUCCESS,
    at_place,
    center_grid,
    consensus_iou,
    detection,
    enlarged,
    peak_place,
    strongest_part,
    success_area,
    success_rate,
    top_half,
    truth_mask,
)
from avtrain.maps import ClipMaps

if TYPE_CHECKING:
    from jaxtyping import Float

Numbers = dict[str, tuple[float, float]]
"""By name: a number, and what it is by chance."""

_SIGNED = "signed/"
_CENTER = "center/"
_CENTER_GRID = center_grid()


class LocalizationScores:
    """Scores of the moments of clips.

    Args:
        has_magnitude: Also the strength of disagreement is evidence; then the numbers without a
            prefix are of magnitudes, and those of the signed map stand beside them.
    """

    def __init__(self, *, has_magnitude: bool) -> None:
        self._forms = {"": has_magnitude} | ({_SIGNED: False} if has_magnitude else {})
        self._values: dict[str, list[float]] = {}
        self._silent_areas: list[float] = []
        self._areas: list[float] = []
        self._absent: dict[str, int] = dict.fromkeys(CONTROLS, 0)

    @property
    def num_moments(self) -> int:
        """So far."""
        return len(self._areas)

    def add(self, clip: MomentClip, maps: ClipMaps) -> None:
        """Score the moments of a clip."""
        for moment in clip.moments:
            assert moment.time_s is not None
            truth = truth_mask(moment.sounding)
            self._areas.append(float((truth > 0).mean()))
            silent = None
            if moment.silent:
                silent = (truth_mask(moment.silent) > 0) & (truth == 0)
                self._silent_areas.append(float(silent.mean()))
            signed = maps.at(moment.time_s)  # (k, h, w)
            for prefix, is_magnitude in self._forms.items():
                values = np.abs(signed) if is_magnitude else signed
                own = values[OWN]
                self._add_places(prefix, enlarged(own), peak_place(own), truth, silent)
                self._note(f"{prefix}strength", float(own.max()))
                for name, place in CONTROLS.items():
                    found = np.nan if name in clip.absent else float(values[place].max())
                    self._note(f"{prefix}strength/{name}", found)
            self._add_places(_CENTER, _CENTER_GRID, (0.5, 0.5), truth, silent)
            for name in clip.absent:
                self._absent[name] += 1

    def numbers(self) -> Numbers:
        """All numbers with their chance."""
        area = np.array(self._areas)
        by_chance = {
            "iou": area / (1 + area),  # half of the picture at random
            "adaptive/iou": area / (2 - area),  # as much of it as the boxes cover
        }
        numbers: Numbers = {}
        for prefix in (*self._forms, _CENTER):
            for kind in ("", "adaptive/"):
                scores, random = self._array(f"{prefix}{kind}iou"), by_chance[f"{kind}iou"]
                numbers[f"{prefix}{kind}ciou"] = (success_rate(scores), success_rate(random))
                numbers[f"{prefix}{kind}auc"] = (success_area(scores), success_area(random))
            numbers[f"{prefix}pointing"] = (
                float(self._array(f"{prefix}pointing").mean()),
                float(area.mean()),
            )
            if self._silent_areas:
                numbers[f"{prefix}pointing/silent"] = (
                    float(self._array(f"{prefix}pointing/silent").mean()),
                    float(np.mean(self._silent_areas)),
                )
        for prefix in self._forms:
            numbers |= self._control_numbers(prefix)
        return numbers

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know."""
        small = int((np.array(self._areas) < SUCCESS / 2).sum())
        notes = [
            "ciou: share of moments with an IoU of at least 0.5, where the half of the picture "
            "counts that is strongest; adaptive: as much of it as the boxes cover; center: a map "
            "that knows nothing but the middle"
        ]
        if small:
            notes.append(
                f"the boxes of {small} of {self.num_moments} moments cover less than a quarter of "
                "the picture: half of it cannot have an IoU of 0.5 with them; see adaptive"
            )
        for name, count in self._absent.items():
            if count:
                why = "other source" if name == "other" else "time that is far enough away"
                notes.append(f"{count} moments have no {name} sound: there is no {why}")
        return tuple(notes)

    def _add_places(
        self,
        prefix: str,
        grid: Float[np.ndarray, "y x"],
        peak: tuple[float, float] | None,
        truth: Float[np.ndarray, "y x"],
        silent: np.ndarray | None,
    ) -> None:
        part = strongest_part(grid, float((truth > 0).mean()))
        self._note(f"{prefix}iou", consensus_iou(top_half(grid), truth))
        self._note(f"{prefix}adaptive/iou", consensus_iou(part, truth))
        self._note(f"{prefix}pointing", float(at_place(truth, peak)))
        if silent is not None:
            self._note(f"{prefix}pointing/silent", float(at_place(silent, peak)))

    def _control_numbers(self, prefix: str) -> Numbers:
        """How well strengths tell sound that is seen from that which is not.

        `located` counts a moment as found only where the map agrees with its boxes too, against
        silence and other sound: the benchmark of Mo & Morgado 2022 (SLAVC).
        """
        own = self._array(f"{prefix}strength")
        controls = {name: self._array(f"{prefix}strength/{name}") for name in CONTROLS}
        numbers: Numbers = {}
        there = {name: values[np.isfinite(values)] for name, values in controls.items()}
        for name, values in there.items():
            if not len(values):
                continue
            paired = own[np.isfinite(controls[name])]
            numbers |= _detection_numbers(
                f"{prefix}{name}", paired, values, hits=np.ones(len(paired), bool), hit_rate=1.0
            )
        localized = self._array(f"{prefix}iou") >= SUCCESS
        area = np.array(self._areas)
        unseen = np.concatenate([there["silent"], there["other"]])
        numbers |= _detection_numbers(
            f"{prefix}located", own, unseen, hits=localized,
            hit_rate=success_rate(area / (1 + area)),
        )  # fmt: skip
        return numbers

    def _note(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def _array(self, name: str) -> np.ndarray:
        return np.array(self._values[name])


def _detection_numbers(
    name: str,
    present: np.ndarray,
    absent: np.ndarray,
    *,
    hits: np.ndarray,
    hit_rate: float,
) -> Numbers:
    """Average precision and largest F1, with those of strengths drawn at random."""
    found = detection(
        np.concatenate([present, absent]),
        np.concatenate([hits, np.zeros(len(absent), bool)]),
        num_positives=len(present),
    )
    share = len(present) / (len(present) + len(absent))
    return {
        f"{name}/ap": (found.average_precision, share * hit_rate**2),
        f"{name}/max_f1": (found.max_f1, 2 * share * hit_rate / (1 + share)),
    }
