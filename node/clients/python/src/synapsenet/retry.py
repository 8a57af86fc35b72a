"""When a call is made again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from .errors import IN_A_MOMENT, STOPPING, DeadlinePassed, Exhausted, SynapsenetError, Unreachable, WrongCertificate


@dataclass(frozen=True)
class Retry:
    """How often a call is made that the node is too busy for, or does not answer, and how long it waits in between.

    The node's own word comes first: where it says how long to wait (google.rpc.RetryInfo), that is waited, and a call that it calls
    busy (RESOURCE_EXHAUSTED with TOO_MANY_CALLS, MODEL_BUSY or TOO_MANY_PEERS) is made again. One that it is full for (NODE_FULL,
    DISK_FULL and others) is not, unless it says how long to wait. A connection that breaks is made anew, and a call that does the
    same when it is done twice is repeated. Nothing is waited for that would end after the time of the call.
    """

    #: Calls in all, the first one included; 1 never repeats.
    attempts: int = 5
    #: Seconds before the second call; each wait after it is twice as long, and shorter by up to a half at random.
    first_wait: float = 0.1
    #: No wait is longer, in seconds, the one that the node asks for included: a call that it asks a longer one for is not repeated.
    longest_wait: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.first_wait <= self.longest_wait:
            raise ValueError("attempts must be 1 or more, and first_wait from 0 to longest_wait")

    def wait(self, error: SynapsenetError, made: int, repeatable: bool, left: float) -> float | None:
        """Seconds after which a call is made again that was made `made` times and has `left` seconds left; None when it is not."""
        if made >= self.attempts or not self._is_of_use(error, repeatable):
            return None
        if error.retry_after is not None:
            wait = error.retry_after
            if wait > self.longest_wait:
                return None
        else:
            wait = min(self.first_wait * 2.0 ** (made - 1), self.longest_wait) * random.uniform(0.5, 1.0)
        return wait if wait < left else None

    def _is_of_use(self, error: SynapsenetError, repeatable: bool) -> bool:
        if isinstance(error, Exhausted):
            # The node refused it before it did anything.
            return error.retry_after is not None or error.reason in IN_A_MOMENT
        if isinstance(error, Unreachable) and not isinstance(error, WrongCertificate):
            refused = error.reason == STOPPING
            return refused or (not error.reason and repeatable)
        return False


class Deadline:
    """When the time of a call is over, its repetitions included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left.

        Raises `DeadlinePassed` when there are none.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise DeadlinePassed(f"there was no answer within {self.seconds:g} s", reason="DEADLINE_PASSED")
        return left
