from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from avtrain.evaluate.feature_cache import SAMPLES, FeatureCache, merge_rows


def test_what_is_kept_is_found_by_its_facts_alone(tmp_path: Path) -> None:
    cache = FeatureCache(directory=tmp_path / "features")
    facts: dict[str, object] = {"weights": "a", "windows": 5}
    tensors = {SAMPLES: torch.tensor([3, 5]), "pool": torch.randn(2, 4)}
    assert cache.load("pooled", facts) is None
    cache.save("pooled", facts, tensors)
    found = cache.load("pooled", {"windows": 5, "weights": "a"})
    assert found is not None
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert cache.load("pooled", {**facts, "weights": "b"}) is None
    told = json.loads(cache.path("pooled", facts).with_suffix(".json").read_text())
    assert told == facts
    assert len(list(cache.directory.iterdir())) == 2


def test_damaged_features_are_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(directory=tmp_path)
    cache.save("pooled", {}, {SAMPLES: torch.tensor([0])})
    cache.path("pooled", {}).write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert cache.load("pooled", {}) is None
    assert "its features are computed again" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = FeatureCache(directory=tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        cache.save("pooled", {}, {SAMPLES: torch.tensor([0])})
    assert "features cannot be kept in" in caplog.text


def test_rows_are_merged_by_sample_and_the_new_ones_win() -> None:
    old = {SAMPLES: torch.tensor([1, 4]), "pool": torch.tensor([[1.0], [4.0]])}
    new = {SAMPLES: torch.tensor([4, 2]), "pool": torch.tensor([[40.0], [20.0]])}
    merged = merge_rows(old, new)
    assert merged[SAMPLES].tolist() == [1, 2, 4]
    assert merged["pool"][:, 0].tolist() == [1, 20, 40]
