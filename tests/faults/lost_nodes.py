"""A Ray cluster of three nodes on one machine: one is lost in mid-build, one comes, the head goes.

    python tests/faults/lost_nodes.py

The build goes on over the loss of a node, uses the one that comes, and ends with the bytes of an
undisturbed build; without its head it ends with a clear message, and the same command on another
cluster goes on from there.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kill_and_resume import command, descendants, fingerprint, wait_for, write_media

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

NUM_CLIPS = 200
LONG_S = 120.0


def num_done(out: Path) -> int:
    return len(list(out.glob("shard-*.json")))


def decoding_processes() -> set[int]:
    """Those of nodes of the cluster: all nodes are children of this process."""
    family = descendants(os.getpid()).items()
    return {process[0] for process, line in family if "avdata.build.child" in line}


def start(media: Path, out: Path, address: str) -> subprocess.Popen[str]:
    arguments = command(media, out, 0)
    at = arguments.index("--workers")
    arguments[at : at + 2] = ["--ray-address", address]  # as many workers as it has CPUs
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def check(holds: bool, text: str) -> None:
    print(f"{'ok' if holds else 'FAILED'}: {text}", flush=True)
    if not holds:
        sys.exit(1)


def new_cluster(num_nodes: int) -> "Cluster":
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(num_nodes - 1):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    return cluster


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        media, calm, out = folder / "made" / "media", folder / "calm", folder / "out"
        write_media(media, NUM_CLIPS, name="fault_slow")
        subprocess.run(command(media, calm, 0), check=True, capture_output=True)
        # from now on: decoders of all new processes are slow
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
        hold = folder / "hold"
        hold.touch()  # so that the build cannot end before the other node has come
        os.environ["AV_FAULTS_HOLD"] = str(hold)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

        cluster = new_cluster(3)
        build = start(media, out, cluster.address)
        check(wait_for(lambda: len(decoding_processes()) == 3, LONG_S), "each node has a worker")
        wait_for(lambda: num_done(out) >= 2, LONG_S)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        check(
            wait_for(lambda: len(decoding_processes()) == 2, LONG_S),
            "a lost node leaves no process",
        )
        cluster.add_node(num_cpus=1)
        at = num_done(out)
        check(wait_for(lambda: len(decoding_processes()) == 3, LONG_S), "a node that comes is used")
        check(build.poll() is None, f"it came in mid-build, after {at} shards")
        hold.unlink()
        wait_for(lambda: num_done(out) >= at + 4, LONG_S)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        began = time.monotonic()
        said, _ = build.communicate(timeout=LONG_S)
        check(
            build.returncode == 2, f"without a head it ends after {time.monotonic() - began:.0f} s"
        )
        check("same command again" in said and "Traceback" not in said, said.splitlines()[-1])
        cluster.shutdown()

        before = num_done(out)
        cluster = new_cluster(2)
        build = start(media, out, cluster.address)
        said, _ = build.communicate(timeout=LONG_S)
        check(build.returncode == 0, f"the same command goes on after {before} shards")
        check(fingerprint(out) == fingerprint(calm), f"{num_done(out)} shards are equal")
        check(not list(out.glob("*.partial*")), "no partial files are left")
        cluster.shutdown()


if __name__ == "__main__":
    main()
