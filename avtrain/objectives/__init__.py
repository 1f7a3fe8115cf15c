"""Objectives: tensors in, a LossOutput out; they know no batches, files or methods."""

from avtrain.objectives.agreement import AgreementKind, agreement
from avtrain.objectives.alignment import alignment_loss, offset_loss
from avtrain.objectives.avid import (
    AVID_COEFFICIENTS,
    AVIDCriterion,
    AVIDCriterionConfig,
    AVIDMode,
)
from avtrain.objectives.bank_layout import BankLayout, build_bank
from avtrain.objectives.cma import CMACriterion
from avtrain.objectives.cma_config import CMABehavior, CMACoefficients, CMACriterionConfig
from avtrain.objectives.info_nce import info_nce_losses
from avtrain.objectives.memory_bank import MemoryBank
from avtrain.objectives.mining import MiningSizes, mine_positives
from avtrain.objectives.nce import bank_scores, estimate_normalizer, nce_loss
from avtrain.objectives.negatives import (
    remap_excluding,
    uniform_excluding,
    uniform_other_candidates,
    uniform_others,
)
from avtrain.objectives.robust_xid import RobustXIDCriterion
from avtrain.objectives.robust_xid_config import RobustXIDCriterionConfig
from avtrain.objectives.sample_weights import correspondence_weights
from avtrain.objectives.sharded_bank import ShardedMemoryBank
from avtrain.objectives.soft_targets import TargetKind, mix_targets, soft_targets
from avtrain.objectives.terms import LossOutput, combine_terms, normalize_coefficients

__all__ = [
    "AVID_COEFFICIENTS",
    "AVIDCriterion",
    "AVIDCriterionConfig",
    "AVIDMode",
    "AgreementKind",
    "BankLayout",
    "CMABehavior",
    "CMACoefficients",
    "CMACriterion",
    "CMACriterionConfig",
    "LossOutput",
    "MemoryBank",
    "MiningSizes",
    "RobustXIDCriterion",
    "RobustXIDCriterionConfig",
    "ShardedMemoryBank",
    "TargetKind",
    "agreement",
    "alignment_loss",
    "bank_scores",
    "build_bank",
    "combine_terms",
    "correspondence_weights",
    "estimate_normalizer",
    "info_nce_losses",
    "mine_positives",
    "mix_targets",
    "nce_loss",
    "normalize_coefficients",
    "offset_loss",
    "remap_excluding",
    "soft_targets",
    "uniform_excluding",
    "uniform_other_candidates",
    "uniform_others",
]
