"""Trusts the very certificate that was named, which gRPC for Python cannot by itself.

gRPC knows roots and names, and no fingerprints. So the node is asked for its certificate first, by a connection of its own on which
nothing is sent. If it is the one that was named, it becomes the only root of gRPC's connection, and its own name the one that gRPC
expects: then no other certificate passes, also when the connection is made again later. That the node has the key of the certificate,
the handshake of gRPC's connection proves. Two limits are gRPC's: a certificate must have a name in it, and must not be over.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from pathlib import Path
from typing import Any

from .errors import NotConfigured, Unreachable, WrongCertificate
from .target import Target

# How long a node may take to show its certificate, in seconds.
CONNECT_TIMEOUT = 5.0
# A certificate file is some KB; a list of all authorities some 300.
MAX_PEM_BYTES = 4 << 20
PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trusted(target: Target) -> tuple[bytes, str | None]:
    """What gRPC is to trust at an https address: roots in PEM, and the name to expect in place of the host, if another.

    Raises `WrongCertificate` when the node shows another certificate than the one named by its fingerprint, `Unreachable` when it
    shows none, and `NotConfigured` when the PEM file cannot be used.
    """
    named = read_pem(target.ca_file) if target.ca_file is not None else []
    shown = shown_by(target)
    if target.fingerprint is not None:
        fingerprint = hashlib.sha256(shown).hexdigest()
        if fingerprint != target.fingerprint:
            raise WrongCertificate(
                f"{target} shows the certificate {fingerprint}, and {target.fingerprint} was given",
                hint="check host and port, and what `synapsenet id` shows there",
            )
    elif shown not in named:
        # Whoever is named vouches for it, or nobody: by the rules of the web, and for this host.
        return "\n".join(map(ssl.DER_cert_to_PEM_cert, named)).encode(), None
    pem = ssl.DER_cert_to_PEM_cert(shown)
    return pem.encode(), name_in(target, pem)


def shown_by(target: Target) -> bytes:
    """The certificate that the node shows, in DER. It is not judged here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    certificate, _ = handshake(target, context)
    if not certificate:
        raise Unreachable(f"{target} shows no certificate", hint="check host and port")
    return certificate


def name_in(target: Target, pem: str) -> str:
    """A name that a certificate is for: gRPC wants to be told one that stands in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=pem)
    # It may be signed by somebody who is not named: it is trusted itself. Python tells what is in a certificate only if it is.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _, certificate = handshake(target, context)
    names: list[str] = [name for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    names += [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if not names:
        raise NotConfigured(
            f"the certificate of {target} has no name in it, and gRPC for Python takes none without",
            hint="delete api.cert.pem and api.key.pem there to have the node make another, or use its unix socket",
        )
    # A name for many hosts stands for any of them.
    return names[0].replace("*", "synapsenet", 1)


def handshake(target: Target, context: ssl.SSLContext) -> tuple[bytes | None, dict[str, Any]]:
    """The certificate that the node shows, in DER, and what is in it; that is told of one that is trusted only."""
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((target.host, target.port), timeout=CONNECT_TIMEOUT) as plain:
            with context.wrap_socket(plain, server_hostname=target.host) as secure:
                return secure.getpeercert(binary_form=True), dict(secure.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        raise WrongCertificate(f"the certificate of {target} cannot be used: {error.verify_message}") from error
    except OSError as error:
        raise Unreachable(
            f"no secure connection to {target}: {error.strerror or error}", hint="check host and port, and that a node runs there"
        ) from error


def read_pem(path: Path) -> list[bytes]:
    """The certificates in a PEM file, in DER."""
    hint = "it must be a PEM file that this user can read"
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_PEM_BYTES + 1)
        if len(raw) > MAX_PEM_BYTES:
            raise ValueError("it is too large")
        found = [ssl.PEM_cert_to_DER_cert(pem) for pem in PEM.findall(raw.decode("ascii", errors="replace"))]
        if not found:
            raise ValueError("it holds no certificate in PEM")
    except (OSError, ValueError) as error:
        raise NotConfigured(f"cannot use the certificate {path}: {error}", hint=hint) from error
    return found
