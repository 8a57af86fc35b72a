"""The calls of a node as plain values: what is sent, how the answer is read, and whether it may be sent twice.

`Memory` and `AsyncMemory` make them in their own ways; what a call means stands here alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from . import records
from .errors import STOPPING, Fault, Unreachable
from .records import (
    Added,
    AddedDocument,
    Answer,
    Context,
    Counts,
    Document,
    Draft,
    Filter,
    Grain,
    Hit,
    Hits,
    Status,
    Updated,
    Vector,
    Vectors,
    Withdrawn,
)
from .retry import Retry
from .v1 import node_pb2

T = TypeVar("T")

Mode = Literal["hybrid", "meaning", "words"]
Facet = Literal["topic", "tag", "author", "lang"]
# What `search` takes for a vector: one that a node told, an array of numpy of shape (dimension,), or any other numbers.
Floats = Vector | Iterable[float]
MODES: dict[str, node_pb2.SearchMode] = {
    "hybrid": node_pb2.SEARCH_MODE_HYBRID,
    "meaning": node_pb2.SEARCH_MODE_MEANING,
    "words": node_pb2.SEARCH_MODE_WORDS,
}

# Texts that are sent at once by `add_many`, and bytes of them: what is held in memory and sent again when a connection breaks.
BATCH = 512
BATCH_BYTES = 4 << 20
# Above this a document goes in pieces; the node takes no larger message.
WHOLE_DOCUMENT_BYTES = 4 << 20
PIECE_BYTES = 1 << 20
# Questions in one call, and hits in all.
MANY_QUESTIONS = 64
MANY_HITS = 1000
# Grains of a page of `grains`.
PAGE = 200
# Ids in one call.
MAX_IDS = 1000
# Texts in one call of `embed`.
EMBED_TEXTS = 64
# Attempts to take up a watch that broke: more than there is time for.
ATTEMPTS_OF_A_WATCH = 200
# How long a node waits at most until what it stored is found by its meaning.
MAX_WAIT_MS = 60_000

Role = Literal["passage", "question"]
ROLES: dict[str, node_pb2.EmbedRole] = {
    "passage": node_pb2.EMBED_ROLE_PASSAGE,
    "question": node_pb2.EMBED_ROLE_QUESTION,
}

EventKind = Literal["grain_added", "grain_retracted", "peer", "sync", "source_changed"]
KINDS: dict[str, node_pb2.EventKind] = {
    "grain_added": node_pb2.EVENT_KIND_GRAIN_ADDED,
    "grain_retracted": node_pb2.EVENT_KIND_GRAIN_RETRACTED,
    "peer": node_pb2.EVENT_KIND_PEER,
    "sync": node_pb2.EVENT_KIND_SYNC,
    "source_changed": node_pb2.EVENT_KIND_SOURCE_CHANGED,
}


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call: the method of NodeService, its request (or requests, of a stream), and how its answers are read."""

    method: str
    request: Any
    #: Of all answers in their order; of a call with one answer, of that.
    read: Callable[[list[Any]], T]
    #: The answers are a stream.
    streams: bool = False
    #: Doing it twice is the same as doing it once.
    repeatable: bool = True


def wait_ms(seconds: float) -> int:
    """How long a node is to wait, of the time that a call has: what is not ready by then is said, and that takes a moment, too."""
    return max(1, min(MAX_WAIT_MS, round(seconds * 900)))


def put(draft: Draft, topic: str, share: bool, wait: float | None) -> Call[Added]:
    """A text, waited for so many seconds until it is found by its meaning; put again it is a duplicate."""
    request = node_pb2.PutRequest(draft=records.draft_message(draft, topic), share=share)
    if wait is not None:
        request.wait, request.wait_ms = node_pb2.WAIT_SEARCHABLE, wait_ms(wait)

    def read(answers: list[node_pb2.PutResponse]) -> Added:
        (said,) = answers
        return Added(said.id, records.outcome(said.outcome), said.shared, searchable=said.searchable)

    return Call("Put", request, read)


def update(id: str, draft: Draft, wait: float | None) -> Call[Updated]:
    """A draft in the place of a grain. Done twice, the second time finds none."""
    request = node_pb2.UpdateRequest(id=id, draft=records.draft_message(draft, ""))
    if wait is not None:
        request.wait, request.wait_ms = node_pb2.WAIT_SEARCHABLE, wait_ms(wait)

    def read(answers: list[node_pb2.UpdateResponse]) -> Updated:
        (said,) = answers
        return Updated(said.id, records.outcome(said.outcome), said.shared, said.searchable, said.retraction)

    return Call("Update", request, read, repeatable=False)


