"""A real S3 server on loopback, and a proxy in front of it that breaks answers by a schedule."""

import contextlib
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import numpy as np
import pytest

from avdata.synthetic.movie import write_movie

Fault = Literal["500", "503", "reset", "cut", "short", "lost answer"]
FAULTS: tuple[Fault, ...] = ("500", "503", "reset", "cut", "short", "lost answer")
_ERRORS = {"500": ("500", "InternalError"), "503": ("503", "SlowDown")}
BUCKET = "clips"


@dataclass(kw_only=True)
class FaultSchedule:
    """Which requests go wrong, by a seed, and how: the kinds take turns."""

    rate: float
    seed: int = 0
    kinds: tuple[Fault, ...] = FAULTS
    counts: Counter[str] = field(default_factory=Counter)
    num_requests: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def next(self) -> Fault | None:
        with self._lock:
            self.num_requests += 1
            broken = self._random.random() < self.rate
            if not broken:
                return None
            kind = self.kinds[self.counts.total() % len(self.kinds)]
            self.counts[kind] += 1
            return kind


class FaultyStore:
    """HTTP proxy to a server; each answer may be an error, cut, short, or not come at all."""

    def __init__(self, target: str, schedule: FaultSchedule) -> None:
        self.schedule = schedule
        netloc = urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client gave up
                    super().handle()

            def _serve(self) -> None:
                _answer(self, netloc, schedule.next())

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FaultyStore":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answer(client: BaseHTTPRequestHandler, netloc: str, fault: Fault | None) -> None:
    body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
    if fault == "reset":
        _hang_up(client)
        return
    if fault in _ERRORS:
        status, code = _ERRORS[fault]
        message = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>x</Message></Error>"
        _send(client, int(status), [("Content-Type", "application/xml")], message.encode())
        return
    upstream = http.client.HTTPConnection(netloc, timeout=30)
    try:
        upstream.request(client.command, client.path, body, dict(client.headers.items()))
        answer = upstream.getresponse()
        data, status_code = answer.read(), answer.status
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_HEADERS]
        length = answer.getheader("Content-Length") or "0"
    finally:
        upstream.close()
    if fault == "lost answer":
        _hang_up(client)
        return
    if client.command == "HEAD":
        _send(client, status_code, [*headers, ("Content-Length", length)], None)
        return
    if fault == "cut":
        client.send_response(status_code)
        for name, value in [*headers, ("Content-Length", str(len(data) + 1))]:
            client.send_header(name, value)
        client.end_headers()
        client.wfile.write(data[: len(data) // 2])
        _hang_up(client)
        return
    if fault == "short" and client.command == "GET" and status_code == 206:
        kept = [(k, v) for k, v in headers if not k.lower().startswith("x-amz-checksum")]
        _send(client, status_code, kept, data[: len(data) * 2 // 3])
        return
    _send(client, status_code, headers, data)


_HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "server", "date"}


def _send(
    client: BaseHTTPRequestHandler,
    status: int,
    headers: list[tuple[str, str]],
    data: bytes | None,
) -> None:
    client.send_response(status)
    for name, value in headers:
        client.send_header(name, value)
    if data is not None:
        client.send_header("Content-Length", str(len(data)))
    client.end_headers()
    if data:
        client.wfile.write(data)


def _hang_up(client: BaseHTTPRequestHandler) -> None:
    client.close_connection = True
    client.wfile.flush()
    client.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """Address of an S3 server on loopback."""
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


UseStore = Callable[[str], None]


@pytest.fixture
def use_store(monkeypatch: pytest.MonkeyPatch) -> UseStore:
    """`(endpoint)`: S3 is there from now on, for this process and those that it starts."""

    def use(endpoint: str) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def s3(moto_endpoint: str, use_store: UseStore, request: pytest.FixtureRequest) -> str:
    """URL of a folder of an empty bucket."""
    import urllib.request

    use_store(moto_endpoint)
    for method, path in (("POST", "/moto-api/reset"), ("PUT", f"/{BUCKET}")):
        call = urllib.request.Request(f"{moto_endpoint}{path}", method=method)
        urllib.request.urlopen(call).close()
    return f"s3://{BUCKET}/{request.node.name.partition('[')[0]}"


@pytest.fixture
def make_faulty(moto_endpoint: str, use_store: UseStore) -> Iterator[Callable[..., FaultSchedule]]:
    """`(rate=, seed=, kinds=) -> FaultSchedule`: S3 is behind faults from now on."""
    proxies: list[FaultyStore] = []

    def make(**settings: object) -> FaultSchedule:
        schedule = FaultSchedule(**settings)  # type: ignore[arg-type]
        proxy = FaultyStore(moto_endpoint, schedule)
        proxies.append(proxy.__enter__())
        use_store(proxy.endpoint)
        return schedule

    yield make
    for proxy in proxies:
        proxy.__exit__()


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten short movies and a line without a file."""
    folder = tmp_path_factory.mktemp("movies")
    names = [f"clip-{i}.mp4" for i in range(10)]
    for i, name in enumerate(names):
        rng = np.random.default_rng(i)
        pictures = rng.integers(0, 255, (40, 4, 6, 3), np.uint8)
        write_movie(
            folder / name,
            frames=(np.kron(p, np.ones((16, 16, 1), np.uint8)) for p in pictures),
            frame_times_s=None,
            fps=Fraction(25),
            sound=rng.normal(0, 0.1, (16000 * 8 // 5, 1)).astype(np.float32),
            sample_rate_hz=16000,
        )
    listing = folder / "listing.csv"
    listing.write_text("\n".join(["path", *names, "none.mp4", ""]))
    return listing
