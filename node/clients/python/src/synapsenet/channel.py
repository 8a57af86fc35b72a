"""What a connection of gRPC is made from, the same for both kinds of memory."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from .certificate import trusted
from .target import Target

VERSION = "0.1.0"
# The largest answer: a page of 1000 grains, each 16 KiB of text and 32 KiB signed, with room for the rest.
MAX_ANSWER_BYTES = 64 << 20
# How long a node may take to accept a connection, and how often a silent one is asked for a sign of life, as the command line does.
CONNECT_MS = 5_000
KEEP_ALIVE_MS = 20_000
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    # Less than what a call waits before it gives up: a node that is back is found by the calls that wait for it.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.keepalive_time_ms", KEEP_ALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEP_ALIVE_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # Calls are repeated here, where the node's own word is heard. Nothing else is looked up or asked than the node.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
    # Two memories of one address may trust other certificates.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"synapsenet-python/{VERSION}"),
]


@dataclass(frozen=True)
class Plan:
    """How a channel is made: its address as gRPC writes it, what it trusts, its options."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: list[tuple[str, int | str]]


def plan(target: Target) -> Plan:
    """How to reach a node. For https it asks the node for its certificate, which may take five seconds, twice.

    Raises `WrongCertificate`, `Unreachable` and `NotConfigured`.
    """
    if target.scheme == "unix":
        return Plan(f"unix:{target.path}", None, OPTIONS)
    host = f"[{target.host}]" if ":" in target.host else target.host
    address = f"dns:///{host}:{target.port}"
    if target.scheme == "http":
        return Plan(address, None, OPTIONS)
    roots, name = trusted(target)
    named = [] if name is None else [("grpc.ssl_target_name_override", name)]
    return Plan(address, grpc.ssl_channel_credentials(root_certificates=roots), [*OPTIONS, *named])


def metadata(target: Target) -> tuple[tuple[str, str], ...]:
    """What is sent with each call."""
    return () if target.token is None else (("authorization", f"Bearer {target.token}"),)


# grpc.health.v1, whose messages have one field each: no package is needed for them.
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
WRITES = "synapsenet.v1.writes"


def health_request(service: str) -> bytes:
    """HealthCheckRequest, encoded."""
    name = service.encode()
    return b"\x0a" + bytes([len(name)]) + name if name else b""
