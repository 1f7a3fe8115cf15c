"""How many cores a process may use: affinity, and the quota of containers."""

from pathlib import Path

import pytest

from avdata.cores import available_cores, quota_cores


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


GROUP = "0::/pod/box\n"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"proc/self/cgroup": GROUP}, None),
        ({"proc/self/cgroup": GROUP, "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": GROUP, "sys/fs/cgroup/pod/box/cpu.max": "250000 100000\n"}, 2.5),
        ({"proc/self/cgroup": GROUP, "sys/fs/cgroup/pod/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4.0),
        (
            {
                "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1.5,
        ),
    ],
)
def test_quota(files: dict[str, str], cores: float | None, tmp_path: Path) -> None:
    assert quota_cores(write(tmp_path, files)) == cores


def test_there_is_at_least_one() -> None:
    assert available_cores() >= 1
