from synapsenet.v1 import grain_pb2 as _grain_pb2
from synapsenet.v1 import mesh_service_pb2 as _mesh_service_pb2
from synapsenet.v1 import model_service_pb2 as _model_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_CALLS: _ClassVar[ErrorReason]
    ERROR_REASON_GRAIN_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_GRAIN_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_GRAIN_RETRACTED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_THE_AUTHOR: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_A_NOTE: _ClassVar[ErrorReason]
    ERROR_REASON_NODE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_DISK_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_NO_MESH: _ClassVar[ErrorReason]
    ERROR_REASON_PEER_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_PEER_FORBIDDEN: _ClassVar[ErrorReason]
    ERROR_REASON_PEER_UNREACHABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_PEERS: _ClassVar[ErrorReason]
    ERROR_REASON_TOPIC_NOT_JOINED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_TOPICS: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_UNUSABLE: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_FETCHED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_LOADED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_BUSY: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_GIVEN_UP: _ClassVar[ErrorReason]
    ERROR_REASON_STOPPING: _ClassVar[ErrorReason]
    ERROR_REASON_FAULT: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_PASSED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_RULES: _ClassVar[ErrorReason]
    ERROR_REASON_SOURCE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_SOCKET_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_REVOKED: _ClassVar[ErrorReason]
    ERROR_REASON_SCOPE_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_TOPIC_FORBIDDEN: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_TOKENS: _ClassVar[ErrorReason]
    ERROR_REASON_DOCUMENT_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_CURSOR_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_PINS: _ClassVar[ErrorReason]

class Whose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WHOSE_UNSPECIFIED: _ClassVar[Whose]
    WHOSE_OWN: _ClassVar[Whose]
    WHOSE_FOLLOWED: _ClassVar[Whose]
    WHOSE_STRANGER: _ClassVar[Whose]

class PutOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUT_OUTCOME_UNSPECIFIED: _ClassVar[PutOutcome]
    PUT_OUTCOME_ADDED: _ClassVar[PutOutcome]
    PUT_OUTCOME_DUPLICATE: _ClassVar[PutOutcome]
    PUT_OUTCOME_REFUSED: _ClassVar[PutOutcome]

