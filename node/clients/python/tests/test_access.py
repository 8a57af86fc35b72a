"""Tokens, certificates, and a node that comes back."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Node

from synapsenet import Memory, NotAllowed, NotConfigured, Retry, Unreachable, WrongCertificate, certificate


@pytest.fixture(scope="session")
def read_token(node: Node) -> str:
    return str(node.tell("token", "create", "reader", "--scope", "read", "--topic", "allowed")["secret"])


def test_a_certificate_is_trusted_by_its_fingerprint(open_memory: Callable[..., Any], node: Node) -> None:
    shown = node.fingerprint.upper()
    shown = ":".join(shown[at : at + 2] for at in range(0, 64, 2))
    memory = open_memory(api=node.address, data_dir=node.data_dir, fingerprint=shown)
    assert memory.health() and memory.status().version
    assert memory.target.token is not None and memory.target.token not in repr(memory.target)


def test_another_certificate_is_refused_before_anything_is_sent(open_memory: Callable[..., Any], node: Node) -> None:
    wrong = node.fingerprint[:-1] + ("0" if node.fingerprint[-1] != "0" else "1")
    memory = open_memory(api=node.address, data_dir=node.data_dir, fingerprint=wrong)
    with pytest.raises(WrongCertificate) as told:
        memory.status()
    assert wrong in told.value.message and node.fingerprint in told.value.message
    assert not memory.health()


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate, and its key, of somebody else who calls himself alike."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("other")
    made, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    command += ["-subj", "/CN=synapsenet", "-addext", "subjectAltName=DNS:synapsenet,IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


def test_the_connection_itself_takes_no_other_certificate(
    open_memory: Callable[..., Any], node: Node, other_certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sits in between can show the node's certificate when it is asked for alone; without its key that is all."""
    (named,) = certificate.read_pem(other_certificate[0])
    monkeypatch.setattr(certificate, "shown_by", lambda target: named)
    monkeypatch.setattr(certificate, "name_in", lambda target, pem: "synapsenet")
    memory = open_memory(api=node.address, data_dir=node.data_dir, ca_file=other_certificate[0], retry=Retry(attempts=1))
    with pytest.raises(Unreachable):
        memory.status(timeout=10)


def test_a_certificate_is_trusted_by_its_file(
    open_memory: Callable[..., Any], node: Node, other_certificate: tuple[Path, Path]
) -> None:
    memory = open_memory(api=node.address, data_dir=node.data_dir, ca_file=node.certificate)
    assert memory.status().version
    memory = open_memory(api=node.address, data_dir=node.data_dir, ca_file=other_certificate[0], retry=Retry(attempts=1))
    with pytest.raises(Unreachable):
        memory.status(timeout=10)
    with pytest.raises(NotConfigured, match="no certificate in PEM"):
        open_memory(api=node.address, data_dir=node.data_dir, ca_file=node.data_dir / "api.token").status()


def test_a_token_is_needed_over_tcp(open_memory: Callable[..., Any], plain_node: Node, tmp_path: Path) -> None:
    memory = open_memory(api=plain_node.address, data_dir=plain_node.data_dir)
    assert memory.status().version
    memory = open_memory(api=plain_node.address, data_dir=tmp_path)
    with pytest.raises(NotAllowed) as told:
        memory.status()
    assert told.value.reason == "TOKEN_NEEDED" and told.value.hint
    memory = open_memory(api=plain_node.address, token="00" * 32)
    with pytest.raises(NotAllowed) as told:
        memory.status()
    assert told.value.reason == "TOKEN_UNKNOWN"


def test_a_token_that_may_read_is_refused_what_it_may_not(
    open_memory: Callable[..., Any], node: Node, read_token: str
) -> None:
    with Memory(data_dir=node.data_dir) as owner:
        owner.add("The allowed one knows the way to the lake", topic="allowed")
        owner.add("Nobody else knows the way to the sea", topic="kept")
    memory = open_memory(api=node.address, token=read_token, fingerprint=node.fingerprint)
    assert [hit.grain.topic for hit in memory.search("the way", min_score=-1)] == ["allowed"]
    for refused, reason in [
        (lambda: memory.add("x", topic="allowed"), "SCOPE_NEEDED"),
        (lambda: list(memory.add_many(["x"], topic="allowed")), "SCOPE_NEEDED"),
        (lambda: memory.forget("ab" * 32), "SCOPE_NEEDED"),
        (lambda: memory.search("the way", topic="kept"), "TOPIC_FORBIDDEN"),
    ]:
        with pytest.raises(NotAllowed) as told:
            refused()
        assert told.value.reason == reason


@pytest.fixture
def own_node() -> Iterator[Node]:
    node = Node(SYNAPSENET_API__TLS="always")
    try:
        yield node.start().ready()
    finally:
        node.remove()


def test_a_memory_outlives_a_restart_of_its_node(own_node: Node, open_memory: Callable[..., Any]) -> None:
    memory = open_memory(data_dir=own_node.data_dir)
    secure = open_memory(api=own_node.address, data_dir=own_node.data_dir, fingerprint=own_node.fingerprint)
    added = memory.add("What is stored stays", wait=False)
    assert secure.get(added.id).text == "What is stored stays"
    address = own_node.address
    own_node.stop(signal.SIGKILL)
    with pytest.raises(Unreachable) as told:
        memory.get(added.id)
    assert f"no node answers at {memory.target}" in told.value.message and "synapsenet run" in told.value.hint
    assert not memory.health()
    # On the port that it had, so that the other connection finds it again, too.
    own_node.settings["SYNAPSENET_API__LISTEN"] = address.removeprefix("https://")
    own_node.start().ready()
    assert memory.get(added.id).text == "What is stored stays"
    assert secure.get(added.id).text == "What is stored stays"
