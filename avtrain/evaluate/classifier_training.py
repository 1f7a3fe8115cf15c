"""What trainings of classifiers on clips share."""

from dataclasses import dataclass

from avtrain.methods import Modality
from avtrain.progress import Progress

_FEW_STEPS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """What a training is told beside its settings."""

    modality: Modality
    seed: int
    num_threads: int
    progress: Progress


def few_steps_notes(
    num_samples: int, *, clips_per_sample: int, batch_size: int, epochs: int, section: str
) -> tuple[str, ...]:
    """A note where a schedule that was made for large sets gives a small one hardly any steps."""
    num_steps = epochs * -(-num_samples * clips_per_sample // batch_size)
    if num_steps >= _FEW_STEPS:
        return ()
    return (
        f"only {num_steps} training steps: the published schedules are for large sets; there are "
        f"more with {section}.clips_per_sample or {section}.epochs, larger ones with {section}.lr",
    )
