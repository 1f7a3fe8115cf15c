"""Objectives: tensors in, a LossOutput out; they know no batches, files or methods."""

from avtrain.objectives.agreement import AgreementKind, agreement, top_positives
from avtrain.objectives.avid import (
    AVID_COEFFICIENTS,
    AVIDCriterion,
    AVIDCriterionConfig,
    AVIDMode,
)
from avtrain.objectives.memory_bank import MemoryBank
from avtrain.objectives.nce import bank_scores, estimate_normalizer, nce_loss
from avtrain.objectives.negatives import (
    remap_excluding,
    uniform_excluding,
    uniform_other_candidates,
    uniform_others,
)
from avtrain.objectives.terms import LossOutput, combine_terms, normalize_coefficients

__all__ = [
    "AVID_COEFFICIENTS",
    "AVIDCriterion",
    "AVIDCriterionConfig",
    "AVIDMode",
    "AgreementKind",
    "LossOutput",
    "MemoryBank",
    "agreement",
    "bank_scores",
    "combine_terms",
    "estimate_normalizer",
    "nce_loss",
    "normalize_coefficients",
    "remap_excluding",
    "top_positives",
    "uniform_excluding",
    "uniform_other_candidates",
    "uniform_others",
]
