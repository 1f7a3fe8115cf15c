"""What is stored of damaged media, and what is said to be missing, make up what was wanted."""

import os
from pathlib import Path

import pytest
from conservation import NUM_FILES, account, sources_in

COUNT = int(os.environ.get("AV_CONSERVATION_COUNT", "100"))
"""1,000 make the whole proof: `python tests/fuzz/conservation.py`."""


@pytest.mark.slow
@pytest.mark.timeout(60 + COUNT)
def test_the_account_of_damaged_copies_balances(shared_data: Path, tmp_path: Path) -> None:
    sources = sources_in(shared_data, tmp_path)
    assert len(sources) == NUM_FILES == 10
    outcomes = [account(sources, tmp_path, seed=0, number=number) for number in range(COUNT)]
    assert not [outcome for outcome in outcomes if outcome.faults]
    stored = [outcome for outcome in outcomes if outcome.verdict == "stored"]
    assert len(stored) > COUNT / 2
    assert sum(outcome.gap_s > 0 for outcome in stored) > COUNT / 20  # there is something to count
    assert {outcome.how for outcome in stored} == {"bytes", "packets"}
