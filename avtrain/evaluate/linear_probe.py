"""Linear classification of frozen features."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.evaluate.accuracy import (
    ClassificationAccuracy,
    LabelledFeatures,
    classification_accuracy,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

logger = logging.getLogger(__name__)

_GRADIENT_TOLERANCE = 1e-6
_LOGGED_GRADIENT = 1e-4
"""Above this largest derivative of the mean loss the fit is reported as unfinished."""


def linear_probe_accuracy(
    data: LabelledFeatures, *, inverse_penalty: float = 1.0, max_iterations: int = 500
) -> ClassificationAccuracy:
    """Test accuracy of a multinomial logistic regression fitted on the training rows.

    Features are standardized by the mean and deviation of the training set. The fit is by L-BFGS
    over all rows in float64 from zero weights, so it draws nothing at random.

    Args:
        inverse_penalty: C of scikit-learn: the loss is C times the sum of the cross-entropies plus
            half the squared weights; the bias takes no penalty.
    """
    if not inverse_penalty > 0 or max_iterations < 1:
        raise ValueError(f"{inverse_penalty=} and {max_iterations=} must be positive")
    train, test = _standardize(data.train, data.test)
    train_target, test_target = data.targets()
    weight = fit_logistic_regression(
        train, train_target, inverse_penalty=inverse_penalty, max_iterations=max_iterations
    )
    scores = test @ weight[:-1] + weight[-1]
    return classification_accuracy(scores, test_target, train_target=train_target)


def fit_logistic_regression(
    features: Float[Tensor, "n d"],
    target: Int[Tensor, " n"],
    *,
    inverse_penalty: float,
    max_iterations: int,
) -> Float[Tensor, "d1 c"]:
    """Weights of each class, one column a class; the last row is the bias."""
    num_rows, num_features = features.shape
    num_classes = int(target.max()) + 1
    weight = features.new_zeros(num_features + 1, num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight],
        max_iter=max_iterations,
        tolerance_grad=_GRADIENT_TOLERANCE,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = weight[:-1].square().sum() / (2 * inverse_penalty * num_rows)
        loss = F.cross_entropy(features @ weight[:-1] + weight[-1], target) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        closure()
    assert weight.grad is not None
    gradient = float(weight.grad.abs().max())
    if gradient > _LOGGED_GRADIENT:
        logger.warning(
            "linear probe stopped after %d iterations at gradient %.1e; raise max_iterations or "
            "lower inverse_penalty",
            max_iterations,
            gradient,
        )
    return weight.detach()


def _standardize(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 by the mean and deviation of the training rows; constant columns become 0."""
    train, test = train.detach().double(), test.detach().double()
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    # a column that is constant but for rounding carries nothing: do not blow it up
    scale = torch.where(std > 1e-9 * (1.0 + mean.abs()), 1.0 / std, torch.zeros_like(std))
    return (train - mean) * scale, (test - mean) * scale
