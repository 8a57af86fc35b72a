"""Real nodes on loopback, and both kinds of memory with one face."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synapsenet import AsyncMemory, Memory
from synapsenet.v1.model_service_pb2 import MODEL_STATE_LOADED

ROOT = Path(__file__).resolve().parents[4]
# Far more than anything needs.
PATIENCE = 60.0


def program() -> Path:
    """The program under test: the one that SYNAPSENET names, or the newest that there is."""
    if named := os.environ.get("SYNAPSENET"):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / name for name in ("release/synapsenet", "debug/synapsenet", "debug/synapsenet-under-test")]
    built = [path for path in built if path.exists()]
    if not built:
        pytest.exit("no node is built: cargo build --locked --workspace --bins", returncode=1)
    return max(built, key=lambda path: path.stat().st_mtime)


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment of this process without what names a node, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNAPSENET_")}
    library = ROOT / ".onnxruntime" / "libonnxruntime.so"
    return {"ORT_DYLIB_PATH": str(library), "ORT_DISABLE_TELEMETRY": "1"} | kept | variables


def until(true: Callable[[], Any], what: str) -> Any:
    """Waits for a condition, and returns what it gave."""
    end = time.monotonic() + PATIENCE
    while not (value := true()):
        assert time.monotonic() < end, f"{what} takes too long"
        time.sleep(0.02)
    return value


class Node:
    """A node of its own on an empty folder, without a mesh."""

    def __init__(self, **settings: str) -> None:
        # The path of a unix socket must be short.
        self.scratch = tempfile.TemporaryDirectory(prefix="syn-py-")
        self.data_dir = Path(self.scratch.name, "node")
        self.log = Path(self.scratch.name, "log")
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Node:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program(), "run", "--data-dir", self.data_dir, "--offline", "--metrics-listen", ""],
                env=clean_environment(**{"SYNAPSENET_API__LISTEN": "127.0.0.1:0"} | self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def ready(self) -> Node:
        with Memory(data_dir=self.data_dir) as memory:
            until(lambda: memory.health() or self.failed(), "the start of a node")
            # It says so for a moment before it has looked whether its model is there.
            until(lambda: memory.status().message.model.state == MODEL_STATE_LOADED and memory.health(), "loading the model")
        return self

    def failed(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def remove(self) -> None:
        self.stop()
        self.scratch.cleanup()

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the command line on this node."""
        environment = clean_environment(SYNAPSENET_DATA_DIR=str(self.data_dir)) if env is None else env
        return subprocess.run([program(), *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE)

    def tell(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return told

    def python(self, *arguments: str, stdin: str = "") -> str:
        """Runs a program of Python as somebody would who keeps this node; what it prints."""
        path = os.pathsep.join(filter(None, sys.path))
        environment = clean_environment(SYNAPSENET_DATA_DIR=str(self.data_dir), PYTHONPATH=path)
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def address(self) -> str:
        """Where it listens on TCP."""
        with Memory(data_dir=self.data_dir) as memory:
            listening = list(memory.status().message.api_addresses)
        (address,) = (address for address in listening if not address.startswith("unix:"))
        return str(address)

    @property
    def certificate(self) -> Path:
        return self.data_dir / "api.cert.pem"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


@pytest.fixture(scope="session")
def nodes() -> Iterator[tuple[Node, Node]]:
    """Two nodes; one shows a certificate on TCP, and the other does not."""
    both = Node(SYNAPSENET_API__TLS="always"), Node()
    try:
        for node in both:
            node.start()
        for node in both:
            node.ready()
        yield both
    finally:
        for node in both:
            node.remove()


@pytest.fixture(scope="session")
def node(nodes: tuple[Node, Node]) -> Node:
    """A node that shows a certificate on TCP."""
    return nodes[0]


@pytest.fixture(scope="session")
def plain_node(nodes: tuple[Node, Node]) -> Node:
    """A node that speaks plainly on TCP."""
    return nodes[1]


class Waiting:
    """An AsyncMemory with the face of a Memory: each call is waited for in a loop of its own, and what is iterated is a list."""

    def __init__(self, **arguments: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.memory = AsyncMemory(**arguments)

    def __getattr__(self, name: str) -> Any:
        called = getattr(self.memory, name)
        if not callable(called):
            return called

        def call(*arguments: Any, **named: Any) -> Any:
            made = called(*arguments, **named)
            if inspect.isasyncgen(made):
                return iter(self.loop.run_until_complete(self._gather(made)))
            return self.loop.run_until_complete(made)

        return call

    async def _gather(self, made: Any) -> list[Any]:
        return [item async for item in made]

    def close(self) -> None:
        self.loop.run_until_complete(self.memory.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(params=["sync", "async"])
def open_memory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes memories of either kind, and closes them."""
    opened: list[Any] = []

    def make(**arguments: Any) -> Any:
        memory = Memory(**arguments) if request.param == "sync" else Waiting(**arguments)
        opened.append(memory)
        return memory

    yield make
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(request: pytest.FixtureRequest, open_memory: Callable[..., Any], node: Node) -> Any:
    """A memory on a topic that no other test uses."""
    topic = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    return open_memory(data_dir=node.data_dir, topic=topic)
