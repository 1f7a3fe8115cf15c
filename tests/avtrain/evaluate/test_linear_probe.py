from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from avtrain.evaluate import LabelledFeatures, linear_probe_accuracy
from avtrain.evaluate.linear_probe import fit_logistic_regression


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def _rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of 3 overlapping classes, columns of very different scale."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    features = torch.eye(5)[labels] + 0.6 * torch.randn(count, 5, generator=generator)
    return features * torch.tensor([1.0, 100.0, 0.01, 1.0, 1.0]) + 50.0, labels


def _data() -> LabelledFeatures:
    train, train_labels = _rows(200, 0)
    test, test_labels = _rows(100, 1)
    return LabelledFeatures(
        train=train, train_labels=train_labels + 4, test=test, test_labels=test_labels + 4
    )


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_equals_scikit_learn(penalty: float) -> None:
    data = _data()
    scaler = StandardScaler().fit(data.train.double().numpy())
    train, test = scaler.transform(data.train.double()), scaler.transform(data.test.double())
    model = LogisticRegression(C=penalty, tol=1e-9, max_iter=2000)
    model.fit(train, data.train_labels.numpy())
    expected = float(np.mean(model.predict(test) == data.test_labels.numpy()))
    result = linear_probe_accuracy(data, inverse_penalty=penalty)
    assert result.top1 == pytest.approx(expected)
    assert 0.5 < result.top1 < 1.0

    weight = fit_logistic_regression(
        torch.from_numpy(train),
        data.train_labels - 4,
        inverse_penalty=penalty,
        max_iterations=500,
    )
    np.testing.assert_allclose(weight[:-1].T.numpy(), model.coef_, atol=2e-4)


def test_runs_under_no_grad_and_repeats_exactly() -> None:
    data = _data()
    with torch.no_grad():
        first = linear_probe_accuracy(data)
    assert linear_probe_accuracy(data) == first


def test_constant_columns_do_no_harm() -> None:
    data = _data()
    constant = torch.full((200, 1), 0.1)
    widened = LabelledFeatures(
        train=torch.cat([data.train, constant], dim=1),
        train_labels=data.train_labels,
        test=torch.cat([data.test, 7 + constant[:100]], dim=1),
        test_labels=data.test_labels,
    )
    assert linear_probe_accuracy(widened).top1 == linear_probe_accuracy(data).top1


def test_unfinished_fit_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        linear_probe_accuracy(_data(), max_iterations=1)
    assert "linear probe stopped after 1 iterations" in caplog.text


def test_errors() -> None:
    with pytest.raises(ValueError, match="inverse_penalty=0"):
        linear_probe_accuracy(_data(), inverse_penalty=0)