class Batches:
    """Gathers texts into batches of requests, each bounded in number and bytes."""

    def __init__(self, topic: str, share: bool) -> None:
        self._topic = topic
        self._share = share
        self._batch: list[node_pb2.BulkPutRequest] = []
        self._size = 0

    def push(self, text: str | Draft) -> list[node_pb2.BulkPutRequest]:
        """Takes a text; the batch before it when that is full, and otherwise an empty one."""
        draft = text if isinstance(text, Draft) else Draft(text)
        request = node_pb2.BulkPutRequest(draft=records.draft_message(draft, self._topic), share=self._share)
        size = request.ByteSize()
        full = self._batch and (len(self._batch) == BATCH or self._size + size > BATCH_BYTES)
        batch = self.rest() if full else []
        self._batch.append(request)
        self._size += size
        return batch

    def rest(self) -> list[node_pb2.BulkPutRequest]:
        """The last batch; it may be empty."""
        batch, self._batch, self._size = self._batch, [], 0
        return batch


def bulk_answer(said: node_pb2.BulkPutResponse, ordinal: int, share: bool) -> Added:
    """What became of a text of a batch, as that with this number."""
    what = records.outcome(said.outcome)
    return Added(said.id, what, share and what is not records.Outcome.REFUSED, said.reason, ordinal)


def add_document(
    name: str | os.PathLike[str],
    content: str | bytes,
    title: str,
    topic: str,
    tags: Sequence[str],
    lang: str,
    encoding: str,
    share: bool,
    metadata: Mapping[str, str],
) -> Call[AddedDocument]:
    """A document, in one message or in pieces."""
    raw = content.encode() if isinstance(content, str) else content
    document = node_pb2.AddDocumentRequest(
        uri=os.fspath(name),
        title=title,
        topic=topic,
        tags=tags,
        lang=lang,
        share=share,
        encoding=encoding,
        metadata=metadata,
    )

    def read(said: node_pb2.AddDocumentResponse) -> AddedDocument:
        left_out = [(omission.what, omission.reason) for omission in said.left_out]
        return AddedDocument(list(said.ids), said.added, said.unchanged, said.retracted, left_out, said.empty)

    if len(raw) <= WHOLE_DOCUMENT_BYTES - (64 << 10):
        document.content = raw
        return Call("AddDocument", document, lambda answers: read(answers[0]))
    pieces = [node_pb2.AddLargeDocumentRequest(document=node_pb2.LargeDocument(document=document, size=len(raw)))]
    pieces += [node_pb2.AddLargeDocumentRequest(content=raw[at : at + PIECE_BYTES]) for at in range(0, len(raw), PIECE_BYTES)]
    return Call("AddLargeDocument", pieces, lambda answers: read(answers[0].added))


def document_page(uri: str, size: int, token: str) -> Call[tuple[list[Grain], str]]:
    """Some parts of a document, in its order, and the token of the next ones."""
    request = node_pb2.GetDocumentRequest(uri=uri, page_size=size, page_token=token)

    def read(answers: list[node_pb2.GetDocumentResponse]) -> tuple[list[Grain], str]:
        (said,) = answers
        return [records.grain(grain) for grain in said.grains], said.next_page_token

    return Call("GetDocument", request, read)


def documents_page(prefix: str, size: int, token: str) -> Call[tuple[list[Document], str]]:
    """A page of documents, by their names, and the token of the next one."""
    request = node_pb2.ListDocumentsRequest(prefix=prefix, page_size=size, page_token=token)

    def read(answers: list[node_pb2.ListDocumentsResponse]) -> tuple[list[Document], str]:
        (said,) = answers
        return [records.document(document) for document in said.documents], said.next_page_token

    return Call("ListDocuments", request, read)


def delete_document(uri: str) -> Call[int]:
    """Withdraws all parts of a document; how many. Done twice, the second time finds none."""
    request = node_pb2.DeleteDocumentRequest(uri=uri)
    return Call("DeleteDocument", request, lambda answers: int(answers[0].retracted), repeatable=False)


def embed(texts: Sequence[str], role: Role) -> Call[Vectors]:
    """The vectors of texts."""
    if role not in ROLES:
        raise ValueError(f"role is {role!r}; it must be one of {', '.join(ROLES)}")
    if not 1 <= len(texts) <= EMBED_TEXTS:
        raise ValueError(f"{len(texts)} texts; it must be 1 to {EMBED_TEXTS}")
    return Call("Embed", node_pb2.EmbedRequest(texts=texts, role=ROLES[role]), lambda answers: Vectors(answers[0]))


