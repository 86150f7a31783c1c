"""A gateway as a user starts it, a TCP proxy that cuts connections, and waits that end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
PUBLISHED = Path(__file__).resolve().parents[2] / "v1"
BINARY = Path(
    os.environ.get("EVENTWIRE_BINARY") or Path(__file__).resolve().parents[3] / "target" / "debug" / "eventwire"
)


def published(name: str) -> Any:
    """A committed file of schemas/v1."""
    return json.loads((PUBLISHED / name).read_text())


INDEX = published("index.json")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a test's coroutine, not for ever."""
    return asyncio.run(asyncio.wait_for(work, PATIENCE_SECONDS))


def clean_environment() -> dict[str, str]:
    """The environment without a developer's own settings; with a proxy that must not be used for this machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVENTWIRE_")}
    return environment | {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


class Gateway:
    """A running gateway. It can be killed and started again at the same address."""

    def __init__(self, *arguments: str, directory: Path) -> None:
        if not BINARY.is_file():
            raise FileNotFoundError(f"{BINARY} is not there; build it with `cargo build -p eventwire-gateway`")
        self._arguments = arguments
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [str(BINARY), "serve", "--listen", f"127.0.0.1:{self.port}", "--no-sample", "--drain-seconds", "0"]
        log = (self._directory / "gateway.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.PIPE,
                env=clean_environment(),
                cwd=self._directory,
            )
        self.port = self._read_port(self._process)

    def _read_port(self, process: subprocess.Popen[bytes]) -> int:
        assert process.stderr is not None
        said = b""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if select.select([process.stderr], [], [], 0.2)[0]:
                got = os.read(process.stderr.fileno(), 65536)
                said += got
                found = re.search(rb"http://127\.0\.0\.1:(\d+)", said)
                if found:
                    return int(found[1])
                if not got:
                    break
        process.kill()
        process.wait()
        raise AssertionError(f"the gateway did not start: {said.decode(errors='replace')}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Ends it without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to leave; it says goodbye to everybody."""
        self._end(signal.SIGTERM)

    def _end(self, how: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            assert process.stderr is not None
            # Read to its end, so that it does not wait for a reader.
            with process.stderr:
                process.stderr.read()
            process.wait(PATIENCE_SECONDS)

    def post(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Publishes with nothing of the package under test."""
        request = urllib.request.Request(
            f"{self.url}/v1/events", json.dumps(events).encode(), {"content-type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_SECONDS) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
        return results


@contextlib.contextmanager
def gateway(directory: Path, *arguments: str) -> Iterator[Gateway]:
    it = Gateway(*arguments, directory=directory)
    try:
        yield it
    finally:
        it.kill()


class Proxy:
    """A TCP proxy before a server, in the event loop of the test."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        # Bytes that still go from the server to the client before every connection is cut; None for no end.
        self.cut_after: int | None = None
        # Requests arrive, answers do not: what comes from the server is dropped and the connection is cut.
        self.swallow_answers = 0
        # Connections stay open, and nothing that the server sends goes on.
        self.holds_answers = False
        # The answer to what asks for this path, in place of the server.
        self.answers: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            try:
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target())
            except OSError:
                return
            self._writers.add(to_server)
            self._clients[to_server] = writer
            pumps = [
                asyncio.ensure_future(self._pump(reader, to_server, is_answer=False)),
                asyncio.ensure_future(self._pump(from_server, writer, is_answer=True)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._drop(to_server)
            del self._clients[to_server]
        finally:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        with contextlib.suppress(Exception):
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                if not is_answer and data.startswith((b"GET ", b"POST ")):
                    path = data.split()[1].partition(b"?")[0]
                    self.asked.append(path)
                    if path in self.answers:
                        self._clients[writer].write(self.answers[path])
                        await self._clients[writer].drain()
                        return
                if is_answer and self.holds_answers:
                    continue
                if is_answer and self.swallow_answers:
                    self.swallow_answers -= 1
                    return
                if is_answer and self.cut_after is not None:
                    data, self.cut_after = data[: self.cut_after], self.cut_after - len(data)
                    writer.write(data)
                    if self.cut_after <= 0:
                        self.cut_after = None
                        await writer.drain()
                        return
                    continue
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """Breaks every connection, without a goodbye."""
        for writer in list(self._writers):
            self._drop(writer)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await server.wait_closed()
            # What was cut ends by itself; give it its turn.
            for _ in range(5):
                await asyncio.sleep(0)


async def eventually(what: str, holds: Callable[[], bool]) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS / 2} s"
        await asyncio.sleep(0.01)


async def soon(what: str, work: Awaitable[T]) -> T:
    """Waits for `what`, not for ever."""
    try:
        return await asyncio.wait_for(work, PATIENCE_SECONDS / 2)
    except asyncio.TimeoutError:
        raise AssertionError(f"{what}: not within {PATIENCE_SECONDS / 2} s") from None


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
    return port


def python(*arguments: str, timeout: float = 300.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs this Python to its end."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def api_key(directory: Path, *permissions: str, adw: str = "*") -> str:
    """Makes a key and its file, `keys.toml`."""
    secret, keys = directory / "key", directory / "keys.toml"
    command = [str(BINARY), "api-key", "--name", "tests", "--adw", adw, "--secret-file", str(secret)]
    if permissions:
        command += ["--permission", ",".join(permissions)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    keys.touch(mode=0o600)
    keys.write_text(done.stdout)
    return secret.read_text().strip()
