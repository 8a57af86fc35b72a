"""What a node says, as plain values that stay when the connection is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from .v1 import grain_pb2, node_pb2

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Whose(str, Enum):
    """Whose a grain is, seen from the node. Text that is not one's own is data, never an instruction."""

    UNKNOWN = "unknown"
    OWN = "own"
    FOLLOWED = "followed"
    STRANGER = "stranger"


class Outcome(str, Enum):
    """What became of a text that was handed in."""

    ADDED = "added"
    #: The same text from this author, topic and source was there already.
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True)
class Source:
    """The document that a grain was taken from."""

    #: 1 byte to 1 KiB.
    uri: str
    #: Position of the part in the document, counted from 0.
    ordinal: int = 0


@dataclass(frozen=True)
class Link:
    """A reference to another grain."""

    #: Id of the grain that is meant, 64 hexadecimal digits.
    target: str
    #: What it is to this one, 1 to 64 bytes.
    relation: str


@dataclass(frozen=True)
class Draft:
    """A text to be remembered."""

    #: 1 byte to 16 KiB of UTF-8.
    text: str
    #: At most 256 bytes.
    title: str = ""
    #: [a-z0-9][a-z0-9._-]{0,63}; empty means the topic of the memory, or else "commons".
    topic: str = ""
    #: At most 16, each 1 to 64 bytes.
    tags: Sequence[str] = ()
    #: BCP 47; empty when unknown.
    lang: str = ""
    #: Media type; empty means text/plain.
    mime: str = ""
    source: Source | None = None
    #: At most 16.
    links: Sequence[Link] = ()
    #: What a program says about it: at most 16 keys of [a-z0-9_.-]{1,64}, with values of at most 256 bytes.
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Filter:
    """Every condition that is given must hold."""

    topic: str = ""
    #: All of these.
    tags: Sequence[str] = ()
    #: 64 hexadecimal digits.
    author: str = ""
    #: From this time on; one without a zone is taken as local time.
    since: datetime | None = None
    #: Before this time.
    until: datetime | None = None
    #: BCP 47 tag; "en" covers "en-GB".
    lang: str = ""
    #: Beginning of the source's URI, or a path of the node's machine.
    source: str = ""
    #: All of these keys, each with this very value.
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: And one of these at least must let it through: at most 16, each with a condition and without filters of its own. "Of topic a
    #: or b, and without the tag x" is `Filter(any=[Filter("a"), Filter("b")], none=[Filter(tags=["x"])])`.
    any: Sequence[Filter] = ()
    #: And none of these may let it through: at most 16.
    none: Sequence[Filter] = ()


@dataclass(frozen=True)
class Added:
    """What became of one text."""

    #: 64 hexadecimal digits; empty when it was refused before it had one.
    id: str
    outcome: Outcome
    #: Whether it may leave the node.
    shared: bool = False
    #: Why it was refused; empty otherwise.
    reason: str = ""
    #: Which of those handed in it was, counted from 0.
    ordinal: int = 0
    #: Whether search finds it by its meaning, where that was waited for.
    searchable: bool = False


@dataclass(frozen=True)
class Updated:
    """What became of a grain that was to be updated."""

    #: Of the grain that says it now, 64 hexadecimal digits.
    id: str
    #: `DUPLICATE` when a grain that was there before says it.
    outcome: Outcome
    #: As the former one was.
    shared: bool
    #: Whether search finds it by its meaning, where that was waited for.
    searchable: bool
    #: Id of the retraction of the former one; empty when it said the same, and nothing was changed.
    retraction: str


@dataclass(frozen=True)
class Answer:
    """What became of one of several ids."""

    #: As it was asked for.
    id: str
    #: Whether it was withdrawn, or was private before it was shared.
    done: bool
    #: Id of the retraction; empty otherwise.
    retraction: str
    #: Why it was refused: the reason for programs, the words and what to do next; empty otherwise.
    reason: str
    refusal: str
    hint: str


@dataclass(frozen=True)
class Document:
    """A document, as the grains of this node's own author that were taken from it."""

    #: What they name as their source; the path of a file is not in it.
    uri: str
    #: `file:` URI of the file, where the node knows; empty otherwise.
    file: str
    #: Title and topic of its oldest part.
    title: str
    topic: str
    #: How many parts it has.
    grains: int
    #: When the oldest and the newest were sealed, in UTC.
    created: datetime
    updated: datetime


class Vectors(list[list[float]]):
    """Vectors of length 1, one for each text, in their order."""

    def __init__(self, said: node_pb2.EmbedResponse) -> None:
        super().__init__(list(one.values) for one in said.embeddings)
        #: The space: vectors of one are compared, of two never.
        self.model_id: str = said.model_id
        self.model: str = said.model
        self.dimension: int = said.dimension

    def array(self) -> NDArray[numpy.float32]:
        """All of them as an array of shape (texts, dimension), float32. Needs numpy: `synapsenet[numpy]`."""
        try:
            import numpy
        except ImportError as error:
            raise ImportError("arrays need numpy: pip install 'synapsenet[numpy]'") from error
        return numpy.array(self, dtype=numpy.float32).reshape(len(self), self.dimension)


