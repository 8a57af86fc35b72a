"""Which node is meant and how it is reached, as the command line finds it.

Arguments come first, then the environment variables of the command line, then the data folder. `config.toml` says how a node runs,
and is no part of this: neither the command line nor this package reads it to find one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from .errors import NotConfigured

# Names in a data folder.
SOCKET = "api.sock"
TOKEN = "api.token"
# A token is 64 digits and a line break; a larger file is something else.
MAX_TOKEN_BYTES = 4096
# The path of a unix socket, on Linux.
MAX_SOCKET_PATH = 107
FORM = "must be unix:PATH, http://HOST:PORT or https://HOST:PORT"


@dataclass(frozen=True)
class Target:
    """A node: where it listens, and what is shown to it and asked of it."""

    #: "unix", "http" or "https".
    scheme: str
    #: Path of the socket; empty for the others.
    path: str
    #: Host without brackets, and port; empty and 0 for a socket.
    host: str
    port: int
    #: What is sent to the node over TCP; never shown.
    token: str | None
    #: SHA-256 of the one certificate that is trusted, 64 lower-case digits.
    fingerprint: str | None
    #: PEM file of the certificate, or of who signed it.
    ca_file: Path | None

    def __repr__(self) -> str:
        return f"<Target {self}>"

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def find(
    *,
    api: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    fingerprint: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Target:
    """The node that is meant; see `Memory` for the arguments.

    Raises `NotConfigured` for what the command line would refuse with exit code 2.
    """
    env = os.environ if environment is None else environment

    def given(argument: str | os.PathLike[str] | None, variable: str) -> str | None:
        value = env.get(variable) if argument is None else os.fspath(argument)
        if value == "":
            raise NotConfigured(f"{variable} is empty", hint="give it a value, or leave it out")
        return value

    folder = given(data_dir, "SYNAPSENET_DATA_DIR")
    # Where the place was given, it stands for the folder of the environment, too.
    folder = os.path.abspath(folder) if folder is not None else default_data_dir(env)
    address = given(api, "SYNAPSENET_API")
    tokens = given(token_file, "SYNAPSENET_API_TOKEN_FILE")
    authority = given(ca_file, "SYNAPSENET_API_CA")
    digits = given(fingerprint, "SYNAPSENET_API_FINGERPRINT")
    if authority is not None and digits is not None:
        raise NotConfigured(
            "both a certificate (SYNAPSENET_API_CA) and a fingerprint (SYNAPSENET_API_FINGERPRINT) are given",
            hint="give one of them",
        )
    pinned = None if digits is None else read_fingerprint(digits)
    scheme, path, host, port = read_address(address if address is not None else f"unix:{os.path.join(folder, SOCKET)}")
    shown = None
    if scheme == "unix":
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise NotConfigured(f"{path} has more than {MAX_SOCKET_PATH} bytes", hint="choose a shorter data folder")
    else:
        if scheme == "http" and pinned is not None:
            raise NotConfigured(
                f"a fingerprint is given, and {address} shows no certificate", hint="use https://, or leave the fingerprint out"
            )
        shown = token if token is not None else read_token(tokens, folder)
        if scheme == "http" and shown is not None and not is_loopback(host):
            raise NotConfigured(
                f"{address} would carry the token across the network for all to read",
                hint="use https://, or a tunnel that ends on this machine",
            )
        if scheme == "https" and pinned is None and authority is None:
            raise NotConfigured(
                f"{address} needs a certificate to check the node against",
                hint="give its fingerprint, which `synapsenet id` shows there, or the PEM file of its certificate or of who signed it",
            )
    ca = None if authority is None else Path(authority)
    return Target(scheme, path, host, port, shown, pinned, ca)


def default_data_dir(env: Mapping[str, str]) -> str:
    """The data folder of a user who names none: the XDG data folder, or on macOS that for support of applications."""
    home = env.get("HOME") or os.path.expanduser("~")
    if not os.path.isabs(home):
        raise NotConfigured("no data folder: neither XDG_DATA_HOME nor HOME is set", hint="name one with data_dir")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "synapsenet")
    base = env.get("XDG_DATA_HOME", "")
    # A path that is not absolute is to be ignored (XDG Base Directory Specification).
    return os.path.join(base if os.path.isabs(base) else os.path.join(home, ".local", "share"), "synapsenet")


def read_address(text: str) -> tuple[str, str, str, int]:
    """Scheme, path, host and port of `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`."""
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        # `unix:///path` is how other gRPC programs write an absolute path.
        path = path[2:] if path.startswith("///") else path
        if not path:
            raise NotConfigured("no path after unix:", hint=f"the address {FORM}")
        return "unix", path, "", 0
    refused = NotConfigured(f"the address {text!r} {FORM}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refused from None
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "?" not in text and "@" not in text
    if parts.scheme not in ("http", "https") or not host or port is None or not plain:
        raise refused
    return parts.scheme, "", host, port


def read_fingerprint(text: str) -> str:
    """SHA-256 of a certificate as 64 lower-case digits, out of what programs show: upper or lower case, with colons or without."""
    digits = text.strip().replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise NotConfigured("a fingerprint is 64 hexadecimal digits (SHA-256)", hint="`synapsenet id` shows it")
    return digits


def read_token(file: str | None, folder: str) -> str | None:
    """The token for TCP. Without a file at the default place there is none, and the node says that it wants one."""
    path = Path(file) if file is not None else Path(folder, TOKEN)
    hint = "name the file that `synapsenet token create` wrote, or a copy of api.token in the data folder"

    def unusable(why: object) -> NotConfigured:
        return NotConfigured(f"cannot use the token file {path}: {why}", hint=hint)

    try:
        if file is None and not path.exists():
            return None
        with path.open("rb") as opened:
            raw = opened.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise unusable(error.strerror or error) from error
    if len(raw) > MAX_TOKEN_BYTES:
        raise unusable("it is too large for a token")
    token = raw.decode("ascii", errors="replace").strip()
    if not token:
        raise unusable("it is empty")
    if not token.isascii() or not token.isprintable():
        raise unusable("it holds characters that no token has")
    return token


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine, by the name alone: nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
