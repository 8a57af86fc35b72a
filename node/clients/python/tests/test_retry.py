"""What is asked again and when, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from conftest import PATIENCE
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from synapsenet import (
    AsyncMemory,
    DeadlinePassed,
    Exhausted,
    Fault,
    Memory,
    NotFound,
    Outcome,
    Retry,
    SynapsenetError,
    Unreachable,
    WrongCertificate,
)
from synapsenet.errors import read_details
from synapsenet.v1 import node_pb2
from synapsenet.v1.node_pb2_grpc import NodeServiceServicer, add_NodeServiceServicer_to_server

QUICK = Retry(attempts=4, first_wait=0.01)


def details(reason: str, hint: str = "", retry_after: float | None = None) -> bytes:
    """An encoded google.rpc.Status as a node sends it."""
    status = status_pb2.Status()
    said: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="synapsenet", metadata={"hint": hint})]
    if retry_after is not None:
        delay = duration_pb2.Duration(nanos=round(retry_after * 1e9) % 10**9, seconds=int(retry_after))
        said.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for one in said:
        packed = any_pb2.Any()
        packed.Pack(one)
        status.details.append(packed)
    return status.SerializeToString()


class Refusal:
    """A status that a call ends with."""

    def __init__(self, code: grpc.StatusCode, reason: str = "", hint: str = "", retry_after: float | None = None) -> None:
        self.code, self.details = code, details(reason, hint, retry_after) if reason else b""

    def end(self, context: Any) -> None:
        if self.details:
            context.set_trailing_metadata((("grpc-status-details-bin", self.details),))
        context.abort(self.code, "as it was told")


BUSY = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", "try again in a moment")
FULL = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "NODE_FULL", "raise storage.hnsw_max_elements")
BROKEN = Refusal(grpc.StatusCode.UNAVAILABLE)


class Fake(NodeServiceServicer):  # type: ignore[misc]
    """Ends the next calls as `script` says, and answers those after it. Notes when each came."""

    def __init__(self) -> None:
        self.script: list[Refusal] = []
        self.came: list[float] = []
        #: Texts that were sent to BulkPut, call by call, and after how many answers a call breaks.
        self.bulk: list[list[str]] = []
        self.break_after = -1
        self.hold = threading.Event()
        self.holds = False
        #: Whether the end of a watch comes after its headers, or after it told where it begins.
        self.late = False
        self.begun = False
        #: Where each watch was to go on.
        self.cursors: list[str] = []
        #: A call that put texts in is over.
        self.over = threading.Event()

    def _begin(self, context: Any) -> None:
        self.came.append(time.monotonic())
        if self.holds:
            self.hold.wait(PATIENCE)
        if self.script:
            self.script.pop(0).end(context)

    def Get(self, request: Any, context: Any) -> Any:
        self._begin(context)
        return node_pb2.GetResponse(grain=node_pb2.Grain(id=request.id, text="here"))

    def Retract(self, request: Any, context: Any) -> Any:
        self._begin(context)
        return node_pb2.RetractResponse(id=request.id)

    def Search(self, request: Any, context: Any) -> Any:
        self._begin(context)
        yield node_pb2.SearchResponse(hit=node_pb2.Hit(grain=node_pb2.Grain(id="aa", text="ä word"), score=0.5))
        if request.text != "half":
            yield node_pb2.SearchResponse(summary=node_pb2.SearchSummary(hits=1))

    def Watch(self, request: Any, context: Any) -> Any:
        self.cursors.append(request.cursor)
        if self.late:
            context.send_initial_metadata(())
        if self.begun:
            yield node_pb2.WatchResponse(cursor="begun")
        self._begin(context)
        if not self.begun:
            yield node_pb2.WatchResponse(cursor="begun")
        yield node_pb2.WatchResponse(missed=3)

    def BulkPut(self, requests: Any, context: Any) -> Any:
        texts: list[str] = []
        self.bulk.append(texts)
        context.add_callback(self.over.set)
        for ordinal, request in enumerate(requests):
            texts.append(request.draft.text)
            if len(texts) > self.break_after >= 0:
                self.break_after = -1
                BROKEN.end(context)
            yield node_pb2.BulkPutResponse(ordinal=ordinal, outcome=node_pb2.PUT_OUTCOME_ADDED, id=f"{texts[-1]}")
            if self.holds:
                self.hold.wait(PATIENCE)


@pytest.fixture
def fake() -> Iterator[tuple[Fake, str]]:
    """A server, and its address."""
    service = Fake()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add_NodeServiceServicer_to_server(service, server)
    with tempfile.TemporaryDirectory(prefix="syn-py-") as folder:
        address = f"unix:{folder}/api.sock"
        server.add_insecure_port(address)
        server.start()
        yield service, address
        service.hold.set()
        server.stop(None).wait(PATIENCE)


OpenMemory = Callable[..., Any]


@pytest.mark.parametrize("reason", ["TOO_MANY_CALLS", "MODEL_BUSY", "TOO_MANY_PEERS"])
def test_a_busy_node_is_asked_again(fake: tuple[Fake, str], open_memory: OpenMemory, reason: str) -> None:
    service, address = fake
    service.script = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)] * 2
    memory = open_memory(api=address, retry=QUICK)
    assert memory.get("ab").text == "here" and len(service.came) == 3
    service.script = [BUSY]
    assert memory.search("x")[0].text == "ä word" and len(service.came) == 5
    # A call that changes something was not begun, either.
    service.script = [BUSY]
    assert memory.retract("ab") == "ab" and len(service.came) == 7


def test_it_is_asked_so_often_and_no_more(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    service.script = [BUSY] * 100
    with pytest.raises(Exhausted) as told:
        open_memory(api=address, retry=QUICK).get("ab")
    assert (told.value.reason, told.value.hint) == ("TOO_MANY_CALLS", "try again in a moment")
    assert str(told.value) == "as it was told (TOO_MANY_CALLS); try again in a moment"
    assert len(service.came) == QUICK.attempts


def test_the_time_that_the_node_asks_for_is_waited(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    service.script = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", retry_after=0.4)]
    memory = open_memory(api=address, retry=QUICK)
    memory.get("ab")
    first, second = service.came
    assert second - first >= 0.4
    # One that it is full for is asked again only if the node says when.
    service.script = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL", retry_after=0.01)]
    assert memory.get("ab").text == "here"


def test_a_full_node_is_not_asked_again(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    service.script = [FULL]
    with pytest.raises(Exhausted) as told:
        open_memory(api=address, retry=QUICK).get("ab")
    assert told.value.reason == "NODE_FULL" and len(service.came) == 1


def test_nothing_is_waited_for_that_ends_too_late(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    memory = open_memory(api=address, retry=Retry(longest_wait=50.0))
    for asked in (51.0, 1e9):
        service.script = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", retry_after=asked)]
        with pytest.raises(Exhausted) as told:
            memory.get("ab")
        assert told.value.retry_after == asked
    service.script = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", retry_after=40.0)]
    with pytest.raises(Exhausted):
        memory.get("ab", timeout=30.0)
    assert len(service.came) == 3


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "UNKNOWN"])
def test_a_call_that_broke_is_repeated_only_where_that_changes_nothing(
    fake: tuple[Fake, str], open_memory: OpenMemory, code: str
) -> None:
    service, address = fake
    memory = open_memory(api=address, retry=QUICK)
    broken = Refusal(grpc.StatusCode[code])
    service.script = [broken, broken]
    assert memory.get("ab").text == "here" and len(service.came) == 3
    service.script = [broken]
    with pytest.raises(Unreachable):
        memory.retract("ab")
    # What a node refuses because it stops was not begun.
    service.script = [Refusal(grpc.StatusCode.UNAVAILABLE, "STOPPING")]
    assert memory.retract("ab") == "ab"
    service.script = [Refusal(grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_FETCHED")]
    came = len(service.came)
    with pytest.raises(Unreachable):
        memory.get("ab")
    assert len(service.came) == came + 1


def test_what_cannot_succeed_is_asked_once(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    memory = open_memory(api=address, retry=QUICK)
    for code, kind in [(grpc.StatusCode.NOT_FOUND, NotFound), (grpc.StatusCode.INTERNAL, Fault), (grpc.StatusCode.DATA_LOSS, Fault)]:
        service.script, service.came = [Refusal(code, "SOMETHING")], []
        with pytest.raises(kind):
            memory.get("ab")
        assert len(service.came) == 1


def test_a_bulk_that_breaks_goes_on_where_it_was(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    service.break_after = 7
    texts = [str(number) for number in range(20)]
    added = list(open_memory(api=address, retry=QUICK).add_many(texts, wait=False))
    assert [one.id for one in added] == texts and [one.ordinal for one in added] == list(range(20))
    assert {one.outcome for one in added} == {Outcome.ADDED}
    # What was answered is not sent again.
    assert len(service.bulk) == 2 and service.bulk[1][-1] == "19" and int(service.bulk[1][0]) <= 7
    assert service.bulk[1] == [one.id for one in added[int(service.bulk[1][0]) :]]


def test_a_bulk_is_sent_in_batches(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    memory = open_memory(api=address)
    assert len(list(memory.add_many((str(number) for number in range(1200)), wait=False))) == 1200
    assert [len(batch) for batch in service.bulk] == [512, 512, 176]
    service.bulk.clear()
    assert len(list(memory.add_many(["x" * (1 << 20)] * 9, wait=False))) == 9
    assert [len(batch) for batch in service.bulk] == [3, 3, 3]
    service.bulk.clear()
    assert list(memory.add_many([], wait=False)) == [] and service.bulk == []


def test_whoever_stops_iterating_ends_the_call(fake: tuple[Fake, str]) -> None:
    service, address = fake
    service.holds = True
    with Memory(api=address) as memory:
        answers = memory.add_many(["one", "two"], wait=False)
        assert next(answers).id == "one"
        answers.close()
        assert service.over.wait(PATIENCE / 2)

    async def stop() -> bool:
        async with AsyncMemory(api=address) as memory:
            answers = memory.add_many(["one", "two"], wait=False)
            assert (await answers.__anext__()).id == "one"
            await answers.aclose()
            return await asyncio.to_thread(service.over.wait, PATIENCE / 2)

    service.over.clear()
    assert asyncio.run(stop())


def test_no_answer_in_time_is_told(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    service, address = fake
    service.holds = True
    memory = open_memory(api=address, timeout=0.3)
    for ask in (lambda: memory.get("ab"), lambda: memory.search("x"), lambda: memory.watch()):
        began = time.monotonic()
        with pytest.raises(DeadlinePassed):
            ask()
        assert 0.25 < time.monotonic() - began < PATIENCE / 2


async def first_event(address: str) -> int:
    """How many events a new watch says at first that it missed."""
    async with AsyncMemory(api=address, retry=QUICK) as memory, await memory.watch() as events:
        assert events.cursor == "begun"
        return (await events.__anext__()).missed


@pytest.mark.parametrize("late", [False, True])
def test_a_watch_that_a_busy_node_refused_is_begun_again(fake: tuple[Fake, str], late: bool) -> None:
    service, address = fake
    service.late = late
    service.script = [BUSY, BUSY]
    with Memory(api=address, retry=QUICK) as memory, memory.watch() as events:
        assert next(events).missed == 3 and len(service.came) == 3
    service.script = [BUSY, BUSY]
    assert asyncio.run(first_event(address)) == 3 and len(service.came) == 6
    # Not for good.
    service.script = [BUSY] * 10
    with Memory(api=address, retry=QUICK) as memory, pytest.raises(Exhausted):
        list(memory.watch())


def test_a_watch_that_breaks_before_its_first_event_goes_on_where_it_began(fake: tuple[Fake, str]) -> None:
    """What came while it was cut off was passed over: only an event told it where it was."""
    service, address = fake
    service.begun = True
    service.script = [BROKEN]
    with Memory(api=address, retry=QUICK) as memory, memory.watch() as events:
        assert events.cursor == "begun" and next(events).missed == 3
    service.script = [BROKEN]
    assert asyncio.run(first_event(address)) == 3
    assert service.cursors == ["", "begun"] * 2


def test_a_watch_that_is_closed_while_it_waits_for_the_node_ends(fake: tuple[Fake, str]) -> None:
    service, address = fake
    service.begun = True
    service.script = [BROKEN]
    retry = Retry(attempts=2, first_wait=PATIENCE, longest_wait=PATIENCE)
    with Memory(api=address, retry=retry, timeout=4 * PATIENCE) as memory, memory.watch() as events:
        rest: list[Any] = []
        waiting = threading.Thread(target=lambda: rest.extend(events))
        waiting.start()
        while not service.came:
            time.sleep(0.01)
        events.close()
        waiting.join(PATIENCE / 4)
        assert not waiting.is_alive() and rest == []


def test_half_an_answer_is_none(fake: tuple[Fake, str], open_memory: OpenMemory) -> None:
    with pytest.raises(Fault, match="broke off"):
        open_memory(api=fake[1]).search("half")


def test_details_that_nobody_can_read_are_none() -> None:
    assert read_details(b"\xff\xff\xff") == ("", "", None, [])
    assert read_details(b"") == ("", "", None, [])
    assert read_details(details("A", "do b", 1.5)) == ("A", "do b", 1.5, [])


def test_waits_grow_and_are_bounded() -> None:
    retry = Retry(attempts=50, first_wait=0.1, longest_wait=2.0)
    busy = Exhausted("busy", reason="MODEL_BUSY")
    for made in range(1, 50):
        wait = retry.wait(busy, made, True, 100.0)
        bound = min(0.1 * 2 ** (made - 1), 2.0)
        assert wait is not None and bound / 2 <= wait <= bound
    assert retry.wait(busy, 50, True, 100.0) is None
    for never in (SynapsenetError("other"), WrongCertificate("shown"), NotFound("gone"), Fault("broken")):
        assert retry.wait(never, 1, True, 100.0) is None
    assert retry.wait(Unreachable("gone"), 1, True, 100.0) is not None
    for wrong in ({"attempts": 0}, {"first_wait": -1.0}, {"first_wait": 11.0}):
        with pytest.raises(ValueError):
            Retry(**wrong)  # type: ignore[arg-type]