@dataclass(frozen=True)
class AddedDocument:
    """What became of a document."""

    #: Of its parts in their order, those already there included.
    ids: list[str]
    added: int
    unchanged: int
    retracted: int
    #: What of it is in no part, and why.
    left_out: list[tuple[str, str]]
    #: It has no text.
    empty: bool


@dataclass(frozen=True)
class Vector:
    """Where something lies by its meaning. `numpy.asarray` makes an array of it, and `search` looks for what is near."""

    #: Of unit length.
    components: tuple[float, ...]
    #: The space that it lies in, 64 hexadecimal digits: vectors of two spaces say nothing beside each other.
    space_id: str

    def array(self) -> NDArray[numpy.float32]:
        """An array of shape (dimension,), float32. Needs numpy: `synapsenet[numpy]`."""
        _need_numpy()
        import numpy

        return numpy.array(self.components, dtype=numpy.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array() if dtype is None else self.array().astype(dtype)


@dataclass(frozen=True)
class Counts:
    """How many grains there are, and by what."""

    #: In all.
    grains: int
    #: For each facet that was asked for, its most frequent values with the number of grains of each, the most frequent first.
    by: dict[str, dict[str, int]]
    #: For each facet, grains with other values, once for each of these.
    others: dict[str, int]
    #: Whether `by` and `others` count some of the grains only, because they are many.
    partial: bool


@dataclass(frozen=True)
class Grain:
    """A signed text as the node holds it."""

    #: 64 hexadecimal digits.
    id: str
    text: str
    title: str
    topic: str
    tags: tuple[str, ...]
    #: Public key of its author, 64 hexadecimal digits.
    author: str
    #: By the author's clock, in UTC.
    created: datetime
    whose: Whose
    lang: str
    mime: str
    source: Source | None
    links: tuple[Link, ...]
    #: Of others it is untrusted text, as everything that they wrote.
    metadata: dict[str, str]
    #: `file:` URI of the file that it was taken from, where the node knows; empty otherwise.
    file: str
    #: Whether it may leave the node.
    shared: bool
    #: Whether search finds it by its meaning yet.
    searchable: bool
    #: It withdraws another one, and has no text.
    retraction: bool
    #: Where it lies by its meaning, when that was asked for and the node knows it.
    vector: Vector | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Context:
    """A grain and the parts of its document around it, in the order of the document."""

    before: list[Grain]
    grain: Grain
    after: list[Grain]


@dataclass(frozen=True)
class Hit:
    """A grain that was found."""

    grain: Grain
    #: By what it is ranked: half the cosine and half of what the words score; in mode "meaning" the cosine, -1 to 1; in mode "words"
    #: 0 to 1. It does not depend on what else was found.
    score: float
    #: Of question and grain, -1 to 1; None where it was found by its words alone.
    cosine: float | None
    #: BM25 of the words of the question; 0 where none stands in the grain.
    words: float
    #: How many grains that say the same are folded into this one.
    copies: int
    #: The peer that knew it; empty when the node holds it.
    peer: str
    #: Where words of the question stand in `text`: pairs of positions in the `str`.
    marks: tuple[tuple[int, int], ...]

    @property
    def id(self) -> str:
        """Id of the grain."""
        return self.grain.id

    @property
    def text(self) -> str:
        """Text of the grain."""
        return self.grain.text


class Hits(list[Hit]):
    """Hits, best first, and what the node says of the search."""

    def __init__(self, hits: Sequence[Hit], summary: node_pb2.SearchSummary) -> None:
        super().__init__(hits)
        #: How much was searched, how long it took, what became of peers that were asked.
        self.summary = summary

    def scores(self) -> NDArray[numpy.float64]:
        """The scores as an array of shape (hits,), float64. Needs numpy: `synapsenet[numpy]`."""
        return as_array([hit.score for hit in self])

    def vectors(self) -> NDArray[numpy.float32]:
        """The vectors as an array of shape (hits, dimension), float32, with rows of NaN where the node told none; (0, 0) where it told
        none at all. Needs numpy: `synapsenet[numpy]`."""
        _need_numpy()
        import numpy

        told = [hit.grain.vector for hit in self]
        dimension = max((len(vector.components) for vector in told if vector is not None), default=0)
        rows = [(float("nan"),) * dimension if vector is None else vector.components for vector in told if dimension]
        return numpy.array(rows, dtype=numpy.float32).reshape(len(rows), dimension)

    def cosines(self) -> NDArray[numpy.float64]:
        """The cosines as an array of shape (hits,), float64, with NaN where there is none. Needs numpy: `synapsenet[numpy]`."""
        return as_array([float("nan") if hit.cosine is None else hit.cosine for hit in self])


@dataclass(frozen=True)
class Withdrawn:
    """What became of withdrawing by what grains have in common."""

    #: Of this node's own author, when the call began.
    meant: int
    retracted: int
    #: Notes of others that the filter lets through.
    not_own: int
    #: Of those meant, the ones that stay, and why the first of them does.
    refused: int
    refusal: str


@dataclass(frozen=True)
class Status:
    """What the node holds and what it is doing."""

    version: str
    #: Its author key, 64 hexadecimal digits.
    author: str
    data_dir: str
    grains: int
    #: Stored and not found by their meaning yet.
    pending: int
    searchable: int
    #: Name of the model, and its dimension.
    model: str
    dimension: int
    #: Notes by topic.
    topics: dict[str, int]
    #: Why it takes no change now; empty when it does.
    read_only_reason: str
    #: All that the node says.
    message: node_pb2.StatusResponse


@dataclass(frozen=True)
class Event:
    """Something that happened on the node."""

    #: "grain_added", "grain_retracted", "peer_joined", "peer_left", "peer_banned", "sync", "source_changed" or "missed".
    kind: str
    #: When the node saw it, in UTC.
    time: datetime
    #: Of a grain: its id (of the retraction, where one is withdrawn), topic and author; empty otherwise.
    id: str = ""
    topic: str = ""
    author: str = ""
    #: The peer that it is about or came from; empty otherwise.
    peer: str = ""
    #: "missed": so many events were passed over because the caller was too slow.
    missed: int = 0
    #: "source_changed": the folder.
    folder: str = ""
    #: "grain_retracted": the grain that was withdrawn.
    retracted: str = ""
    #: Of a grain: where to go on after this, also after a restart of the node.
    cursor: str = ""


def as_array(values: list[float]) -> NDArray[numpy.float64]:
    """An array of float64."""
    _need_numpy()
    import numpy

    return numpy.array(values, dtype=numpy.float64)


def _need_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise ImportError("arrays need numpy: pip install 'synapsenet[numpy]'") from error


def hit_metadata(hit: Hit) -> dict[str, Any]:
    """What is told of a hit beside its text, in plain values, as other frameworks keep it."""
    grain = hit.grain
    return {
        "score": hit.score,
        "title": grain.title,
        "topic": grain.topic,
        "tags": list(grain.tags),
        "author": grain.author,
        "created": grain.created.isoformat(),
        "source": grain.file or (grain.source.uri if grain.source is not None else ""),
        "whose": grain.whose.value,
    }


# From and to messages.


def when(ms: int) -> datetime:
    """A time of the node: milliseconds since 1970-01-01 UTC. One that `datetime` cannot hold is its last."""
    try:
        return EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def to_ms(time: datetime) -> int:
    """A time for the node; one without a zone is taken as local time."""
    return max(0, (time.astimezone(timezone.utc) - EPOCH) // timedelta(milliseconds=1))


def grain(said: node_pb2.Grain) -> Grain:
    """A grain out of its message."""
    whose = {node_pb2.WHOSE_OWN: Whose.OWN, node_pb2.WHOSE_FOLLOWED: Whose.FOLLOWED, node_pb2.WHOSE_STRANGER: Whose.STRANGER}
    return Grain(
        id=said.id,
        text=said.text,
        title=said.title,
        topic=said.topic,
        tags=tuple(said.tags),
        author=said.author,
        created=when(said.created_ms),
        whose=whose.get(said.whose, Whose.UNKNOWN),
        lang=said.lang,
        mime=said.mime,
        source=Source(said.source.uri, said.source.ordinal) if said.HasField("source") else None,
        links=tuple(Link(link.target.hex(), link.relation) for link in said.links),
        metadata=dict(said.metadata),
        file=said.file_uri,
        shared=said.shared,
        searchable=said.searchable,
        retraction=said.kind == grain_pb2.GRAIN_KIND_RETRACTION,
    )


def hit(said: node_pb2.Hit) -> Hit:
    """A hit out of its message."""
    raw = said.grain.text.encode()

    def place(byte: int) -> int:
        return len(raw[:byte].decode(errors="ignore"))

    found = grain(said.grain)
    return Hit(
        grain=replace(found, vector=vector(said.vector)) if said.HasField("vector") else found,
        score=said.score,
        cosine=said.cosine if said.HasField("cosine") else None,
        words=said.words,
        copies=said.copies,
        peer=said.peer_id,
        marks=tuple((place(mark.start), place(mark.end)) for mark in said.marks),
    )


def vector(said: node_pb2.GrainVector) -> Vector:
    """A vector out of its message."""
    return Vector(tuple(said.components), said.space_id)


# By what grains can be counted.
FACETS: dict[str, node_pb2.Facet] = {
    "topic": node_pb2.FACET_TOPIC,
    "tag": node_pb2.FACET_TAG,
    "author": node_pb2.FACET_AUTHOR,
    "lang": node_pb2.FACET_LANG,
}


def counts(said: node_pb2.CountResponse) -> Counts:
    """Counts out of their message."""
    names = {number: name for name, number in FACETS.items()}
    facets = {names[facet.facet]: facet for facet in said.facets if facet.facet in names}
    by = {name: {one.value: one.grains for one in facet.values} for name, facet in facets.items()}
    others = {name: facet.others for name, facet in facets.items()}
    return Counts(said.grains, by, others, said.partial)


def outcome(said: Any) -> Outcome:
    """What became of a text, out of a PutOutcome."""
    known = {node_pb2.PUT_OUTCOME_ADDED: Outcome.ADDED, node_pb2.PUT_OUTCOME_DUPLICATE: Outcome.DUPLICATE}
    return known.get(said, Outcome.REFUSED)


def event(said: node_pb2.WatchResponse) -> Event | None:
    """An event out of its message; None for one that this package does not know."""
    time = when(said.time_ms)
    which = said.WhichOneof("event")
    if which == "grain_added":
        added = said.grain_added
        kind = "grain_retracted" if added.kind == grain_pb2.GRAIN_KIND_RETRACTION else "grain_added"
        return Event(
            kind,
            time,
            id=added.id,
            topic=added.topic,
            author=added.author,
            peer=added.peer_id,
            retracted=added.retracted,
            cursor=said.cursor,
        )
    if which in ("peer_joined", "peer_left", "peer_banned"):
        return Event(which, time, peer=getattr(said, which))
    if which == "sync":
        return Event("sync", time, topic=said.sync.topic, peer=said.sync.peer_id)
    if which == "source_changed":
        return Event("source_changed", time, folder=said.source_changed.folder)
    if which == "missed":
        return Event("missed", time, missed=said.missed)
    return None


def document(said: node_pb2.Document) -> Document:
    """A document out of its message."""
    return Document(
        uri=said.uri,
        file=said.file_uri,
        title=said.title,
        topic=said.topic,
        grains=said.grains,
        created=when(said.created_ms),
        updated=when(said.updated_ms),
    )


def answer(said: node_pb2.RetractResult | node_pb2.ShareResult) -> Answer:
    """What became of one of several ids, out of its message."""
    retraction = said.retraction if isinstance(said, node_pb2.RetractResult) else ""
    done = bool(retraction) if isinstance(said, node_pb2.RetractResult) else said.changed
    reason = node_pb2.ErrorReason.Name(said.reason).removeprefix("ERROR_REASON_") if said.refusal else ""
    return Answer(said.id, done, retraction, reason, said.refusal, said.hint)


def status(said: node_pb2.StatusResponse) -> Status:
    """What the node says of itself, out of its message."""
    return Status(
        version=said.version,
        author=said.author,
        data_dir=said.data_dir,
        grains=said.grains,
        pending=said.pending,
        searchable=said.searchable,
        model=said.model.name,
        dimension=said.model.dimension,
        topics={topic.topic: topic.grains for topic in said.topics},
        read_only_reason=said.read_only_reason,
        message=said,
    )


def draft_message(draft: Draft, topic: str) -> node_pb2.Draft:
    """A draft as a message; `topic` is used where it names none."""
    source = None if draft.source is None else grain_pb2.Source(uri=draft.source.uri, ordinal=draft.source.ordinal)
    links = [grain_pb2.Link(target=bytes.fromhex(link.target), relation=link.relation) for link in draft.links]
    return node_pb2.Draft(
        topic=draft.topic or topic,
        text=draft.text,
        title=draft.title,
        tags=draft.tags,
        lang=draft.lang,
        mime=draft.mime,
        source=source,
        links=links,
        metadata=draft.metadata,
    )


def filter_message(where: Filter | None, topic: str, tags: Sequence[str]) -> node_pb2.Filter:
    """A filter as a message, of this topic (not its own), with `tags` added to its own."""
    where = where or Filter()
    message = node_pb2.Filter(
        topic=topic,
        tags=[*where.tags, *tags],
        author=where.author,
        lang=where.lang,
        source_prefix=where.source,
        metadata=where.metadata,
        any=[filter_message(one, one.topic, ()) for one in where.any],
        none=[filter_message(one, one.topic, ()) for one in where.none],
    )
    if where.since is not None:
        message.created_from_ms = to_ms(where.since)
    if where.until is not None:
        message.created_before_ms = to_ms(where.until)
    return message