class Wait(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAIT_UNSPECIFIED: _ClassVar[Wait]
    WAIT_WORDS: _ClassVar[Wait]
    WAIT_SEARCHABLE: _ClassVar[Wait]

class DocumentFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_FORMAT_UNSPECIFIED: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_PLAIN: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_MARKDOWN: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_HTML: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_MAIL: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_MAILBOX: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_NOTEBOOK: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_DOCX: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_ODT: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_EPUB: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_PDF: _ClassVar[DocumentFormat]

class EmbedRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMBED_ROLE_UNSPECIFIED: _ClassVar[EmbedRole]
    EMBED_ROLE_PASSAGE: _ClassVar[EmbedRole]
    EMBED_ROLE_QUESTION: _ClassVar[EmbedRole]

class EmergenceNothing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMERGENCE_NOTHING_UNSPECIFIED: _ClassVar[EmergenceNothing]
    EMERGENCE_NOTHING_SAID_BEFORE: _ClassVar[EmergenceNothing]
    EMERGENCE_NOTHING_BOILERPLATE: _ClassVar[EmergenceNothing]
    EMERGENCE_NOTHING_TOO_LITTLE: _ClassVar[EmergenceNothing]
    EMERGENCE_NOTHING_UNBACKED: _ClassVar[EmergenceNothing]

class EmergenceOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMERGENCE_ORDER_UNSPECIFIED: _ClassVar[EmergenceOrder]
    EMERGENCE_ORDER_NEW: _ClassVar[EmergenceOrder]

class SearchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_MODE_UNSPECIFIED: _ClassVar[SearchMode]
    SEARCH_MODE_HYBRID: _ClassVar[SearchMode]
    SEARCH_MODE_MEANING: _ClassVar[SearchMode]
    SEARCH_MODE_WORDS: _ClassVar[SearchMode]

class Facet(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FACET_UNSPECIFIED: _ClassVar[Facet]
    FACET_TOPIC: _ClassVar[Facet]
    FACET_TAG: _ClassVar[Facet]
    FACET_AUTHOR: _ClassVar[Facet]
    FACET_LANG: _ClassVar[Facet]

class PeerOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PEER_OUTCOME_UNSPECIFIED: _ClassVar[PeerOutcome]
    PEER_OUTCOME_ANSWERED: _ClassVar[PeerOutcome]
    PEER_OUTCOME_LATE: _ClassVar[PeerOutcome]
    PEER_OUTCOME_REFUSED: _ClassVar[PeerOutcome]
    PEER_OUTCOME_FAILED: _ClassVar[PeerOutcome]

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_GRAIN_ADDED: _ClassVar[EventKind]
    EVENT_KIND_GRAIN_RETRACTED: _ClassVar[EventKind]
    EVENT_KIND_PEER: _ClassVar[EventKind]
    EVENT_KIND_SYNC: _ClassVar[EventKind]
    EVENT_KIND_SOURCE_CHANGED: _ClassVar[EventKind]

class AuthorRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTHOR_RULE_UNSPECIFIED: _ClassVar[AuthorRule]
    AUTHOR_RULE_FOLLOWED: _ClassVar[AuthorRule]
    AUTHOR_RULE_BLOCKED: _ClassVar[AuthorRule]

class MeshWarningReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESH_WARNING_REASON_UNSPECIFIED: _ClassVar[MeshWarningReason]
    MESH_WARNING_REASON_CLOCK: _ClassVar[MeshWarningReason]
    MESH_WARNING_REASON_TWIN: _ClassVar[MeshWarningReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_REQUEST: ErrorReason
ERROR_REASON_TOKEN_NEEDED: ErrorReason
ERROR_REASON_TOO_MANY_CALLS: ErrorReason
ERROR_REASON_GRAIN_NOT_FOUND: ErrorReason
ERROR_REASON_GRAIN_REFUSED: ErrorReason
ERROR_REASON_GRAIN_RETRACTED: ErrorReason
ERROR_REASON_NOT_THE_AUTHOR: ErrorReason
ERROR_REASON_NOT_A_NOTE: ErrorReason
ERROR_REASON_NODE_FULL: ErrorReason
ERROR_REASON_DISK_FULL: ErrorReason
ERROR_REASON_NO_MESH: ErrorReason
ERROR_REASON_PEER_NOT_FOUND: ErrorReason
ERROR_REASON_PEER_FORBIDDEN: ErrorReason
ERROR_REASON_PEER_UNREACHABLE: ErrorReason
ERROR_REASON_TOO_MANY_PEERS: ErrorReason
ERROR_REASON_TOPIC_NOT_JOINED: ErrorReason
ERROR_REASON_TOO_MANY_TOPICS: ErrorReason
ERROR_REASON_MODEL_NOT_FOUND: ErrorReason
ERROR_REASON_MODEL_REFUSED: ErrorReason
ERROR_REASON_MODEL_UNUSABLE: ErrorReason
ERROR_REASON_MODEL_NOT_FETCHED: ErrorReason
ERROR_REASON_MODEL_NOT_LOADED: ErrorReason
ERROR_REASON_MODEL_BUSY: ErrorReason
ERROR_REASON_MODEL_FAILED: ErrorReason
ERROR_REASON_GIVEN_UP: ErrorReason
ERROR_REASON_STOPPING: ErrorReason
ERROR_REASON_FAULT: ErrorReason
ERROR_REASON_DEADLINE_PASSED: ErrorReason
ERROR_REASON_TOO_MANY_RULES: ErrorReason
ERROR_REASON_SOURCE_NOT_FOUND: ErrorReason
ERROR_REASON_SOCKET_NEEDED: ErrorReason
ERROR_REASON_TOKEN_UNKNOWN: ErrorReason
ERROR_REASON_TOKEN_EXPIRED: ErrorReason
ERROR_REASON_TOKEN_REVOKED: ErrorReason
ERROR_REASON_SCOPE_NEEDED: ErrorReason
ERROR_REASON_TOPIC_FORBIDDEN: ErrorReason
ERROR_REASON_TOKEN_NOT_FOUND: ErrorReason
ERROR_REASON_TOO_MANY_TOKENS: ErrorReason
ERROR_REASON_DOCUMENT_NOT_FOUND: ErrorReason
ERROR_REASON_CURSOR_UNKNOWN: ErrorReason
ERROR_REASON_TOO_MANY_PINS: ErrorReason
WHOSE_UNSPECIFIED: Whose
WHOSE_OWN: Whose
WHOSE_FOLLOWED: Whose
WHOSE_STRANGER: Whose
PUT_OUTCOME_UNSPECIFIED: PutOutcome
PUT_OUTCOME_ADDED: PutOutcome
PUT_OUTCOME_DUPLICATE: PutOutcome
PUT_OUTCOME_REFUSED: PutOutcome
WAIT_UNSPECIFIED: Wait
WAIT_WORDS: Wait
WAIT_SEARCHABLE: Wait
DOCUMENT_FORMAT_UNSPECIFIED: DocumentFormat
DOCUMENT_FORMAT_PLAIN: DocumentFormat
DOCUMENT_FORMAT_MARKDOWN: DocumentFormat
DOCUMENT_FORMAT_HTML: DocumentFormat
DOCUMENT_FORMAT_MAIL: DocumentFormat
DOCUMENT_FORMAT_MAILBOX: DocumentFormat
DOCUMENT_FORMAT_NOTEBOOK: DocumentFormat
DOCUMENT_FORMAT_DOCX: DocumentFormat
DOCUMENT_FORMAT_ODT: DocumentFormat
DOCUMENT_FORMAT_EPUB: DocumentFormat
DOCUMENT_FORMAT_PDF: DocumentFormat
EMBED_ROLE_UNSPECIFIED: EmbedRole
EMBED_ROLE_PASSAGE: EmbedRole
EMBED_ROLE_QUESTION: EmbedRole
EMERGENCE_NOTHING_UNSPECIFIED: EmergenceNothing
EMERGENCE_NOTHING_SAID_BEFORE: EmergenceNothing
EMERGENCE_NOTHING_BOILERPLATE: EmergenceNothing
EMERGENCE_NOTHING_TOO_LITTLE: EmergenceNothing
EMERGENCE_NOTHING_UNBACKED: EmergenceNothing
EMERGENCE_ORDER_UNSPECIFIED: EmergenceOrder
EMERGENCE_ORDER_NEW: EmergenceOrder
SEARCH_MODE_UNSPECIFIED: SearchMode
SEARCH_MODE_HYBRID: SearchMode
SEARCH_MODE_MEANING: SearchMode
SEARCH_MODE_WORDS: SearchMode
FACET_UNSPECIFIED: Facet
FACET_TOPIC: Facet
FACET_TAG: Facet
FACET_AUTHOR: Facet
FACET_LANG: Facet
PEER_OUTCOME_UNSPECIFIED: PeerOutcome
PEER_OUTCOME_ANSWERED: PeerOutcome
PEER_OUTCOME_LATE: PeerOutcome
PEER_OUTCOME_REFUSED: PeerOutcome
PEER_OUTCOME_FAILED: PeerOutcome
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_GRAIN_ADDED: EventKind
EVENT_KIND_GRAIN_RETRACTED: EventKind
EVENT_KIND_PEER: EventKind
EVENT_KIND_SYNC: EventKind
EVENT_KIND_SOURCE_CHANGED: EventKind
AUTHOR_RULE_UNSPECIFIED: AuthorRule
AUTHOR_RULE_FOLLOWED: AuthorRule
AUTHOR_RULE_BLOCKED: AuthorRule
MESH_WARNING_REASON_UNSPECIFIED: MeshWarningReason
MESH_WARNING_REASON_CLOCK: MeshWarningReason
MESH_WARNING_REASON_TWIN: MeshWarningReason

class Draft(_message.Message):
    __slots__ = ("topic", "text", "title", "tags", "lang", "mime", "source", "links", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    MIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    topic: str
    text: str
    title: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    lang: str
    mime: str
    source: _grain_pb2.Source
    links: _containers.RepeatedCompositeFieldContainer[_grain_pb2.Link]
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, topic: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., lang: _Optional[str] = ..., mime: _Optional[str] = ..., source: _Optional[_Union[_grain_pb2.Source, _Mapping]] = ..., links: _Optional[_Iterable[_Union[_grain_pb2.Link, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Grain(_message.Message):
    __slots__ = ("id", "kind", "author", "created_ms", "topic", "text", "title", "tags", "lang", "mime", "source", "links", "shared", "searchable", "signed", "whose", "file_uri", "metadata", "pinned")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    MIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    WHOSE_FIELD_NUMBER: _ClassVar[int]
    FILE_URI_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: _grain_pb2.GrainKind
    author: str
    created_ms: int
    topic: str
    text: str
    title: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    lang: str
    mime: str
    source: _grain_pb2.Source
    links: _containers.RepeatedCompositeFieldContainer[_grain_pb2.Link]
    shared: bool
    searchable: bool
    signed: bytes
    whose: Whose
    file_uri: str
    metadata: _containers.ScalarMap[str, str]
    pinned: bool
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[_grain_pb2.GrainKind, str]] = ..., author: _Optional[str] = ..., created_ms: _Optional[int] = ..., topic: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., lang: _Optional[str] = ..., mime: _Optional[str] = ..., source: _Optional[_Union[_grain_pb2.Source, _Mapping]] = ..., links: _Optional[_Iterable[_Union[_grain_pb2.Link, _Mapping]]] = ..., shared: bool = ..., searchable: bool = ..., signed: _Optional[bytes] = ..., whose: _Optional[_Union[Whose, str]] = ..., file_uri: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., pinned: bool = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("draft", "share", "wait", "wait_ms")
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    draft: Draft
    share: bool
    wait: Wait
    wait_ms: int
    def __init__(self, draft: _Optional[_Union[Draft, _Mapping]] = ..., share: bool = ..., wait: _Optional[_Union[Wait, str]] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("id", "outcome", "shared", "searchable")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    outcome: PutOutcome
    shared: bool
    searchable: bool
    def __init__(self, id: _Optional[str] = ..., outcome: _Optional[_Union[PutOutcome, str]] = ..., shared: bool = ..., searchable: bool = ...) -> None: ...

class BulkPutRequest(_message.Message):
    __slots__ = ("draft", "grain", "share", "wait", "wait_ms")
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    draft: Draft
    grain: bytes
    share: bool
    wait: Wait
    wait_ms: int
    def __init__(self, draft: _Optional[_Union[Draft, _Mapping]] = ..., grain: _Optional[bytes] = ..., share: bool = ..., wait: _Optional[_Union[Wait, str]] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class BulkPutResponse(_message.Message):
    __slots__ = ("ordinal", "outcome", "id", "reason", "searchable")
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_FIELD_NUMBER: _ClassVar[int]
    ordinal: int
    outcome: PutOutcome
    id: str
    reason: str
    searchable: bool
    def __init__(self, ordinal: _Optional[int] = ..., outcome: _Optional[_Union[PutOutcome, str]] = ..., id: _Optional[str] = ..., reason: _Optional[str] = ..., searchable: bool = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("id", "draft", "wait", "wait_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    draft: Draft
    wait: Wait
    wait_ms: int
    def __init__(self, id: _Optional[str] = ..., draft: _Optional[_Union[Draft, _Mapping]] = ..., wait: _Optional[_Union[Wait, str]] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("id", "outcome", "shared", "searchable", "retraction")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_FIELD_NUMBER: _ClassVar[int]
    RETRACTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    outcome: PutOutcome
    shared: bool
    searchable: bool
    retraction: str
    def __init__(self, id: _Optional[str] = ..., outcome: _Optional[_Union[PutOutcome, str]] = ..., shared: bool = ..., searchable: bool = ..., retraction: _Optional[str] = ...) -> None: ...

class AddDocumentRequest(_message.Message):
    __slots__ = ("uri", "format", "content", "title", "topic", "tags", "lang", "share", "encoding", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URI_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    uri: str
    format: DocumentFormat
    content: bytes
    title: str
    topic: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    lang: str
    share: bool
    encoding: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, uri: _Optional[str] = ..., format: _Optional[_Union[DocumentFormat, str]] = ..., content: _Optional[bytes] = ..., title: _Optional[str] = ..., topic: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., lang: _Optional[str] = ..., share: bool = ..., encoding: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AddLargeDocumentRequest(_message.Message):
    __slots__ = ("document", "content")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    document: LargeDocument
    content: bytes
    def __init__(self, document: _Optional[_Union[LargeDocument, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class LargeDocument(_message.Message):
    __slots__ = ("document", "size")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    document: AddDocumentRequest
    size: int
    def __init__(self, document: _Optional[_Union[AddDocumentRequest, _Mapping]] = ..., size: _Optional[int] = ...) -> None: ...

class AddLargeDocumentResponse(_message.Message):
    __slots__ = ("added",)
    ADDED_FIELD_NUMBER: _ClassVar[int]
    added: AddDocumentResponse
    def __init__(self, added: _Optional[_Union[AddDocumentResponse, _Mapping]] = ...) -> None: ...

class Omission(_message.Message):
    __slots__ = ("what", "reason")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    what: str
    reason: str
    def __init__(self, what: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AddDocumentResponse(_message.Message):
    __slots__ = ("ids", "added", "unchanged", "retracted", "left_out", "empty")
    IDS_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    added: int
    unchanged: int
    retracted: int
    left_out: _containers.RepeatedCompositeFieldContainer[Omission]
    empty: bool
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., added: _Optional[int] = ..., unchanged: _Optional[int] = ..., retracted: _Optional[int] = ..., left_out: _Optional[_Iterable[_Union[Omission, _Mapping]]] = ..., empty: bool = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("uri", "file_uri", "title", "topic", "grains", "created_ms", "updated_ms")
    URI_FIELD_NUMBER: _ClassVar[int]
    FILE_URI_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_MS_FIELD_NUMBER: _ClassVar[int]
    uri: str
    file_uri: str
    title: str
    topic: str
    grains: int
    created_ms: int
    updated_ms: int
    def __init__(self, uri: _Optional[str] = ..., file_uri: _Optional[str] = ..., title: _Optional[str] = ..., topic: _Optional[str] = ..., grains: _Optional[int] = ..., created_ms: _Optional[int] = ..., updated_ms: _Optional[int] = ...) -> None: ...

class GetDocumentRequest(_message.Message):
    __slots__ = ("uri", "page_size", "page_token")
    URI_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    uri: str
    page_size: int
    page_token: str
    def __init__(self, uri: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetDocumentResponse(_message.Message):
    __slots__ = ("document", "grains", "next_page_token")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    document: Document
    grains: _containers.RepeatedCompositeFieldContainer[Grain]
    next_page_token: str
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ..., grains: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteDocumentRequest(_message.Message):
    __slots__ = ("uri", "dry_run")
    URI_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    uri: str
    dry_run: bool
    def __init__(self, uri: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class DeleteDocumentResponse(_message.Message):
    __slots__ = ("document", "retracted")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    document: Document
    retracted: int
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ..., retracted: _Optional[int] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDocumentsResponse(_message.Message):
    __slots__ = ("documents", "next_page_token")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    next_page_token: str
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("texts", "role")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    role: EmbedRole
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[EmbedRole, str]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embeddings", "model_id", "model", "dimension")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    model_id: str
    model: str
    dimension: int
    def __init__(self, embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., model_id: _Optional[str] = ..., model: _Optional[str] = ..., dimension: _Optional[int] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class WaitIndexedRequest(_message.Message):
    __slots__ = ("only_own",)
    ONLY_OWN_FIELD_NUMBER: _ClassVar[int]
    only_own: bool
    def __init__(self, only_own: bool = ...) -> None: ...

class WaitIndexedResponse(_message.Message):
    __slots__ = ("pending", "finished", "unreadable")
    PENDING_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    pending: int
    finished: bool
    unreadable: int
    def __init__(self, pending: _Optional[int] = ..., finished: bool = ..., unreadable: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("id", "with_signed", "context", "with_links", "with_vector")
    ID_FIELD_NUMBER: _ClassVar[int]
    WITH_SIGNED_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    WITH_LINKS_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTOR_FIELD_NUMBER: _ClassVar[int]
    id: str
    with_signed: bool
    context: int
    with_links: bool
    with_vector: bool
    def __init__(self, id: _Optional[str] = ..., with_signed: bool = ..., context: _Optional[int] = ..., with_links: bool = ..., with_vector: bool = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("grain", "emergence", "before", "after", "links_to", "linked_from", "vector")
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    EMERGENCE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LINKS_TO_FIELD_NUMBER: _ClassVar[int]
    LINKED_FROM_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    grain: Grain
    emergence: Emergence
    before: _containers.RepeatedCompositeFieldContainer[Grain]
    after: _containers.RepeatedCompositeFieldContainer[Grain]
    links_to: _containers.RepeatedCompositeFieldContainer[LinkedNote]
    linked_from: _containers.RepeatedCompositeFieldContainer[LinkedNote]
    vector: GrainVector
    def __init__(self, grain: _Optional[_Union[Grain, _Mapping]] = ..., emergence: _Optional[_Union[Emergence, _Mapping]] = ..., before: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., links_to: _Optional[_Iterable[_Union[LinkedNote, _Mapping]]] = ..., linked_from: _Optional[_Iterable[_Union[LinkedNote, _Mapping]]] = ..., vector: _Optional[_Union[GrainVector, _Mapping]] = ...) -> None: ...

class LinkedNote(_message.Message):
    __slots__ = ("id", "title", "file_uri", "shown")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    FILE_URI_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    file_uri: str
    shown: str
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., file_uri: _Optional[str] = ..., shown: _Optional[str] = ...) -> None: ...

class Emergence(_message.Message):
    __slots__ = ("score", "novelty", "coherence", "reuse", "occasions", "nothing", "backing")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_FIELD_NUMBER: _ClassVar[int]
    COHERENCE_FIELD_NUMBER: _ClassVar[int]
    REUSE_FIELD_NUMBER: _ClassVar[int]
    OCCASIONS_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    BACKING_FIELD_NUMBER: _ClassVar[int]
    score: float
    novelty: float
    coherence: float
    reuse: float
    occasions: int
    nothing: EmergenceNothing
    backing: float
    def __init__(self, score: _Optional[float] = ..., novelty: _Optional[float] = ..., coherence: _Optional[float] = ..., reuse: _Optional[float] = ..., occasions: _Optional[int] = ..., nothing: _Optional[_Union[EmergenceNothing, str]] = ..., backing: _Optional[float] = ...) -> None: ...

class ExplainEmergenceRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ExplainEmergenceResponse(_message.Message):
    __slots__ = ("grain", "emergence", "weights", "neighbours")
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    EMERGENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    grain: Grain
    emergence: Emergence
    weights: EmergenceWeights
    neighbours: _containers.RepeatedCompositeFieldContainer[EmergenceNeighbour]
    def __init__(self, grain: _Optional[_Union[Grain, _Mapping]] = ..., emergence: _Optional[_Union[Emergence, _Mapping]] = ..., weights: _Optional[_Union[EmergenceWeights, _Mapping]] = ..., neighbours: _Optional[_Iterable[_Union[EmergenceNeighbour, _Mapping]]] = ...) -> None: ...

class EmergenceWeights(_message.Message):
    __slots__ = ("novelty", "coherence", "reuse", "least_novelty", "least_coherence")
    NOVELTY_FIELD_NUMBER: _ClassVar[int]
    COHERENCE_FIELD_NUMBER: _ClassVar[int]
    REUSE_FIELD_NUMBER: _ClassVar[int]
    LEAST_NOVELTY_FIELD_NUMBER: _ClassVar[int]
    LEAST_COHERENCE_FIELD_NUMBER: _ClassVar[int]
    novelty: float
    coherence: float
    reuse: float
    least_novelty: float
    least_coherence: float
    def __init__(self, novelty: _Optional[float] = ..., coherence: _Optional[float] = ..., reuse: _Optional[float] = ..., least_novelty: _Optional[float] = ..., least_coherence: _Optional[float] = ...) -> None: ...

class EmergenceNeighbour(_message.Message):
    __slots__ = ("grain", "cosine", "older")
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    OLDER_FIELD_NUMBER: _ClassVar[int]
    grain: Grain
    cosine: float
    older: bool
    def __init__(self, grain: _Optional[_Union[Grain, _Mapping]] = ..., cosine: _Optional[float] = ..., older: bool = ...) -> None: ...

class TopEmergenceRequest(_message.Message):
    __slots__ = ("order", "topic", "since_ms", "limit")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    order: EmergenceOrder
    topic: str
    since_ms: int
    limit: int
    def __init__(self, order: _Optional[_Union[EmergenceOrder, str]] = ..., topic: _Optional[str] = ..., since_ms: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class TopEmergenceResponse(_message.Message):
    __slots__ = ("grains",)
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    grains: _containers.RepeatedCompositeFieldContainer[ScoredGrain]
    def __init__(self, grains: _Optional[_Iterable[_Union[ScoredGrain, _Mapping]]] = ...) -> None: ...

class ScoredGrain(_message.Message):
    __slots__ = ("grain", "emergence")
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    EMERGENCE_FIELD_NUMBER: _ClassVar[int]
    grain: Grain
    emergence: Emergence
    def __init__(self, grain: _Optional[_Union[Grain, _Mapping]] = ..., emergence: _Optional[_Union[Emergence, _Mapping]] = ...) -> None: ...

class EmergenceAuthorsRequest(_message.Message):
    __slots__ = ("topic", "limit")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    topic: str
    limit: int
    def __init__(self, topic: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class EmergenceAuthorsResponse(_message.Message):
    __slots__ = ("authors",)
    AUTHORS_FIELD_NUMBER: _ClassVar[int]
    authors: _containers.RepeatedCompositeFieldContainer[EmergenceAuthor]
    def __init__(self, authors: _Optional[_Iterable[_Union[EmergenceAuthor, _Mapping]]] = ...) -> None: ...

class EmergenceAuthor(_message.Message):
    __slots__ = ("author", "whose", "standing", "grains", "worthless", "distrusted", "refused")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    WHOSE_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    WORTHLESS_FIELD_NUMBER: _ClassVar[int]
    DISTRUSTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    author: str
    whose: Whose
    standing: float
    grains: int
    worthless: int
    distrusted: bool
    refused: int
    def __init__(self, author: _Optional[str] = ..., whose: _Optional[_Union[Whose, str]] = ..., standing: _Optional[float] = ..., grains: _Optional[int] = ..., worthless: _Optional[int] = ..., distrusted: bool = ..., refused: _Optional[int] = ...) -> None: ...

class DigestRequest(_message.Message):
    __slots__ = ("since_ms", "topic")
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    since_ms: int
    topic: str
    def __init__(self, since_ms: _Optional[int] = ..., topic: _Optional[str] = ...) -> None: ...

class DigestResponse(_message.Message):
    __slots__ = ("grains", "clusters", "novel", "reused")
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    NOVEL_FIELD_NUMBER: _ClassVar[int]
    REUSED_FIELD_NUMBER: _ClassVar[int]
    grains: int
    clusters: _containers.RepeatedCompositeFieldContainer[DigestCluster]
    novel: _containers.RepeatedCompositeFieldContainer[ScoredGrain]
    reused: _containers.RepeatedCompositeFieldContainer[ScoredGrain]
    def __init__(self, grains: _Optional[int] = ..., clusters: _Optional[_Iterable[_Union[DigestCluster, _Mapping]]] = ..., novel: _Optional[_Iterable[_Union[ScoredGrain, _Mapping]]] = ..., reused: _Optional[_Iterable[_Union[ScoredGrain, _Mapping]]] = ...) -> None: ...

class DigestCluster(_message.Message):
    __slots__ = ("central", "ids", "size")
    CENTRAL_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    central: ScoredGrain
    ids: _containers.RepeatedScalarFieldContainer[str]
    size: int
    def __init__(self, central: _Optional[_Union[ScoredGrain, _Mapping]] = ..., ids: _Optional[_Iterable[str]] = ..., size: _Optional[int] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("topic", "tags", "author", "created_from_ms", "created_before_ms", "lang", "source_prefix", "metadata", "any", "none")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ANY_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    author: str
    created_from_ms: int
    created_before_ms: int
    lang: str
    source_prefix: str
    metadata: _containers.ScalarMap[str, str]
    any: _containers.RepeatedCompositeFieldContainer[Filter]
    none: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, topic: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., author: _Optional[str] = ..., created_from_ms: _Optional[int] = ..., created_before_ms: _Optional[int] = ..., lang: _Optional[str] = ..., source_prefix: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., any: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., none: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token", "with_signed", "with_retractions")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_SIGNED_FIELD_NUMBER: _ClassVar[int]
    WITH_RETRACTIONS_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    page_size: int
    page_token: str
    with_signed: bool
    with_retractions: bool
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_signed: bool = ..., with_retractions: bool = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("grains", "next_page_token")
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    grains: _containers.RepeatedCompositeFieldContainer[Grain]
    next_page_token: str
    def __init__(self, grains: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("text", "k", "filter", "mesh", "mesh_wait_ms", "mode", "min_score", "offset", "all_copies", "like", "vector", "space_id", "with_vectors")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    MESH_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ALL_COPIES_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    text: str
    k: int
    filter: Filter
    mesh: bool
    mesh_wait_ms: int
    mode: SearchMode
    min_score: float
    offset: int
    all_copies: bool
    like: str
    vector: _containers.RepeatedScalarFieldContainer[float]
    space_id: str
    with_vectors: bool
    def __init__(self, text: _Optional[str] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., mesh: bool = ..., mesh_wait_ms: _Optional[int] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., min_score: _Optional[float] = ..., offset: _Optional[int] = ..., all_copies: bool = ..., like: _Optional[str] = ..., vector: _Optional[_Iterable[float]] = ..., space_id: _Optional[str] = ..., with_vectors: bool = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hit", "summary")
    HIT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    hit: Hit
    summary: SearchSummary
    def __init__(self, hit: _Optional[_Union[Hit, _Mapping]] = ..., summary: _Optional[_Union[SearchSummary, _Mapping]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("grain", "score", "peer_id", "space_id", "cosine", "words", "copies", "marks", "vector")
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    grain: Grain
    score: float
    peer_id: str
    space_id: str
    cosine: float
    words: float
    copies: int
    marks: _containers.RepeatedCompositeFieldContainer[TextRange]
    vector: GrainVector
    def __init__(self, grain: _Optional[_Union[Grain, _Mapping]] = ..., score: _Optional[float] = ..., peer_id: _Optional[str] = ..., space_id: _Optional[str] = ..., cosine: _Optional[float] = ..., words: _Optional[float] = ..., copies: _Optional[int] = ..., marks: _Optional[_Iterable[_Union[TextRange, _Mapping]]] = ..., vector: _Optional[_Union[GrainVector, _Mapping]] = ...) -> None: ...

class GrainVector(_message.Message):
    __slots__ = ("space_id", "components")
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    components: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, space_id: _Optional[str] = ..., components: _Optional[_Iterable[float]] = ...) -> None: ...

class TextRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class SearchManyRequest(_message.Message):
    __slots__ = ("searches",)
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    searches: _containers.RepeatedCompositeFieldContainer[SearchRequest]
    def __init__(self, searches: _Optional[_Iterable[_Union[SearchRequest, _Mapping]]] = ...) -> None: ...

class SearchManyResponse(_message.Message):
    __slots__ = ("search", "hit", "summary")
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    search: int
    hit: Hit
    summary: SearchSummary
    def __init__(self, search: _Optional[int] = ..., hit: _Optional[_Union[Hit, _Mapping]] = ..., summary: _Optional[_Union[SearchSummary, _Mapping]] = ...) -> None: ...

class CountRequest(_message.Message):
    __slots__ = ("filter", "with_retractions", "facets", "top")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WITH_RETRACTIONS_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    with_retractions: bool
    facets: _containers.RepeatedScalarFieldContainer[Facet]
    top: int
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., with_retractions: bool = ..., facets: _Optional[_Iterable[_Union[Facet, str]]] = ..., top: _Optional[int] = ...) -> None: ...

class CountResponse(_message.Message):
    __slots__ = ("grains", "facets", "partial")
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    grains: int
    facets: _containers.RepeatedCompositeFieldContainer[FacetCount]
    partial: bool
    def __init__(self, grains: _Optional[int] = ..., facets: _Optional[_Iterable[_Union[FacetCount, _Mapping]]] = ..., partial: bool = ...) -> None: ...

class FacetCount(_message.Message):
    __slots__ = ("facet", "values", "others", "distinct")
    FACET_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_FIELD_NUMBER: _ClassVar[int]
    facet: Facet
    values: _containers.RepeatedCompositeFieldContainer[ValueCount]
    others: int
    distinct: int
    def __init__(self, facet: _Optional[_Union[Facet, str]] = ..., values: _Optional[_Iterable[_Union[ValueCount, _Mapping]]] = ..., others: _Optional[int] = ..., distinct: _Optional[int] = ...) -> None: ...

class ValueCount(_message.Message):
    __slots__ = ("value", "grains")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    value: str
    grains: int
    def __init__(self, value: _Optional[str] = ..., grains: _Optional[int] = ...) -> None: ...

class PeerAnswer(_message.Message):
    __slots__ = ("peer_id", "reason", "hits", "left_out", "elapsed_us", "outcome")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    reason: str
    hits: int
    left_out: int
    elapsed_us: int
    outcome: PeerOutcome
    def __init__(self, peer_id: _Optional[str] = ..., reason: _Optional[str] = ..., hits: _Optional[int] = ..., left_out: _Optional[int] = ..., elapsed_us: _Optional[int] = ..., outcome: _Optional[_Union[PeerOutcome, str]] = ...) -> None: ...

class SearchSummary(_message.Message):
    __slots__ = ("hits", "searched", "pending", "elapsed_us", "embed_us", "peers", "models", "unchecked", "mode", "unreadable", "best_left_out", "foreign_language")
    HITS_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    EMBED_US_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    UNCHECKED_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    BEST_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    hits: int
    searched: int
    pending: int
    elapsed_us: int
    embed_us: int
    peers: _containers.RepeatedCompositeFieldContainer[PeerAnswer]
    models: _containers.RepeatedCompositeFieldContainer[SearchedModel]
    unchecked: int
    mode: SearchMode
    unreadable: bool
    best_left_out: float
    foreign_language: str
    def __init__(self, hits: _Optional[int] = ..., searched: _Optional[int] = ..., pending: _Optional[int] = ..., elapsed_us: _Optional[int] = ..., embed_us: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[PeerAnswer, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[SearchedModel, _Mapping]]] = ..., unchecked: _Optional[int] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., unreadable: bool = ..., best_left_out: _Optional[float] = ..., foreign_language: _Optional[str] = ...) -> None: ...

class SearchedModel(_message.Message):
    __slots__ = ("name", "space_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    space_id: str
    def __init__(self, name: _Optional[str] = ..., space_id: _Optional[str] = ...) -> None: ...

class ShareRequest(_message.Message):
    __slots__ = ("id", "ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ShareResponse(_message.Message):
    __slots__ = ("id", "changed", "results")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    changed: bool
    results: _containers.RepeatedCompositeFieldContainer[ShareResult]
    def __init__(self, id: _Optional[str] = ..., changed: bool = ..., results: _Optional[_Iterable[_Union[ShareResult, _Mapping]]] = ...) -> None: ...

class PinRequest(_message.Message):
    __slots__ = ("id", "pinned")
    ID_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    id: str
    pinned: bool
    def __init__(self, id: _Optional[str] = ..., pinned: bool = ...) -> None: ...

class PinResponse(_message.Message):
    __slots__ = ("id", "changed")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    id: str
    changed: bool
    def __init__(self, id: _Optional[str] = ..., changed: bool = ...) -> None: ...

class ShareResult(_message.Message):
    __slots__ = ("id", "changed", "reason", "refusal", "hint")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    changed: bool
    reason: ErrorReason
    refusal: str
    hint: str
    def __init__(self, id: _Optional[str] = ..., changed: bool = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., refusal: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("filter", "cursor", "kinds")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    cursor: str
    kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., cursor: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("time_ms", "grain_added", "peer_joined", "peer_left", "peer_banned", "sync", "missed", "source_changed", "cursor")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    GRAIN_ADDED_FIELD_NUMBER: _ClassVar[int]
    PEER_JOINED_FIELD_NUMBER: _ClassVar[int]
    PEER_LEFT_FIELD_NUMBER: _ClassVar[int]
    PEER_BANNED_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    grain_added: GrainAdded
    peer_joined: str
    peer_left: str
    peer_banned: str
    sync: _mesh_service_pb2.SyncProgress
    missed: int
    source_changed: SourceChanged
    cursor: str
    def __init__(self, time_ms: _Optional[int] = ..., grain_added: _Optional[_Union[GrainAdded, _Mapping]] = ..., peer_joined: _Optional[str] = ..., peer_left: _Optional[str] = ..., peer_banned: _Optional[str] = ..., sync: _Optional[_Union[_mesh_service_pb2.SyncProgress, _Mapping]] = ..., missed: _Optional[int] = ..., source_changed: _Optional[_Union[SourceChanged, _Mapping]] = ..., cursor: _Optional[str] = ...) -> None: ...

class SourceChanged(_message.Message):
    __slots__ = ("folder", "added", "edited", "moved", "withdrawn", "grains_added", "grains_retracted")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    GRAINS_ADDED_FIELD_NUMBER: _ClassVar[int]
    GRAINS_RETRACTED_FIELD_NUMBER: _ClassVar[int]
    folder: str
    added: int
    edited: int
    moved: int
    withdrawn: int
    grains_added: int
    grains_retracted: int
    def __init__(self, folder: _Optional[str] = ..., added: _Optional[int] = ..., edited: _Optional[int] = ..., moved: _Optional[int] = ..., withdrawn: _Optional[int] = ..., grains_added: _Optional[int] = ..., grains_retracted: _Optional[int] = ...) -> None: ...

class GrainAdded(_message.Message):
    __slots__ = ("id", "topic", "author", "kind", "peer_id", "retracted")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    topic: str
    author: str
    kind: _grain_pb2.GrainKind
    peer_id: str
    retracted: str
    def __init__(self, id: _Optional[str] = ..., topic: _Optional[str] = ..., author: _Optional[str] = ..., kind: _Optional[_Union[_grain_pb2.GrainKind, str]] = ..., peer_id: _Optional[str] = ..., retracted: _Optional[str] = ...) -> None: ...

class RetractRequest(_message.Message):
    __slots__ = ("id", "ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RetractResponse(_message.Message):
    __slots__ = ("id", "results")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    results: _containers.RepeatedCompositeFieldContainer[RetractResult]
    def __init__(self, id: _Optional[str] = ..., results: _Optional[_Iterable[_Union[RetractResult, _Mapping]]] = ...) -> None: ...

class RetractResult(_message.Message):
    __slots__ = ("id", "retraction", "reason", "refusal", "hint")
    ID_FIELD_NUMBER: _ClassVar[int]
    RETRACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    retraction: str
    reason: ErrorReason
    refusal: str
    hint: str
    def __init__(self, id: _Optional[str] = ..., retraction: _Optional[str] = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., refusal: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class RetractMatchingRequest(_message.Message):
    __slots__ = ("filter", "whole_source", "dry_run")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHOLE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    whole_source: bool
    dry_run: bool
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., whole_source: bool = ..., dry_run: bool = ...) -> None: ...

class RetractMatchingResponse(_message.Message):
    __slots__ = ("meant", "retracted", "not_own", "refused", "refusal", "first", "finished")
    MEANT_FIELD_NUMBER: _ClassVar[int]
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    NOT_OWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    meant: int
    retracted: int
    not_own: int
    refused: int
    refusal: str
    first: _containers.RepeatedCompositeFieldContainer[Grain]
    finished: bool
    def __init__(self, meant: _Optional[int] = ..., retracted: _Optional[int] = ..., not_own: _Optional[int] = ..., refused: _Optional[int] = ..., refusal: _Optional[str] = ..., first: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., finished: bool = ...) -> None: ...

class ShareMatchingRequest(_message.Message):
    __slots__ = ("filter", "whole_source", "dry_run")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHOLE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    whole_source: bool
    dry_run: bool
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., whole_source: bool = ..., dry_run: bool = ...) -> None: ...

class ShareMatchingResponse(_message.Message):
    __slots__ = ("meant", "shared", "already", "not_own", "refused", "refusal", "first", "finished")
    MEANT_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    ALREADY_FIELD_NUMBER: _ClassVar[int]
    NOT_OWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    meant: int
    shared: int
    already: int
    not_own: int
    refused: int
    refusal: str
    first: _containers.RepeatedCompositeFieldContainer[Grain]
    finished: bool
    def __init__(self, meant: _Optional[int] = ..., shared: _Optional[int] = ..., already: _Optional[int] = ..., not_own: _Optional[int] = ..., refused: _Optional[int] = ..., refusal: _Optional[str] = ..., first: _Optional[_Iterable[_Union[Grain, _Mapping]]] = ..., finished: bool = ...) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ("ids", "author", "topic", "source_prefix", "dry_run", "block", "whole_source")
    IDS_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    WHOLE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    author: str
    topic: str
    source_prefix: str
    dry_run: bool
    block: bool
    whole_source: bool
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., author: _Optional[str] = ..., topic: _Optional[str] = ..., source_prefix: _Optional[str] = ..., dry_run: bool = ..., block: bool = ..., whole_source: bool = ...) -> None: ...

class ForgetResponse(_message.Message):
    __slots__ = ("grains",)
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    grains: int
    def __init__(self, grains: _Optional[int] = ...) -> None: ...

class Author(_message.Message):
    __slots__ = ("author", "grains", "rule", "whose", "claims_agreed", "claims_distrusted")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    WHOSE_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_AGREED_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_DISTRUSTED_FIELD_NUMBER: _ClassVar[int]
    author: str
    grains: int
    rule: AuthorRule
    whose: Whose
    claims_agreed: int
    claims_distrusted: bool
    def __init__(self, author: _Optional[str] = ..., grains: _Optional[int] = ..., rule: _Optional[_Union[AuthorRule, str]] = ..., whose: _Optional[_Union[Whose, str]] = ..., claims_agreed: _Optional[int] = ..., claims_distrusted: bool = ...) -> None: ...

class ListAuthorsRequest(_message.Message):
    __slots__ = ("prefix", "with_rule_only", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    WITH_RULE_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    with_rule_only: bool
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., with_rule_only: bool = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuthorsResponse(_message.Message):
    __slots__ = ("authors", "next_page_token")
    AUTHORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    authors: _containers.RepeatedCompositeFieldContainer[Author]
    next_page_token: str
    def __init__(self, authors: _Optional[_Iterable[_Union[Author, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetAuthorRuleRequest(_message.Message):
    __slots__ = ("author", "rule")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    author: str
    rule: AuthorRule
    def __init__(self, author: _Optional[str] = ..., rule: _Optional[_Union[AuthorRule, str]] = ...) -> None: ...

class SetAuthorRuleResponse(_message.Message):
    __slots__ = ("dropped",)
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: int
    def __init__(self, dropped: _Optional[int] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("version", "author", "data_dir", "uptime_ms", "grains", "retractions", "pending", "searchable", "storage_bytes", "index_bytes", "memory_bytes", "model", "api_addresses", "metrics_address", "topics", "max_grains", "mesh", "read_only_reason", "strangers", "max_strangers", "stranger_bytes", "quota_bytes", "unreadable", "sources", "paused_sources", "source_problems", "api_fingerprint", "log_level")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    DATA_DIR_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    RETRACTIONS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    API_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    MAX_GRAINS_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_REASON_FIELD_NUMBER: _ClassVar[int]
    STRANGERS_FIELD_NUMBER: _ClassVar[int]
    MAX_STRANGERS_FIELD_NUMBER: _ClassVar[int]
    STRANGER_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PAUSED_SOURCES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    API_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    version: str
    author: str
    data_dir: str
    uptime_ms: int
    grains: int
    retractions: int
    pending: int
    searchable: int
    storage_bytes: int
    index_bytes: int
    memory_bytes: int
    model: ModelStatus
    api_addresses: _containers.RepeatedScalarFieldContainer[str]
    metrics_address: str
    topics: _containers.RepeatedCompositeFieldContainer[TopicStatus]
    max_grains: int
    mesh: MeshStatus
    read_only_reason: str
    strangers: int
    max_strangers: int
    stranger_bytes: int
    quota_bytes: int
    unreadable: int
    sources: int
    paused_sources: int
    source_problems: _containers.RepeatedScalarFieldContainer[str]
    api_fingerprint: str
    log_level: str
    def __init__(self, version: _Optional[str] = ..., author: _Optional[str] = ..., data_dir: _Optional[str] = ..., uptime_ms: _Optional[int] = ..., grains: _Optional[int] = ..., retractions: _Optional[int] = ..., pending: _Optional[int] = ..., searchable: _Optional[int] = ..., storage_bytes: _Optional[int] = ..., index_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., model: _Optional[_Union[ModelStatus, _Mapping]] = ..., api_addresses: _Optional[_Iterable[str]] = ..., metrics_address: _Optional[str] = ..., topics: _Optional[_Iterable[_Union[TopicStatus, _Mapping]]] = ..., max_grains: _Optional[int] = ..., mesh: _Optional[_Union[MeshStatus, _Mapping]] = ..., read_only_reason: _Optional[str] = ..., strangers: _Optional[int] = ..., max_strangers: _Optional[int] = ..., stranger_bytes: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., unreadable: _Optional[int] = ..., sources: _Optional[int] = ..., paused_sources: _Optional[int] = ..., source_problems: _Optional[_Iterable[str]] = ..., api_fingerprint: _Optional[str] = ..., log_level: _Optional[str] = ...) -> None: ...

class MeshStatus(_message.Message):
    __slots__ = ("peer_id", "addresses", "peers", "max_peers", "topics", "syncs", "warnings")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    MAX_PEERS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    SYNCS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    peers: int
    max_peers: int
    topics: _containers.RepeatedScalarFieldContainer[str]
    syncs: _containers.RepeatedCompositeFieldContainer[_mesh_service_pb2.SyncProgress]
    warnings: _containers.RepeatedCompositeFieldContainer[MeshWarning]
    def __init__(self, peer_id: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., peers: _Optional[int] = ..., max_peers: _Optional[int] = ..., topics: _Optional[_Iterable[str]] = ..., syncs: _Optional[_Iterable[_Union[_mesh_service_pb2.SyncProgress, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[MeshWarning, _Mapping]]] = ...) -> None: ...

class MeshWarning(_message.Message):
    __slots__ = ("reason", "text")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    reason: MeshWarningReason
    text: str
    def __init__(self, reason: _Optional[_Union[MeshWarningReason, str]] = ..., text: _Optional[str] = ...) -> None: ...

class ModelStatus(_message.Message):
    __slots__ = ("name", "space_id", "dimension", "max_tokens", "provider", "to_embed_anew", "former_models", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TO_EMBED_ANEW_FIELD_NUMBER: _ClassVar[int]
    FORMER_MODELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    space_id: str
    dimension: int
    max_tokens: int
    provider: str
    to_embed_anew: int
    former_models: _containers.RepeatedScalarFieldContainer[str]
    state: _model_service_pb2.ModelState
    def __init__(self, name: _Optional[str] = ..., space_id: _Optional[str] = ..., dimension: _Optional[int] = ..., max_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., to_embed_anew: _Optional[int] = ..., former_models: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[_model_service_pb2.ModelState, str]] = ...) -> None: ...

class TopicStatus(_message.Message):
    __slots__ = ("topic", "grains")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    grains: int
    def __init__(self, topic: _Optional[str] = ..., grains: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("checked", "total", "problems", "finished")
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    checked: int
    total: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    finished: bool
    def __init__(self, checked: _Optional[int] = ..., total: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ..., finished: bool = ...) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompactResponse(_message.Message):
    __slots__ = ("bytes_before", "bytes_after")
    BYTES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BYTES_AFTER_FIELD_NUMBER: _ClassVar[int]
    bytes_before: int
    bytes_after: int
    def __init__(self, bytes_before: _Optional[int] = ..., bytes_after: _Optional[int] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ("before",)
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    before: str
    def __init__(self, before: _Optional[str] = ...) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ("with_identity", "without_models")
    WITH_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_MODELS_FIELD_NUMBER: _ClassVar[int]
    with_identity: bool
    without_models: bool
    def __init__(self, with_identity: bool = ..., without_models: bool = ...) -> None: ...

class BackupResponse(_message.Message):
    __slots__ = ("progress", "plan", "data")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    progress: BackupProgress
    plan: BackupPlan
    data: BackupData
    def __init__(self, progress: _Optional[_Union[BackupProgress, _Mapping]] = ..., plan: _Optional[_Union[BackupPlan, _Mapping]] = ..., data: _Optional[_Union[BackupData, _Mapping]] = ...) -> None: ...

class BackupProgress(_message.Message):
    __slots__ = ("copied", "total")
    COPIED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    copied: int
    total: int
    def __init__(self, copied: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class BackupPlan(_message.Message):
    __slots__ = ("version", "author", "created_ms", "grains", "retractions", "files")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    RETRACTIONS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    version: str
    author: str
    created_ms: int
    grains: int
    retractions: int
    files: _containers.RepeatedCompositeFieldContainer[BackupFile]
    def __init__(self, version: _Optional[str] = ..., author: _Optional[str] = ..., created_ms: _Optional[int] = ..., grains: _Optional[int] = ..., retractions: _Optional[int] = ..., files: _Optional[_Iterable[_Union[BackupFile, _Mapping]]] = ...) -> None: ...

class BackupFile(_message.Message):
    __slots__ = ("name", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class BackupData(_message.Message):
    __slots__ = ("file", "content")
    FILE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    file: int
    content: bytes
    def __init__(self, file: _Optional[int] = ..., content: _Optional[bytes] = ...) -> None: ...