def patient(retry: Retry) -> Retry:
    """As often as there is time for, unless nothing is to be repeated at all: a watch whose node starts again."""
    return replace(retry, attempts=ATTEMPTS_OF_A_WATCH) if retry.attempts > 1 else retry


def watch(where: node_pb2.Filter, cursor: str, kinds: Iterable[EventKind]) -> node_pb2.WatchRequest:
    """What is to be told."""
    named = list(kinds)
    unknown = [kind for kind in named if kind not in KINDS]
    if unknown:
        raise ValueError(f"kind is {unknown[0]!r}; it must be one of {', '.join(KINDS)}")
    return node_pb2.WatchRequest(filter=where, cursor=cursor, kinds=[KINDS[kind] for kind in named])


def ended() -> Unreachable:
    """A node that stops ends a watch without an error."""
    return Unreachable("the node ended the watch", reason=STOPPING)


def wait_indexed() -> Call[None]:
    """Until what was put at this node before can be found by its meaning."""
    return Call("WaitIndexed", node_pb2.WaitIndexedRequest(only_own=True), lambda answers: None, streams=True)


def get(id: str, context: int = 0, vector: bool = False) -> Call[Context]:
    """A grain, and parts of its document."""

    def read(answers: list[node_pb2.GetResponse]) -> Context:
        (said,) = answers
        before, after = ([records.grain(grain) for grain in side] for side in (said.before, said.after))
        grain = records.grain(said.grain)
        if said.HasField("vector"):
            grain = replace(grain, vector=records.vector(said.vector))
        return Context(before, grain, after)

    return Call("Get", node_pb2.GetRequest(id=id, context=context, with_vector=vector), read)


def list_page(where: node_pb2.Filter, size: int, token: str) -> Call[tuple[list[Grain], str]]:
    """A page of grains, newest first, and the token of the next one."""
    request = node_pb2.ListRequest(filter=where, page_size=size, page_token=token)

    def read(answers: list[node_pb2.ListResponse]) -> tuple[list[Grain], str]:
        (said,) = answers
        return [records.grain(grain) for grain in said.grains], said.next_page_token

    return Call("List", request, read)


def count(where: node_pb2.Filter) -> Call[int]:
    """How many notes a filter lets through."""
    return Call("Count", node_pb2.CountRequest(filter=where), lambda answers: int(answers[0].grains))


def count_by(where: node_pb2.Filter, facets: Sequence[str], top: int) -> Call[Counts]:
    """How many notes a filter lets through, and by what."""
    if unknown := [name for name in facets if name not in records.FACETS]:
        raise ValueError(f"there is no facet {unknown[0]!r}; it must be one of {', '.join(records.FACETS)}")
    if not 1 <= top <= 100:
        raise ValueError(f"top is {top}; it must be 1 to 100")
    request = node_pb2.CountRequest(filter=where, facets=[records.FACETS[name] for name in facets], top=top)
    return Call("Count", request, lambda answers: records.counts(answers[0]))


def search_request(
    question: str,
    k: int,
    where: node_pb2.Filter,
    *,
    like: str = "",
    mode: Mode = "hybrid",
    min_score: float | None = None,
    offset: int = 0,
    all_copies: bool = False,
    mesh: bool = False,
    mesh_wait: float = 0.0,
    vector: Floats | None = None,
    space_id: str = "",
    vectors: bool = False,
) -> node_pb2.SearchRequest:
    """A question as a message."""
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
    request = node_pb2.SearchRequest(
        text=question, k=k, filter=where, mode=MODES[mode], offset=offset, all_copies=all_copies, mesh=mesh, like=like
    )
    request.mesh_wait_ms = round(mesh_wait * 1000)
    if min_score is not None:
        request.min_score = min_score
    if vector is not None:
        if isinstance(vector, Vector):
            space_id = space_id or vector.space_id
            vector = vector.components
        request.vector.extend(float(number) for number in vector)
        request.space_id = space_id
    request.with_vectors = vectors
    return request


def search(request: node_pb2.SearchRequest) -> Call[Hits]:
    """One question."""

    def read(answers: list[node_pb2.SearchResponse]) -> Hits:
        hits: list[Hit] = [records.hit(answer.hit) for answer in answers if answer.WhichOneof("item") == "hit"]
        if not answers or answers[-1].WhichOneof("item") != "summary":
            raise broke_off()
        return Hits(hits, answers[-1].summary)

    return Call("Search", request, read, streams=True)


