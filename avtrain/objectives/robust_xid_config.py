"""Settings of Robust-xID's criterion."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avtrain.objectives.bank_layout import BankLayout
from avtrain.objectives.soft_targets import TargetKind


class RobustXIDCriterionConfig(BaseModel):
    """Settings of the criterion.

    The defaults of momentum, number of negatives, temperatures, kappa, min_weight and mix are from
    memory of the paper, or of a re-implementation that agrees with it; the paper was not re-read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["infonce", "nce"] = "infonce"
    """Softmax over the candidates, or the binary form of AVID, which takes no soft targets."""
    # above 1/80, because the normalizer of "nce" averages e^(1/temperature) in float32
    temperature: float = Field(default=0.07, gt=0.0125, allow_inf_nan=False)
    num_negatives: PositiveInt | Literal["all"] = 1024
    """Draws of other instances, or all of them; where there are not more than that, it is all."""
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Of the banks."""
    banks: BankLayout = "auto"
    """Whole on every rank, or shared among ranks; "auto" shares them from 4 GiB."""
    first_rows: Literal["embedding", "random"] = "embedding"
    """What the rows of an instance are when it is trained for the first time: its embeddings of
    that moment, or random ones. With "embedding", instances that were never trained are no
    candidates; with "random" they are, during the warm-up. loss="nce" has random ones."""

    weighting: bool = True
    """Weigh instances by the similarity of their two bank rows."""
    delta: float = Field(default=0.0, allow_inf_nan=False)
    """Middle of the ramp, in deviations above the mean. From a re-implementation."""
    kappa: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """Variance of the ramp over that of the similarities."""
    min_weight: float = Field(default=0.25, ge=0.0, le=1.0)
    """Weight of the worst pairs; 1 is no weighting."""
    statistics: Literal["bank", "ema"] = "bank"
    """Mean and deviation of the similarities: of the whole set now and then, or moving averages
    over batches, as the re-implementation has them."""
    statistics_decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Of the moving averages."""

    targets: Literal[TargetKind, "none"] = "cycle"
    """Estimator of the soft targets."""
    mix: float = Field(default=0.5, ge=0.0, le=1.0)
    """Part of the soft targets, lambda in the paper; the rest is on the own instance."""
    mix_start: float | None = Field(default=None, ge=0.0, le=1.0)
    """With a number, the part goes from it to `mix` over the robust stage by half a cosine. Not in
    the paper."""
    source_temperature: float = Field(default=0.02, gt=0.0, allow_inf_nan=False)
    """Of the similarities that the targets are made of."""
    target_temperature: float = Field(default=0.07, gt=0.0, allow_inf_nan=False)
    """Of the candidates' own similarities, with targets="cycle"."""

    @model_validator(mode="after")
    def _check_loss(self) -> RobustXIDCriterionConfig:
        if self.loss == "nce" and self.targets != "none":
            raise ValueError(
                f"loss='nce' has no distribution over candidates and cannot have "
                f"targets={self.targets!r}; set targets='none', or loss='infonce'"
            )
        return self
