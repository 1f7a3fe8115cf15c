"""The exceptions of avtrain: faults that a user can mend."""

from avdata import AvdataError


class AvtrainError(AvdataError):
    """A fault that a user can mend; its text says what was seen, what is allowed, what to do."""


class DataError(AvtrainError):
    """A shard set that does not have what a run or an evaluation needs."""


class RunError(AvtrainError):
    """A run folder that is missing, damaged, in use for something else, or not a run."""


class TrainingError(AvtrainError):
    """A run that cannot go on, as with a loss that is not finite."""


class WeightsError(AvtrainError):
    """A file or folder of weights that cannot be read, or does not hold what was asked for."""


class VideoError(AvtrainError):
    """A person's video that an application cannot work on."""