def search_many(requests: list[node_pb2.SearchRequest]) -> Iterator[Call[list[Hits]]]:
    """Questions, as many in each call as the node takes."""
    batch: list[node_pb2.SearchRequest] = []
    hits = 0
    for request in requests:
        size = (request.k or 10) + request.offset
        if batch and (len(batch) == MANY_QUESTIONS or hits + size > MANY_HITS):
            yield _search_batch(batch)
            batch, hits = [], 0
        batch.append(request)
        hits += size
    if batch:
        yield _search_batch(batch)


def _search_batch(batch: list[node_pb2.SearchRequest]) -> Call[list[Hits]]:
    def read(answers: list[node_pb2.SearchManyResponse]) -> list[Hits]:
        found: list[list[Hit]] = [[] for _ in batch]
        summaries: dict[int, node_pb2.SearchSummary] = {}
        for answer in answers:
            if answer.WhichOneof("item") == "hit":
                found[answer.search].append(records.hit(answer.hit))
            else:
                summaries[answer.search] = answer.summary
        if len(summaries) != len(batch):
            raise broke_off()
        return [Hits(hits, summaries[at]) for at, hits in enumerate(found)]

    return Call("SearchMany", node_pb2.SearchManyRequest(searches=batch), read, streams=True)


def share(id: str) -> Call[bool]:
    """Lets a grain leave the node; false when it was shared before."""
    return Call("Share", node_pb2.ShareRequest(id=id), lambda answers: bool(answers[0].changed))


def retract(id: str) -> Call[str]:
    """Withdraws a grain of this node's author; the id of the retraction. Done twice, the second time finds none."""
    return Call("Retract", node_pb2.RetractRequest(id=id), lambda answers: str(answers[0].id), repeatable=False)


def retract_each(ids: Sequence[str]) -> Iterator[Call[list[Answer]]]:
    """Withdraws grains, as many in each call as the node takes."""
    for some in _some(ids):
        request = node_pb2.RetractRequest(ids=some)
        yield Call("Retract", request, _answers, repeatable=False)


def share_each(ids: Sequence[str]) -> Iterator[Call[list[Answer]]]:
    """Lets grains leave the node, as many in each call as it takes."""
    for some in _some(ids):
        yield Call("Share", node_pb2.ShareRequest(ids=some), _answers)


def _some(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + MAX_IDS] for at in range(0, len(ids), MAX_IDS))


def _answers(answers: list[Any]) -> list[Answer]:
    return [records.answer(result) for result in answers[0].results]


def retract_matching(where: node_pb2.Filter, dry_run: bool) -> Call[Withdrawn]:
    """Withdraws every note of this node's author that a filter lets through."""
    request = node_pb2.RetractMatchingRequest(filter=where, dry_run=dry_run)

    def read(answers: list[node_pb2.RetractMatchingResponse]) -> Withdrawn:
        if not answers or not answers[-1].finished:
            raise broke_off()
        last = answers[-1]
        return Withdrawn(last.meant, last.retracted, last.not_own, last.refused, last.refusal)

    return Call("RetractMatching", request, read, streams=True, repeatable=False)


def forget(ids: Sequence[str], author: str, topic: str, source: str, block: bool, dry_run: bool) -> Call[int]:
    """Drops grains from this node; how many."""
    if len(ids) > MAX_IDS:
        raise ValueError(f"{len(ids)} ids; at most {MAX_IDS} are forgotten in one call")
    request = node_pb2.ForgetRequest(
        ids=ids, author=author, topic=topic, source_prefix=source, block=block, dry_run=dry_run
    )
    return Call("Forget", request, lambda answers: int(answers[0].grains), repeatable=False)


def status() -> Call[Status]:
    """What the node holds and does."""
    return Call("Status", node_pb2.StatusRequest(), lambda answers: records.status(answers[0]))


def broke_off() -> Fault:
    """An answer that ends before it is whole."""
    return Fault("the answer broke off", hint="ask again")


def filtered(where: Filter | None, topic: str | None, tags: Sequence[str], default: str) -> node_pb2.Filter:
    """A filter out of what a call names and the topic of the memory: None means that one, and "" every topic."""
    if topic is None:
        topic = (where.topic if where is not None else "") or default
    return records.filter_message(where, topic, tags)
