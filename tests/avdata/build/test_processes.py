"""The small parts below supervisors: messages in pieces, memory of processes, lifelines."""

import io
import pickle
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.build.lifeline import Lifeline, Service
from avdata.build.messages import MessageBuffer, read_message, write_message
from avdata.build.process_memory import count_memory_kills, resident_bytes
from avdata.errors import BuildError

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux alone")


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 50), min_size=1))
def test_messages_survive_any_pieces(messages: list[bytes], sizes: list[int]) -> None:
    pipe = io.BytesIO()
    for message in messages:
        write_message(pipe, message)
    data, buffer, got, at = pipe.getvalue(), MessageBuffer(), [], 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        buffer.feed(data[at : at + size])
        at += size
        while (message := buffer.pop()) is not None:
            got.append(message)
    assert got == messages
    pipe.seek(0)
    assert [read_message(pipe) for _ in messages] == messages
    assert read_message(pipe) is None


def test_a_pipe_that_breaks_off_ends() -> None:
    pipe = io.BytesIO()
    write_message(pipe, "whole")
    cut = io.BytesIO(pipe.getvalue()[:-1])
    assert read_message(cut) is None
    assert pickle.loads(pipe.getvalue()[4:]) == "whole"


@on_linux
def test_memory_that_a_process_holds_is_seen() -> None:
    program = "import sys; x = b'x' * 200_000_000; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = resident_bytes(process.pid)
        process.kill()
        process.wait()
    assert held is not None and 200_000_000 < held < 260_000_000
    assert resident_bytes(process.pid) is None


@on_linux
def test_memory_is_refused_beyond_the_limit() -> None:
    program = (
        "from avdata.build.process_memory import limit_memory, BACKSTOP_BYTES\n"
        "limit_memory(300_000_000)\n"
        "kept = bytearray(300_000_000)\n"
        "try:\n"
        "    bytearray(BACKSTOP_BYTES + 50_000_000)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@on_linux
def test_memory_kills_are_counted() -> None:
    with open("/proc/vmstat") as lines:
        (of_system,) = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    assert count_memory_kills() >= of_system


def check_for(lifeline: Lifeline, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lifeline.check()
        time.sleep(0.05)


def test_a_service_that_is_gone_ends_the_build_after_its_patience() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        service = Service(name="the store", host="127.0.0.1", port=port, patience_s=0.0)
        lifeline = Lifeline([service])
        assert lifeline.check()
    with pytest.raises(BuildError, match=f"the store at 127.0.0.1:{port} is gone.*same command"):
        check_for(lifeline, 5.0)


def test_a_service_may_be_silent_for_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    service = Service(name="the store", host="127.0.0.1", port=port, patience_s=60.0)
    assert not Lifeline([service]).check()
