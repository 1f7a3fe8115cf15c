"""One contract for every place that files can be in; and what a far store may do wrong."""

import hashlib
import pickle
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from avdata.storage import EndOfFileError, LocalFolder, StorageError, open_location, path_or_url
from avdata.storage.ranged_file import RangedFile
from avdata.storage.remote import PART_BYTES, RemoteFolder
from avdata.storage.retries import Retries

QUICK = Retries(attempts=8, first_wait_s=0.01, longest_wait_s=0.05)


@pytest.fixture(params=["local", "memory", "s3", "s3 with faults"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty place of each kind."""
    if request.param == "local":
        (tmp_path / "set").mkdir()
        return tmp_path / "set"
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    url: str = request.getfixturevalue("s3")
    if request.param == "s3 with faults":
        request.getfixturevalue("make_faulty")(rate=0.2, seed=5)
    return url


def test_a_location_keeps_what_it_promises(place: Path | str, tmp_path: Path) -> None:
    location = open_location(place)
    assert location.sizes() == {}
    assert location.size("a.bin") is None
    with pytest.raises(FileNotFoundError):
        location.read("a.bin")
    location.delete("a.bin")

    data = np.random.default_rng(0).bytes(300_001)
    location.write("a.bin", data)
    location.write("a.bin", data)  # again, over the old one
    source = tmp_path / "source"
    source.write_bytes(data[::-1])
    location.upload(source, "b.bin")
    location.write("empty", b"")
    assert location.sizes() == {"a.bin": 300_001, "b.bin": 300_001, "empty": 0}
    assert location.read("a.bin") == data
    assert location.read("b.bin") == data[::-1]
    assert location.read("empty") == b""
    assert location.size("a.bin") == 300_001
    assert location.read_range("a.bin", 0, 0) == b""
    assert location.read_range("a.bin", 299_990, 11) == data[-11:]
    for start, size in ((299_990, 12), (300_001, 1), (400_000, 5)):
        with pytest.raises(EndOfFileError, match=r"a\.bin ends at byte .*, before byte"):
            location.read_range("a.bin", start, size)
    with pytest.raises(FileNotFoundError):
        location.read_range("none", 0, 1)
    location.delete("b.bin")
    assert set(location.sizes()) == {"a.bin", "empty"}

    assert str(location) == str(place)
    again = pickle.loads(pickle.dumps(location))
    assert again.read_range("a.bin", 5, 7) == data[5:12]
    assert open_location(location.url).size("a.bin") == 300_001


def test_threads_share_a_location(place: Path | str) -> None:
    location = open_location(place)
    data = np.random.default_rng(1).bytes(1 << 20)
    location.write("a.bin", data)
    ranges = [(i * 4001, 4001) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda r: location.read_range("a.bin", *r), ranges))
    assert parts == [data[start : start + size] for start, size in ranges]


def test_ranged_file_reads_like_a_file(place: Path | str) -> None:
    location = open_location(place)
    data = np.random.default_rng(2).bytes(10_000)
    location.write("a.bin", data)
    with RangedFile(location, "a.bin") as file:
        assert file.seek(-10, 2) == 9990
        assert file.read(100) == data[-10:]
        assert file.read(1) == b""
        file.seek(5)
        buffer = bytearray(20)
        assert file.readinto(buffer) == 20
        assert buffer == data[5:25]
        assert file.read() == data[25:]
    with pytest.raises(FileNotFoundError):
        RangedFile(location, "none")


@pytest.mark.slow
def test_large_files_go_in_parts(
    s3: str, tmp_path: Path, make_faulty: Callable[..., object]
) -> None:
    source = tmp_path / "large"
    block = np.random.default_rng(3).bytes(1 << 20)
    num_blocks = 2 * PART_BYTES // len(block) + 5
    with source.open("wb") as file:
        for _ in range(num_blocks):
            file.write(block)
    make_faulty(rate=0.1, seed=1)
    location = RemoteFolder(s3, retries=QUICK)
    location.upload(source, "large")
    assert location.size("large") == num_blocks << 20
    read = hashlib.sha256(location.read("large")).hexdigest()
    with source.open("rb") as file:
        assert read == hashlib.file_digest(file, "sha256").hexdigest()


_SLOW_KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("503", "reset", "short")]


@pytest.mark.parametrize("kind", ["500", "cut", *_SLOW_KINDS])
def test_a_store_that_never_works_ends_with_a_clear_error(
    s3: str, make_faulty: Callable[..., object], kind: str
) -> None:
    open_location(s3).write("a.bin", bytes(1000))
    schedule = make_faulty(rate=1.0, kinds=(kind,))
    location = RemoteFolder(s3, retries=Retries(attempts=3, first_wait_s=0.01))
    with pytest.raises(
        StorageError, match=r"reading s3://clips/.*/a\.bin: 3 attempts failed, .*same command again"
    ):
        location.read_range("a.bin", 0, 1000)
    assert schedule.num_requests >= 3


def test_nobody_there(s3: str, use_store: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    use_store(f"http://127.0.0.1:{port}")
    location = RemoteFolder(s3, retries=Retries(attempts=2, first_wait_s=0.01))
    with pytest.raises(StorageError, match=r"2 attempts failed, .*EndpointConnectionError"):
        location.read("a.bin")


def test_missing_and_forbidden_are_not_tried_again(
    s3: str, make_faulty: Callable[..., object]
) -> None:
    schedule = make_faulty(rate=0.0)
    location = RemoteFolder(s3, retries=QUICK)
    assert location.size("none") is None
    assert schedule.num_requests <= 2
    with pytest.raises(FileNotFoundError):
        RemoteFolder("s3://no-such-bucket/x", retries=QUICK).read_range("a", 0, 1)
    before = schedule.num_requests
    with _refusing_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint.url)
        with pytest.raises(StorageError, match=r"PermissionError: .*give credentials that may"):
            RemoteFolder(s3, retries=QUICK).read_range("a", 0, 1)
    assert endpoint.num_requests <= 3  # the read, and one look at the size
    assert schedule.num_requests == before


class _refusing_server:
    """Answers 403 to everything, and counts."""

    def __init__(self) -> None:
        self.num_requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "_refusing_server":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                self.num_requests += 1
                client.sendall(head.encode() + body)


def test_without_credentials(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageError, match=r"NoCredentialsError: .*; give credentials"):
        RemoteFolder(s3, retries=QUICK).size("a")


def test_urls_that_cannot_be_opened() -> None:
    with pytest.raises(StorageError, match=r"nonsense://x: .*give a local folder, s3://BUCKET"):
        open_location("nonsense://x")


def test_paths_and_urls_are_told_apart(tmp_path: Path) -> None:
    assert path_or_url("s3://bucket/set") == "s3://bucket/set"
    assert path_or_url("simplecache::s3://bucket/set") == "simplecache::s3://bucket/set"
    assert path_or_url("file:///data/set") == Path("/data/set")
    assert path_or_url("sets/a::b") == Path("sets/a::b")
    assert isinstance(open_location(f"file://{tmp_path}"), LocalFolder)
    assert isinstance(open_location(str(tmp_path)), LocalFolder)
    assert open_location("memory://a/b/").url == "memory://a/b"
