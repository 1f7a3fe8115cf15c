"""Settings of the criterion of AVID+CMA."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avtrain.objectives.agreement import AgreementKind
from avtrain.objectives.bank_layout import BankLayout
from avtrain.objectives.terms import normalize_coefficients

CMABehavior = Literal["fixed", "parity"]


class CMACoefficients(BaseModel):
    """Weights of the groups of terms; they are divided by their sum.

    A group is named for the bank it compares with ("cross": that of the other modality) and for
    its positives ("instance": the own row; "positive": the mined rows).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cross_instance: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    within_instance: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    cross_positive: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    within_positive: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """1 in the released configurations; an earlier version of the authors has 3."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        normalize_coefficients(self.model_dump())
        return self


class CMACriterionConfig(BaseModel):
    """Settings of the criterion; the defaults are the released Kinetics configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    behavior: CMABehavior = "fixed"
    """"parity" does what the published code does, see `CMACriterion`."""
    coefficients: CMACoefficients = CMACoefficients()
    # above 1/80, because the normalizer averages e^(1/temperature) in float32
    temperature: float = Field(default=0.07, gt=0.0125, allow_inf_nan=False)
    num_negatives: PositiveInt = 1024
    num_negatives_within: PositiveInt = 64
    """So many of the negatives count in terms within a modality."""
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    num_positives: PositiveInt = 32
    """Mined for every instance."""
    sample_positives: PositiveInt | None = None
    """So many of them, drawn at random, are used in a step; None is all, as released."""
    agreement: AgreementKind = "consensus"
    resample_epochs: PositiveInt = 5
    """Positives are mined anew after so many epochs; released: 5 on Kinetics, 10 on AudioSet."""
    banks: BankLayout = "auto"
    """Whole on every rank, or shared among ranks; "auto" shares them from 4 GiB."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_negatives_within > self.num_negatives:
            raise ValueError(
                f"num_negatives_within={self.num_negatives_within} must be at most "
                f"num_negatives={self.num_negatives}: they are the first of them"
            )
        if self.sample_positives is not None and self.sample_positives > self.num_positives:
            raise ValueError(
                f"sample_positives={self.sample_positives} must be at most "
                f"num_positives={self.num_positives}"
            )
        if self.behavior == "parity" and self.coefficients.within_instance > 0:
            raise ValueError(
                "coefficients.within_instance must be 0 with behavior = 'parity': in the published "
                "code that term overwrites the cross-modal one and its weight multiplies zero; "
                "behavior = 'fixed' has the term"
            )
        return self
