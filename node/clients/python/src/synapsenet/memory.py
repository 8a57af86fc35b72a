"""A memory: one node, called and waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import grpc

from . import channel as channels
from . import records, requests
from .errors import SynapsenetError, Unreachable, of_rpc
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


class Memory:
    """A node, as a place for texts that are found again by what they mean.

    Which one is found as the command line finds it, and each argument stands for an option of it. Without any of them it is the
    node of this user, over the unix socket in its data folder:

    - `api` (SYNAPSENET_API): `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
    - `data_dir` (SYNAPSENET_DATA_DIR): the node's data folder, with its socket and its token.
    - `token`, or `token_file` (SYNAPSENET_API_TOKEN_FILE): what lets in over TCP; otherwise `api.token` in the data folder.
    - `fingerprint` (SYNAPSENET_API_FINGERPRINT), or `ca_file` (SYNAPSENET_API_CA): the one certificate that is trusted at an https
      address, by its SHA-256, or a PEM file with it or with who signed it.

    `topic` is what `add` puts texts under and what `search` and the others look at where a call names none; give `topic=""` in a
    call for every topic. `timeout` is the time of a call in seconds, its repetitions included. Threads may share a memory. It
    connects at the first call and stays connected; after a restart of the node it connects again. It does not outlive a fork: make
    one in each process.

    Each call raises a `SynapsenetError`: see `synapsenet.errors`. Making a memory raises `NotConfigured`.
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
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and what is under way on it. The next call makes another."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    @property
    def channel(self) -> grpc.Channel:
        """The connection, for the stubs in `synapsenet.v1`; send `metadata` with each call."""
        with self._lock:
            if self._channel is None:
                plan = channels.plan(self.target)
                if plan.credentials is None:
                    self._channel = grpc.insecure_channel(plan.address, plan.options)
                else:
                    self._channel = grpc.secure_channel(plan.address, plan.credentials, plan.options)
            return self._channel

    # Putting in.

    def add(
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
        """Remembers a text, 1 byte to 16 KiB. It is on disk when this returns, and found by its words. With `wait`, this returns when it
        is found by its meaning, too, or after `timeout`, or a minute: `searchable` of what it returns says which. The same text again,
        under the same topic and source, with the same metadata, is a duplicate with the same id.

        It stays private, which is on this node alone, unless `share` lets it leave for good.
        """
        draft = Draft(
            text, title=title, topic=topic, tags=tags, lang=lang, source=source, links=links, metadata=metadata or {}
        )
        deadline = self._deadline(timeout)
        patience = deadline.left() if wait else None
        return self._run(requests.put(draft, self.topic, share, patience), deadline)

    def update(
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
        """Puts another text in the place of a grain of this node's own author; what is None stays. The new one is stored and the
        former one withdrawn, or neither, and it stays as shared or private as it was. Raises `NotFound`."""
        deadline = self._deadline(timeout)
        old = (self._run(requests.get(id), deadline)).grain
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
        return self._run(requests.update(old.id, draft, deadline.left() if wait else None), deadline)

    def add_many(
        self,
        texts: Iterable[str | Draft],
        *,
        topic: str = "",
        share: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Iterator[Added]:
        """Remembers many texts; one `Added` for each, in their order, as they are stored. Nothing happens until it is iterated.

        A text that is refused ends nothing: its `outcome` and `reason` say so. The texts are taken from `texts` in batches of at most
        512 and some 4 MiB, and so may be without end. When the connection breaks, what has no answer is sent again: what was stored
        meanwhile is told as a duplicate. `timeout` is for each batch. With `wait`, the iteration ends when all is found by its
        meaning; that has ten minutes.
        """
        batches, ordinal = requests.Batches(topic or self.topic, share), 0

        def gathered() -> Iterator[list[Any]]:
            yield from map(batches.push, texts)
            yield batches.rest()

        for batch in gathered():
            for said in self._put_batch(batch, self._deadline(timeout)):
                yield requests.bulk_answer(said, ordinal, share)
                ordinal += 1
        if wait and ordinal:
            self.wait()

    def add_document(
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
        """Remembers a document of at most 64 MiB in parts that the model reads whole. Its name says by its ending how it is read:
        `.md`, `.html`, `.eml`, `.mbox`, `.ipynb`, `.docx`, `.odt`, `.epub` or `.pdf`; anything else is plain text.

        Adding one of the same name again adds what is new in it and withdraws what went. A text of more than 4 MiB is refused.
        """
        made = requests.add_document(
            name, content, title, topic or self.topic, tags, lang, encoding, share, metadata or {}
        )
        return self._run(made, self._deadline(timeout))

    def wait(self, timeout: float = 600.0) -> None:
        """Returns when everything that was put at this node before is found by its meaning."""
        self._run(requests.wait_indexed(), Deadline(timeout))

    # Finding.

    def search(
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
        """The `k` (1 to 1000) best grains for a question of 1 byte to 16 KiB, best first. "Quoted phrases" must stand in them,
        -excluded words must not.

        `mode` is "hybrid", "meaning" or "words". Hits below `min_score` are left out: 0.1 where none is given (0 by words), -1
        leaves out none. `offset` passes over the best. With `mesh`, peers are asked, too, and waited for `mesh_wait` seconds (2 where
        it is 0): the question's vector then leaves the node.

        Instead of a question, `vector` finds what lies near one, by meaning alone: a `Vector` that a node told, or an array or list of
        as many numbers as the node's model has dimensions, of any length. `space_id` says of which space it is: another one than the
        node's is refused. With `vectors`, each grain that the node holds comes with its own, and `Hits.vectors()` is an array of them.
        """
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
        return self._run(requests.search(request), self._deadline(timeout))

    def search_many(
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
        """As `search`, of several questions, which the model reads together; one `Hits` for each, in their order."""
        one = requests.filtered(where, topic, tags, self.topic)
        made = [
            requests.search_request(question, k, one, mode=mode, min_score=min_score, all_copies=all_copies)
            for question in questions
        ]
        deadline = self._deadline(timeout)
        return [hits for call in requests.search_many(made) for hits in self._run(call, deadline)]

    def related(
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
        """The `k` grains that are most like one, by its vector; that one itself is not among them."""
        one = requests.filtered(where, topic, tags, self.topic)
        request = requests.search_request("", k, one, like=id, mode="meaning", min_score=min_score)
        return self._run(requests.search(request), self._deadline(timeout))

    def get(self, id: str, *, vector: bool = False, timeout: float | None = None) -> Grain:
        """A grain by its id, or by at least 8 digits that begin exactly one. With `vector`, its vector comes along. Raises
        `NotFound`."""
        return self._run(requests.get(id, vector=vector), self._deadline(timeout)).grain

    def around(self, id: str, parts: int = 2, *, timeout: float | None = None) -> Context:
        """A grain and at most `parts` (0 to 50) parts of its document before it and after it. Raises `NotFound`."""
        return self._run(requests.get(id, parts), self._deadline(timeout))

    def recent(
        self,
        limit: int = 10,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> list[Grain]:
        """The newest grains, at most `limit` (1 to 1000), newest first."""
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; it must be 1 to 1000")
        # A page may hold fewer than were asked for, where they are large.
        found: list[Grain] = []
        for page in self._pages(requests.filtered(where, topic, tags, self.topic), limit, self._deadline(timeout)):
            found += page
            if len(found) >= limit:
                break
        return found[:limit]

    def grains(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> Iterator[Grain]:
        """Every grain that the filter lets through, newest first, fetched in pages while it is iterated. `timeout` is for each page."""
        one = requests.filtered(where, topic, tags, self.topic)
        for page in self._pages(one, requests.PAGE, timeout):
            yield from page

    def count(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> int:
        """How many grains the filter lets through."""
        return self._run(requests.count(requests.filtered(where, topic, tags, self.topic)), self._deadline(timeout))

    def count_by(
        self,
        *facets: Facet,
        top: int = 10,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> Counts:
        """How many grains the filter lets through, in all and by each of "topic", "tag", "author" and "lang" that is named: the `top` (1 to
        100) most frequent values. They are read for that, 100,000 at most; of more, `partial` says so."""
        made = requests.count_by(requests.filtered(where, topic, tags, self.topic), facets, top)
        return self._run(made, self._deadline(timeout))

    def document(self, uri: str | os.PathLike[str], *, timeout: float | None = None) -> Iterator[Grain]:
        """The parts of a document, in its order, fetched in pages while it is iterated; by the URI or path that it was added by.
        Raises `NotFound`."""
        token = ""
        while True:
            made = requests.document_page(os.fspath(uri), requests.PAGE, token)
            page, token = self._run(made, self._deadline(timeout))
            for grain in page:
                yield grain
            if not token:
                return

    def documents(
        self, prefix: str | os.PathLike[str] = "", *, timeout: float | None = None
    ) -> Iterator[Document]:
        """The documents that grains of this node's own author were taken from, by their names; those whose URI or path begins so."""
        token = ""
        while True:
            made = requests.documents_page(os.fspath(prefix), requests.PAGE, token)
            page, token = self._run(made, self._deadline(timeout))
            for document in page:
                yield document
            if not token:
                return

    def embed(
        self, texts: Sequence[str], role: Role = "passage", *, timeout: float | None = None
    ) -> Vectors:
        """The vectors of 1 to 64 texts, each 1 byte to 16 KiB, by the model in use. They wait while the node's owner asks something."""
        return self._run(requests.embed(texts, role), self._deadline(timeout))

    # Taking back.

    def retract_each(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Answer]:
        """As `retract`, of many: an answer for each id, in their order. One that is refused stops no other. `timeout` is for each 1000."""
        answers: list[Answer] = []
        for call in requests.retract_each(ids):
            some = self._run(call, self._deadline(timeout))
            answers += some
        return answers

    def share_each(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Answer]:
        """As `share`, of many: an answer for each id, in their order. One that is refused stops no other. `timeout` is for each 1000."""
        answers: list[Answer] = []
        for call in requests.share_each(ids):
            some = self._run(call, self._deadline(timeout))
            answers += some
        return answers

    def delete_document(self, uri: str | os.PathLike[str], *, timeout: float | None = None) -> int:
        """Withdraws all parts of a document, or none; returns how many. Raises `NotFound`."""
        return self._run(requests.delete_document(os.fspath(uri)), self._deadline(timeout))

    def retract(self, id: str, *, timeout: float | None = None) -> str:
        """Withdraws a grain of this node's own author, on every node that has it; returns the id of the retraction. The very same
        grain cannot come back."""
        return self._run(requests.retract(id), self._deadline(timeout))

    def retract_matching(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> Withdrawn:
        """Withdraws every grain of this node's own author that the filter lets through, which must have a condition. With `dry_run`
        it only counts."""
        made = requests.retract_matching(requests.filtered(where, topic, tags, self.topic), dry_run)
        return self._run(made, self._deadline(timeout))

    def forget(
        self,
        *ids: str,
        author: str = "",
        topic: str = "",
        source: str = "",
        block: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Drops grains from this node alone, whoever wrote them, and keeps them from coming back; returns how many. Either ids, at
        most 1000, or conditions that must all hold. `block` keeps everything of the author out from then on. The topic of the memory
        is no condition here."""
        made = requests.forget(ids, author, topic, source, block, dry_run)
        return self._run(made, self._deadline(timeout))

    def share(self, id: str, *, timeout: float | None = None) -> bool:
        """Lets a private grain leave the node, for good. False when it was shared before."""
        return self._run(requests.share(id), self._deadline(timeout))

    # Looking on.

    def watch(
        self,
        *,
        topic: str | None = None,
        tags: Sequence[str] = (),
        where: Filter | None = None,
        kinds: Iterable[EventKind] = (),
        cursor: str = "",
        timeout: float | None = None,
    ) -> Watch:
        """What happens on the node from now on. It has begun when this returns, for which it has `timeout` seconds.

            with memory.watch() as events:
                for event in events:
                    print(event.kind, event.id)

        A filter says which grains are told of, and `kinds` what else: "grain_added", "grain_retracted", "peer", "sync" and
        "source_changed", all where none is given. With the `cursor` of an event, or of an earlier watch, the grains that came in
        since are told first.

        The iteration ends with `close`, which another thread may call. When the connection breaks it goes on by itself where it
        was, for as long as the retries of the memory last: no grain is passed over, and what else happened meanwhile is. Then it
        raises `Unreachable`.
        """
        one = requests.filtered(where, topic, tags, self.topic)
        return Watch(self, requests.watch(one, cursor, kinds), self.timeout if timeout is None else timeout)

    def status(self, *, timeout: float | None = None) -> Status:
        """What the node holds and what it is doing."""
        return self._run(requests.status(), self._deadline(timeout))

    def health(self, *, writes: bool = False, timeout: float = 5.0) -> bool:
        """Whether the node serves, and with `writes` whether it takes changes. False, too, when none answers."""
        try:
            ask: Any = self.channel.unary_unary(channels.HEALTH)
            answer = ask(channels.health_request(channels.WRITES if writes else ""), timeout=timeout, metadata=self.metadata)
        except (grpc.RpcError, SynapsenetError):
            return False
        return bool(answer == channels.SERVING)

    # How calls are made.

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.timeout if timeout is None else timeout)

    def _run(self, call: Call[T], deadline: Deadline) -> T:
        made = 0
        while True:
            made += 1
            try:
                return call.read(list(self._answers(call.method, call.request, call.streams, deadline)))
            except SynapsenetError as error:
                self._pause(error, made, call.repeatable, deadline)

    def _answers(self, method: str, request: Any, streams: bool, deadline: Deadline) -> Iterator[Any]:
        call = None
        try:
            send = getattr(NodeServiceStub(self.channel), method)
            # What is sent as a stream is kept as a list, to be sent again.
            request = iter(request) if isinstance(request, list) else request
            call = send(request, timeout=deadline.left(), metadata=self.metadata)
            if streams:
                yield from call
            else:
                yield call
        except grpc.RpcError as error:
            raise of_rpc(error, self.target) from error
        finally:
            # Whoever stops iterating wants no more of it.
            if streams and call is not None:
                call.cancel()

    def _pause(self, error: SynapsenetError, made: int, repeatable: bool, deadline: Deadline) -> None:
        wait = self.retry.wait(error, made, repeatable, deadline.left())
        if wait is None:
            raise error
        time.sleep(wait)

    def _put_batch(self, batch: list[Any], deadline: Deadline) -> Iterator[Any]:
        answered = made = 0
        while answered < len(batch):
            made += 1
            try:
                for said in self._answers("BulkPut", batch[answered:], True, deadline):
                    answered, made = answered + 1, 0
                    yield said
                if answered < len(batch):
                    raise requests.broke_off()
            except SynapsenetError as error:
                self._pause(error, made, True, deadline)

    def _pages(self, where: Any, size: int, timeout: float | Deadline | None) -> Iterator[list[Grain]]:
        token = ""
        while True:
            deadline = timeout if isinstance(timeout, Deadline) else self._deadline(timeout)
            page, token = self._run(requests.list_page(where, size, token), deadline)
            yield page
            if not token:
                return


class Watch:
    """What happens on a node, as it happens: an iterator of `Event`."""

    def __init__(self, memory: Memory, request: WatchRequest, timeout: float) -> None:
        self._memory = memory
        self._request = request
        self._timeout = timeout
        self._patient = requests.patient(memory.retry)
        self._made = 0
        self._closed = threading.Event()
        self._call: Any = None
        self._begin()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        while True:
            try:
                event = records.event(self._seen(next(self._call)))
            except StopIteration:
                if self._closed.is_set():
                    raise
                self._again(requests.ended())
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise StopIteration from None
                told = of_rpc(error, self._memory.target)
                if not isinstance(told, Unreachable):
                    raise told from error
                self._again(told)
            else:
                if event is not None:
                    return event

    @property
    def cursor(self) -> str:
        """Where the watch is: another one goes on there, also after a restart of the node."""
        return self._request.cursor

    def _seen(self, said: WatchResponse) -> WatchResponse:
        if said.cursor:
            self._request.cursor = said.cursor
        return said

    def _again(self, told: SynapsenetError) -> None:
        deadline = Deadline(self._timeout)
        while True:
            # A node that starts again takes longer than one that is busy.
            retry = self._patient if isinstance(told, Unreachable) else self._memory.retry
            wait = retry.wait(told, self._made, True, deadline.left())
            if wait is None:
                raise told
            if self._closed.wait(wait):
                return
            self._made += 1
            try:
                self._listen(deadline)
            except SynapsenetError as error:
                told = error
                continue
            if self._closed.is_set():
                self._call.cancel()
            return

    def _begin(self) -> None:
        deadline = Deadline(self._timeout)
        while True:
            self._made += 1
            try:
                self._listen(deadline)
                return
            except SynapsenetError as error:
                self._memory._pause(error, self._made, True, deadline)

    def _listen(self, deadline: Deadline) -> None:
        stub: Any = NodeServiceStub(self._memory.channel)
        call = stub.Watch(self._request, metadata=self._memory.metadata)
        # The call itself has no end, and its beginning must have one.
        timer = threading.Timer(deadline.left(), call.cancel)
        timer.daemon = True
        timer.start()
        try:
            # The node tells first where the watch begins: whoever is cut off from then on goes on there.
            self._seen(next(call))
        except StopIteration:
            raise requests.ended() from None
        except grpc.RpcError as error:
            deadline.left()
            raise of_rpc(error, self._memory.target) from error
        finally:
            timer.cancel()
        self._call, self._made = call, 1

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False

    def close(self) -> None:
        """Ends it; whoever waits for the next event gets none."""
        self._closed.set()
        self._call.cancel()
