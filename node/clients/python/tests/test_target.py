"""Which node is meant: what the command line says of the same variables, this package says, too."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import Node, clean_environment

from synapsenet import Memory, NotConfigured, SynapsenetError, Unreachable
from synapsenet.target import default_data_dir, find, is_loopback, read_address, read_fingerprint

FINGERPRINT = "ab" * 32
OTHER_EXIT = {0: type(None), 2: NotConfigured, 3: Unreachable, 4: SynapsenetError}


def cases(node: Node, plain: Node, scratch: Path) -> dict[str, dict[str, str]]:
    home, empty, long = scratch / "home", scratch / "empty", scratch / ("x" * 100)
    share = home / ".local" / "share"
    share.mkdir(parents=True)
    (share / "synapsenet").symlink_to(node.data_dir)
    empty.write_text("\n")
    large = scratch / "large"
    large.write_text("a" * 4097)
    token = str(plain.data_dir / "api.token")
    return {
        "the default folder": {"HOME": str(home)},
        "the XDG folder": {"HOME": str(scratch), "XDG_DATA_HOME": str(share)},
        "an XDG folder that is not absolute": {"HOME": str(home), "XDG_DATA_HOME": "share"},
        "an empty XDG folder": {"HOME": str(home), "XDG_DATA_HOME": ""},
        "nobody there": {"HOME": str(scratch)},
        "a data folder": {"SYNAPSENET_DATA_DIR": str(node.data_dir)},
        "an empty data folder": {"SYNAPSENET_DATA_DIR": ""},
        "a data folder with a long name": {"SYNAPSENET_DATA_DIR": str(long)},
        "a socket": {"SYNAPSENET_API": f"unix:{node.data_dir}/api.sock"},
        "a socket with slashes": {"SYNAPSENET_API": f"unix://{node.data_dir}/api.sock"},
        "no socket": {"SYNAPSENET_API": "unix:"},
        "an address before a folder": {"SYNAPSENET_API": f"unix:{node.data_dir}/api.sock", "SYNAPSENET_DATA_DIR": str(scratch)},
        "tcp with the token of the folder": {"SYNAPSENET_API": plain.address, "SYNAPSENET_DATA_DIR": str(plain.data_dir)},
        "tcp with a token file": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_TOKEN_FILE": token},
        "tcp without a token": {"SYNAPSENET_API": plain.address, "HOME": str(scratch)},
        "a token file that is not there": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_TOKEN_FILE": str(scratch / "none")},
        "a token file without a token": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_TOKEN_FILE": str(empty)},
        "a token file that is too large": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_TOKEN_FILE": str(large)},
        "an empty token file": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_TOKEN_FILE": ""},
        "a token in the clear": {"SYNAPSENET_API": "http://192.0.2.1:7717", "SYNAPSENET_API_TOKEN_FILE": token},
        "a fingerprint without TLS": {"SYNAPSENET_API": plain.address, "SYNAPSENET_API_FINGERPRINT": FINGERPRINT},
        "TLS without a certificate": {"SYNAPSENET_API": node.address, "SYNAPSENET_DATA_DIR": str(node.data_dir)},
        "TLS with a fingerprint": {
            "SYNAPSENET_API": node.address,
            "SYNAPSENET_DATA_DIR": str(node.data_dir),
            "SYNAPSENET_API_FINGERPRINT": node.fingerprint,
        },
        "TLS with a certificate": {
            "SYNAPSENET_API": node.address,
            "SYNAPSENET_DATA_DIR": str(node.data_dir),
            "SYNAPSENET_API_CA": str(node.certificate),
        },
        "another fingerprint": {
            "SYNAPSENET_API": node.address,
            "SYNAPSENET_DATA_DIR": str(node.data_dir),
            "SYNAPSENET_API_FINGERPRINT": FINGERPRINT,
        },
        "both": {"SYNAPSENET_API_CA": str(node.certificate), "SYNAPSENET_API_FINGERPRINT": node.fingerprint},
        "half a fingerprint": {"SYNAPSENET_API_FINGERPRINT": "ab"},
        "an empty address": {"SYNAPSENET_API": ""},
        "an address without a port": {"SYNAPSENET_API": "http://localhost"},
        "an address with a path": {"SYNAPSENET_API": plain.address + "/x"},
    }


def test_the_command_line_and_this_package_find_the_same_node(
    nodes: tuple[Node, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authors = {str(node.tell("id")["author"]): node for node in nodes}
    assert len(authors) == 2
    for case, variables in cases(*nodes, tmp_path).items():
        environment = clean_environment(**variables)
        environment = {name: value for name, value in environment.items() if name in variables or name != "XDG_DATA_HOME"}
        told = nodes[0].run("status", "--json", env=environment)
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        found: str | SynapsenetError
        try:
            with Memory(timeout=10) as memory:
                found = memory.status().author
        except SynapsenetError as error:
            found = error
        if isinstance(found, str):
            assert told.returncode == 0, f"{case}: {told.stderr}"
            assert json.loads(told.stdout.splitlines()[0])["author"] == found, case
        else:
            assert isinstance(found, OTHER_EXIT[told.returncode]), f"{case}: {found!r}, and {told.returncode} {told.stderr}"


def test_arguments_come_before_the_environment(tmp_path: Path) -> None:
    env = {"SYNAPSENET_API": "unix:/elsewhere", "SYNAPSENET_DATA_DIR": "/nowhere", "HOME": "/home/you"}
    assert str(find(api="unix:/here", environment=env)) == "unix:/here"
    assert str(find(environment=env)) == "unix:/elsewhere"
    assert str(find(data_dir="/data", environment={"HOME": "/home/you"})) == "unix:/data/api.sock"
    (tmp_path / "api.token").write_text("of the folder\n")
    env = {"SYNAPSENET_DATA_DIR": str(tmp_path)}
    assert find(api="http://localhost:1", environment=env).token == "of the folder"
    assert find(api="http://localhost:1", token="given", environment=env).token == "given"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep data elsewhere")
def test_the_default_folder_is_that_of_the_xdg_specification() -> None:
    assert default_data_dir({"HOME": "/home/you"}) == "/home/you/.local/share/synapsenet"
    assert default_data_dir({"HOME": "/home/you", "XDG_DATA_HOME": "/data"}) == "/data/synapsenet"
    assert default_data_dir({"HOME": "/home/you", "XDG_DATA_HOME": "data"}) == "/home/you/.local/share/synapsenet"


def test_what_is_no_address_is_refused() -> None:
    for text in ["", "unix:", "127.0.0.1:7717", "http://localhost", "ftp://h:1", "http://h:1/x", "http://h:1/?x", "http://h:99999"]:
        with pytest.raises(NotConfigured):
            read_address(text)
    assert read_address("https://[::1]:7717") == ("https", "", "::1", 7717)
    assert read_address("unix:///run/a") == ("unix", "/run/a", "", 0)


def test_only_this_machine_is_loopback() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("10.0.0.1") and not is_loopback("localhost.example")


def test_a_fingerprint_is_read_as_programs_show_it() -> None:
    digits = "0123456789abcdef" * 4
    pairs = ":".join(digits.upper()[at : at + 2] for at in range(0, 64, 2))
    assert {read_fingerprint(text) for text in (digits, digits.upper(), pairs, f" {digits}\n")} == {digits}
    for wrong in ("", digits[1:], digits + "00", digits.replace("f", "g")):
        with pytest.raises(NotConfigured):
            read_fingerprint(wrong)
