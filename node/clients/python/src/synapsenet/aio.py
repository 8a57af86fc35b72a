"""A memory for asyncio: one node, called without anybody waiting in a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from . import channel as channels
from . import records, requests
from .errors import DeadlinePassed, SynapsenetError, Unreachable, of_rpc
from .records import (
    Added,
    AddedDocument,
    Answer,
    Context,
    Counts,
    Document,
    Draft,
    Event,
    Filter,
    Grain,
    Hits,
    Link,
    Source,
    Status,
    Updated,
    Vectors,
    Withdrawn,
)
from .requests import Call, EventKind, Facet, Floats, Mode, Role
from .retry import Deadline, Retry
from .target import Target, find
from .v1.node_pb2 import WatchRequest, WatchResponse
from .v1.node_pb2_grpc import NodeServiceStub

T = TypeVar("T")


class AsyncMemory:
    """As `Memory`, with the same arguments and calls, for asyncio. It belongs to the event loop that makes its first call.

        async with AsyncMemory() as memory:
            await memory.add("The spare key is at Maria's")
            hits = await memory.search("who has a key?")
    """

    def __init__(
        self,
        *,
        api: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        fingerprint: str | None = None,
        topic: str = "",
        timeout: float = 60.0,
        retry: Retry = Retry(),
    ) -> None:
        #: Which node it is.
        self.target: Target = find(
            api=api, data_dir=data_dir, token=token, token_file=token_file, ca_file=ca_file, fingerprint=fingerprint
        )
        self.topic = topic
        self.timeout = timeout
        self.retry = retry
        #: What has to be sent with calls that are made with `channel` itself.
        self.metadata: tuple[tuple[str, str], ...] = channels.metadata(self.target)
        self._lock = asyncio.Lock()
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> AsyncMemory:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and what is under way on it. The next call makes another."""
        async with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def channel(self) -> grpc.aio.Channel:
        """The connection, for the stubs in `synapsenet.v1`; send `metadata` with each call."""
        async with self._lock:
            if self._channel is None:
                # Asking for a certificate waits, and nobody else should.
                plan = await asyncio.to_thread(channels.plan, self.target)
                if plan.credentials is None:
                    self._channel = grpc.aio.insecure_channel(plan.address, plan.options)
                else:
                    self._channel = grpc.aio.secure_channel(plan.address, plan.credentials, plan.options)
            return self._channel

    # Putting in.

    async def add(
        self,
        text: str,
        *,
        title: str = "",
        topic: str = "",
        tags: Sequence[str] = (),
        lang: str = "",
        source: Source | None = None,
        links: Sequence[Link] = (),
        metadata: Mapping[str, str] | None = None,
        share: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Added:
        """As `Memory.add`."""
        draft = Draft(
            text, title=title, topic=topic, tags=tags, lang=lang, source=source, links=links, metadata=metadata or {}
        )
        deadline = self._deadline(timeout)
        patience = deadline.left() if wait else None
        return await self._run(requests.put(draft, self.topic, share, patience), deadline)

    async def update(
        self,
        id: str,
        text: str | None = None,
        *,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        lang: str | None = None,
        metadata: Mapping[str, str] | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Updated:
        """As `Memory.update`."""
        deadline = self._deadline(timeout)
        old = (await self._run(requests.get(id), deadline)).grain
        draft = Draft(
            old.text if text is None else text,
            title=old.title if title is None else title,
            tags=old.tags if tags is None else tags,
            lang=old.lang if lang is None else lang,
            mime=old.mime,
            source=old.source,
            links=old.links,
            metadata=old.metadata if metadata is None else metadata,
        )
        return await self._run(requests.update(old.id, draft, deadline.left() if wait else None), deadline)

    async def add_many(
        self,
        texts: Iterable[str | Draft] | AsyncIterable[str | Draft],
        *,
        topic: str = "",
        share: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> AsyncIterator[Added]:
        """As `Memory.add_many`."""
        batches, ordinal = requests.Batches(topic or self.topic, share), 0

        async def gathered() -> AsyncIterator[list[Any]]:
            if isinstance(texts, AsyncIterable):
                async for text in texts:
                    yield batches.push(text)
            else:
                for text in texts:
                    yield batches.push(text)
            yield batches.rest()

        async for batch in gathered():
            async for said in self._put_batch(batch, self._deadline(timeout)):
                yield requests.bulk_answer(said, ordinal, share)
                ordinal += 1
        if wait and ordinal:
            await self.wait()

    async def add_document(
        self,
        name: str | os.PathLike[str],
        content: str | bytes,
        *,
        title: str = "",
        topic: str = "",
        tags: Sequence[str] = (),
        lang: str = "",
        encoding: str = "",
        metadata: Mapping[str, str] | None = None,
        share: bool = False,
        timeout: float | None = None,
    ) -> AddedDocument:
        """As `Memory.add_document`."""
        made = requests.add_document(
            name, content, title, topic or self.topic, tags, lang, encoding, share, metadata or {}
        )
        return await self._run(made, self._deadline(timeout))

    async def wait(self, timeout: float = 600.0) -> None:
        """As `Memory.wait`."""
        await self._run(requests.wait_indexed(), Deadline(timeout))

    # Finding.

    async def search(
        self,
        question: str = "",
        k: int = 10,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        mode: Mode = "hybrid",
        min_score: float | None = None,
        offset: int = 0,
        all_copies: bool = False,
        mesh: bool = False,
        mesh_wait: float = 0.0,
        vector: Floats | None = None,
        space_id: str = "",
        vectors: bool = False,
        timeout: float | None = None,
    ) -> Hits:
        """As `Memory.search`."""
        request = requests.search_request(
            question,
            k,
            requests.filtered(where, topic, tags, self.topic),
            mode=mode,
            min_score=min_score,
            offset=offset,
            all_copies=all_copies,
            mesh=mesh,
            mesh_wait=mesh_wait,
            vector=vector,
            space_id=space_id,
            vectors=vectors,
        )
        return await self._run(requests.search(request), self._deadline(timeout))

    async def search_many(
        self,
        questions: Sequence[str],
        k: int = 10,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        mode: Mode = "hybrid",
        min_score: float | None = None,
        all_copies: bool = False,
        timeout: float | None = None,
    ) -> list[Hits]:
        """As `Memory.search_many`."""
        one = requests.filtered(where, topic, tags, self.topic)
        made = [
            requests.search_request(question, k, one, mode=mode, min_score=min_score, all_copies=all_copies)
            for question in questions
        ]
        deadline = self._deadline(timeout)
        return [hits for call in requests.search_many(made) for hits in await self._run(call, deadline)]

    async def related(
        self,
        id: str,
        k: int = 10,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        min_score: float | None = None,
        timeout: float | None = None,
    ) -> Hits:
        """As `Memory.related`."""
        one = requests.filtered(where, topic, tags, self.topic)
        request = requests.search_request("", k, one, like=id, mode="meaning", min_score=min_score)
        return await self._run(requests.search(request), self._deadline(timeout))

    async def get(self, id: str, *, vector: bool = False, timeout: float | None = None) -> Grain:
        """As `Memory.get`."""
        return (await self._run(requests.get(id, vector=vector), self._deadline(timeout))).grain

    async def around(self, id: str, parts: int = 2, *, timeout: float | None = None) -> Context:
        """As `Memory.around`."""
        return await self._run(requests.get(id, parts), self._deadline(timeout))

    async def recent(
        self,
        limit: int = 10,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> list[Grain]:
        """As `Memory.recent`."""
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; it must be 1 to 1000")
        # A page may hold fewer than were asked for, where they are large.
        found: list[Grain] = []
        async for page in self._pages(requests.filtered(where, topic, tags, self.topic), limit, self._deadline(timeout)):
            found += page
            if len(found) >= limit:
                break
        return found[:limit]

    async def grains(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Grain]:
        """As `Memory.grains`."""
        one = requests.filtered(where, topic, tags, self.topic)
        async for page in self._pages(one, requests.PAGE, timeout):
            for grain in page:
                yield grain

    async def count(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Memory.count`."""
        return await self._run(requests.count(requests.filtered(where, topic, tags, self.topic)), self._deadline(timeout))

    async def count_by(
        self,
        *facets: Facet,
        top: int = 10,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> Counts:
        """As `Memory.count_by`."""
        made = requests.count_by(requests.filtered(where, topic, tags, self.topic), facets, top)
        return await self._run(made, self._deadline(timeout))

    async def document(self, uri: str | os.PathLike[str], *, timeout: float | None = None) -> AsyncIterator[Grain]:
        """As `Memory.document`."""
        token = ""
        while True:
            made = requests.document_page(os.fspath(uri), requests.PAGE, token)
            page, token = await self._run(made, self._deadline(timeout))
            for grain in page:
                yield grain
            if not token:
                return

    async def documents(
        self, prefix: str | os.PathLike[str] = "", *, timeout: float | None = None
    ) -> AsyncIterator[Document]:
        """As `Memory.documents`."""
        token = ""
        while True:
            made = requests.documents_page(os.fspath(prefix), requests.PAGE, token)
            page, token = await self._run(made, self._deadline(timeout))
            for document in page:
                yield document
            if not token:
                return

    async def embed(
        self, texts: Sequence[str], role: Role = "passage", *, timeout: float | None = None
    ) -> Vectors:
        """As `Memory.embed`."""
        return await self._run(requests.embed(texts, role), self._deadline(timeout))

    # Taking back.

    async def retract_each(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Answer]:
        """As `Memory.retract_each`."""
        answers: list[Answer] = []
        for call in requests.retract_each(ids):
            some = await self._run(call, self._deadline(timeout))
            answers += some
        return answers

    async def share_each(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Answer]:
        """As `Memory.share_each`."""
        answers: list[Answer] = []
        for call in requests.share_each(ids):
            some = await self._run(call, self._deadline(timeout))
            answers += some
        return answers

    async def delete_document(self, uri: str | os.PathLike[str], *, timeout: float | None = None) -> int:
        """As `Memory.delete_document`."""
        return await self._run(requests.delete_document(os.fspath(uri)), self._deadline(timeout))

    async def retract(self, id: str, *, timeout: float | None = None) -> str:
        """As `Memory.retract`."""
        return await self._run(requests.retract(id), self._deadline(timeout))

    async def retract_matching(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> Withdrawn:
        """As `Memory.retract_matching`."""
        made = requests.retract_matching(requests.filtered(where, topic, tags, self.topic), dry_run)
        return await self._run(made, self._deadline(timeout))

    async def forget(
        self,
        *ids: str,
        author: str = "",
        topic: str = "",
        source: str = "",
        block: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> int:
        """As `Memory.forget`."""
        made = requests.forget(ids, author, topic, source, block, dry_run)
        return await self._run(made, self._deadline(timeout))

    async def share(self, id: str, *, timeout: float | None = None) -> bool:
        """As `Memory.share`."""
        return await self._run(requests.share(id), self._deadline(timeout))

    # Looking on.

    async def watch(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        kinds: Iterable[EventKind] = (),
        cursor: str = "",
        timeout: float | None = None,
    ) -> AsyncWatch:
        """As `Memory.watch`:

            async with await memory.watch() as events:
                async for event in events:
                    print(event.kind, event.id)
        """
        request = requests.watch(requests.filtered(where, topic, tags, self.topic), cursor, kinds)
        watch = AsyncWatch(self, request, self.timeout if timeout is None else timeout)
        await watch._begin()
        return watch

    async def status(self, *, timeout: float | None = None) -> Status:
        """As `Memory.status`."""
        return await self._run(requests.status(), self._deadline(timeout))

    async def health(self, *, writes: bool = False, timeout: float = 5.0) -> bool:
        """As `Memory.health`."""
        try:
            ask: Any = (await self.channel()).unary_unary(channels.HEALTH)
            answer = await ask(
                channels.health_request(channels.WRITES if writes else ""), timeout=timeout, metadata=self.metadata
            )
        except (grpc.RpcError, SynapsenetError):
            return False
        return bool(answer == channels.SERVING)

    # How calls are made.

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.timeout if timeout is None else timeout)

    async def _run(self, call: Call[T], deadline: Deadline) -> T:
        made = 0
        while True:
            made += 1
            try:
                answers = self._answers(call.method, call.request, call.streams, deadline)
                return call.read([answer async for answer in answers])
            except SynapsenetError as error:
                await self._pause(error, made, call.repeatable, deadline)

    async def _answers(self, method: str, request: Any, streams: bool, deadline: Deadline) -> AsyncIterator[Any]:
        call = None
        try:
            send = getattr(NodeServiceStub(await self.channel()), method)
            # What is sent as a stream is kept as a list, to be sent again.
            request = iter(request) if isinstance(request, list) else request
            call = send(request, timeout=deadline.left(), metadata=self.metadata)
            if streams:
                async for answer in call:
                    yield answer
            else:
                yield await call
        except grpc.RpcError as error:
            raise of_rpc(error, self.target) from error
        finally:
            # Whoever stops iterating wants no more of it.
            if streams and call is not None:
                call.cancel()

    async def _pause(self, error: SynapsenetError, made: int, repeatable: bool, deadline: Deadline) -> None:
        wait = self.retry.wait(error, made, repeatable, deadline.left())
        if wait is None:
            raise error
        await asyncio.sleep(wait)

    async def _put_batch(self, batch: list[Any], deadline: Deadline) -> AsyncIterator[Any]:
        answered = made = 0
        while answered < len(batch):
            made += 1
            try:
                async for said in self._answers("BulkPut", batch[answered:], True, deadline):
                    answered, made = answered + 1, 0
                    yield said
                if answered < len(batch):
                    raise requests.broke_off()
            except SynapsenetError as error:
                await self._pause(error, made, True, deadline)

    async def _pages(self, where: Any, size: int, timeout: float | Deadline | None) -> AsyncIterator[list[Grain]]:
        token = ""
        while True:
            deadline = timeout if isinstance(timeout, Deadline) else self._deadline(timeout)
            page, token = await self._run(requests.list_page(where, size, token), deadline)
            yield page
            if not token:
                return


class AsyncWatch:
    """What happens on a node, as it happens: an asynchronous iterator of `Event`."""

    def __init__(self, memory: AsyncMemory, request: WatchRequest, timeout: float) -> None:
        self._memory = memory
        self._request = request
        self._timeout = timeout
        self._patient = requests.patient(memory.retry)
        self._made = 0
        self._closed = False
        self._call: Any = None
        self._events: Any = None

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Event:
        while True:
            try:
                event = records.event(self._seen(await self._events.__anext__()))
            except StopAsyncIteration:
                if self._closed:
                    raise
                await self._again(requests.ended())
            except grpc.RpcError as error:
                if self._closed:
                    raise StopAsyncIteration from None
                told = of_rpc(error, self._memory.target)
                if not isinstance(told, Unreachable):
                    raise told from error
                await self._again(told)
            except asyncio.CancelledError:
                # gRPC says so when the call was ended here, too.
                if self._closed:
                    raise StopAsyncIteration from None
                raise
            else:
                if event is not None:
                    return event

    @property
    def cursor(self) -> str:
        """As `Watch.cursor`."""
        return self._request.cursor

    def _seen(self, said: WatchResponse) -> WatchResponse:
        if said.cursor:
            self._request.cursor = said.cursor
        return said

    async def _again(self, told: SynapsenetError) -> None:
        deadline = Deadline(self._timeout)
        while True:
            # A node that starts again takes longer than one that is busy.
            retry = self._patient if isinstance(told, Unreachable) else self._memory.retry
            wait = retry.wait(told, self._made, True, deadline.left())
            if wait is None:
                raise told
            await asyncio.sleep(wait)
            if self._closed:
                return
            self._made += 1
            try:
                await self._listen(deadline)
            except SynapsenetError as error:
                told = error
                continue
            if self._closed:
                self._call.cancel()
            return

    async def _begin(self) -> None:
        deadline = Deadline(self._timeout)
        while True:
            self._made += 1
            try:
                await self._listen(deadline)
                return
            except SynapsenetError as error:
                await self._memory._pause(error, self._made, True, deadline)

    async def _listen(self, deadline: Deadline) -> None:
        stub: Any = NodeServiceStub(await self._memory.channel())
        call = stub.Watch(self._request, metadata=self._memory.metadata)
        events = call.__aiter__()
        try:
            # The node tells first where the watch begins: whoever is cut off from then on goes on there.
            self._seen(await asyncio.wait_for(events.__anext__(), deadline.left()))
        except StopAsyncIteration:
            raise requests.ended() from None
        except asyncio.TimeoutError:
            call.cancel()
            raise DeadlinePassed(f"there was no answer within {deadline.seconds:g} s", reason="DEADLINE_PASSED") from None
        except grpc.RpcError as error:
            raise of_rpc(error, self._memory.target) from error
        self._call, self._events, self._made = call, events, 1

    async def __aenter__(self) -> AsyncWatch:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; whoever waits for the next event gets none."""
        self._closed = True
        self._call.cancel()
