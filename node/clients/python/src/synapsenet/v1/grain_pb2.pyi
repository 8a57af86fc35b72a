from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GrainKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRAIN_KIND_UNSPECIFIED: _ClassVar[GrainKind]
    GRAIN_KIND_NOTE: _ClassVar[GrainKind]
    GRAIN_KIND_RETRACTION: _ClassVar[GrainKind]
GRAIN_KIND_UNSPECIFIED: GrainKind
GRAIN_KIND_NOTE: GrainKind
GRAIN_KIND_RETRACTION: GrainKind

class SignedGrain(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class GrainBody(_message.Message):
    __slots__ = ("version", "kind", "author", "created_ms", "topic", "text", "title", "tags", "lang", "mime", "source", "links", "metadata")
    VERSION_FIELD_NUMBER: _ClassVar[int]
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
    METADATA_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: GrainKind
    author: bytes
    created_ms: int
    topic: str
    text: str
    title: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    lang: str
    mime: str
    source: Source
    links: _containers.RepeatedCompositeFieldContainer[Link]
    metadata: _containers.RepeatedCompositeFieldContainer[Metadatum]
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[GrainKind, str]] = ..., author: _Optional[bytes] = ..., created_ms: _Optional[int] = ..., topic: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., lang: _Optional[str] = ..., mime: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., metadata: _Optional[_Iterable[_Union[Metadatum, _Mapping]]] = ...) -> None: ...

class Metadatum(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("uri", "ordinal")
    URI_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    uri: str
    ordinal: int
    def __init__(self, uri: _Optional[str] = ..., ordinal: _Optional[int] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("target", "relation")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    target: bytes
    relation: str
    def __init__(self, target: _Optional[bytes] = ..., relation: _Optional[str] = ...) -> None: ...
