"""Why a call has no answer: an exception for each kind, with the reason and the hint that the node sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

# Where gRPC carries google.rpc.Status.
DETAILS = "grpc-status-details-bin"
# Reasons for which asking again, unchanged, is of use in a moment.
IN_A_MOMENT = frozenset({"TOO_MANY_CALLS", "MODEL_BUSY", "TOO_MANY_PEERS"})
# The node refused the call because it stops: it did nothing of it.
STOPPING = "STOPPING"


class SynapsenetError(Exception):
    """A call has no answer. `str()` says what happened and what to do.

    `message` is for people. `reason` is for programs: a name of `ErrorReason` in the schema without `ERROR_REASON_`, such as
    "GRAIN_NOT_FOUND"; empty where no node answered, or one that tells none. `hint` says what to do next, in the words of the
    command line; it may be empty. `retry_after` is the time in seconds that the node asked to wait, or None. `violations` names each
    field of the request that is wrong, such as "filter.any[1].tags", with what is wrong with it.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        hint: str = "",
        retry_after: float | None = None,
        violations: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.hint = hint
        self.retry_after = retry_after
        self.violations = tuple(violations)

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.message}{reason}{hint}"


class NotConfigured(SynapsenetError):
    """Which node is meant, or how to reach it, is not said in a way that can be used: nothing was sent."""


class Unreachable(SynapsenetError):
    """No node answers, or it stopped, or it is not the one whose certificate was named."""


class WrongCertificate(Unreachable):
    """The node shows another certificate than the one whose fingerprint, or PEM file, was given: nothing was sent to it."""


class InvalidRequest(SynapsenetError):
    """The request can never succeed."""


class NotFound(SynapsenetError):
    """There is nothing of that name or id."""


class NotAllowed(SynapsenetError):
    """The token is missing, unknown or over, or does not allow the call."""


class Exhausted(SynapsenetError):
    """The node is busy, or full. It was asked again where that is of use, and as often as `Retry` says."""


class Refused(SynapsenetError):
    """The node is not set up for it, or cannot do it as things stand."""


class DeadlinePassed(SynapsenetError):
    """There was no answer in time. What was asked for may have been done all the same."""


class Fault(SynapsenetError):
    """Something is wrong with the node: its log says more."""


KINDS: dict[grpc.StatusCode, type[SynapsenetError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.ABORTED: Refused,
    grpc.StatusCode.CANCELLED: Refused,
    grpc.StatusCode.ALREADY_EXISTS: Refused,
    grpc.StatusCode.UNIMPLEMENTED: Refused,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed,
}
# What gRPC calls it when a connection breaks: mostly the first, and the others where it breaks amid sending.
BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})


def of_rpc(failed: grpc.RpcError, where: object) -> SynapsenetError:
    """The exception for what gRPC says of the node at this address, with what stands in its details."""
    # Each of gRPC's errors that ends a call is such a call; the types do not say so.
    call: Any = failed
    code: grpc.StatusCode = call.code()
    metadata = call.trailing_metadata() or ()
    raw = next((value for key, value in metadata if key == DETAILS), b"")
    reason, hint, retry_after, violations = read_details(bytes(raw) if isinstance(raw, bytes) else b"")
    message = call.details() or str(code)
    kind = KINDS.get(code, Fault)
    # A node gives a reason; without one it is gRPC that speaks, of a connection that was not made or broke.
    if code in BROKEN and not reason:
        kind = Unreachable
        message = f"no node answers at {where}: {message}"
        hint = "start a node with `synapsenet run`, or check the address"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        hint = "the node is older than this package: upgrade it"
    return kind(message, reason=reason, hint=hint, retry_after=retry_after, violations=violations)


def read_details(raw: bytes) -> tuple[str, str, float | None, list[tuple[str, str]]]:
    """Reason, hint, time to wait and what is wrong with which field out of an encoded google.rpc.Status; each is empty where it is
    not said."""
    reason, hint, retry_after = "", "", None
    violations: list[tuple[str, str]] = []
    status = status_pb2.Status()
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    wrong = error_details_pb2.BadRequest()
    try:
        status.ParseFromString(raw)
        for detail in status.details:
            if detail.Unpack(info):
                reason, hint = info.reason, info.metadata.get("hint", "")
            elif detail.Unpack(retry):
                retry_after = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
            elif detail.Unpack(wrong):
                violations = [(one.field, one.description) for one in wrong.field_violations]
    except DecodeError:
        # Somebody between here and the node wrote them, or cut them: the code says enough.
        pass
    return reason, hint, retry_after, violations
