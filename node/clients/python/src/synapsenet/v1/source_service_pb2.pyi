from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SourceRhythm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_RHYTHM_UNSPECIFIED: _ClassVar[SourceRhythm]
    SOURCE_RHYTHM_MANUAL: _ClassVar[SourceRhythm]
    SOURCE_RHYTHM_EVERY: _ClassVar[SourceRhythm]
    SOURCE_RHYTHM_WATCH: _ClassVar[SourceRhythm]
SOURCE_RHYTHM_UNSPECIFIED: SourceRhythm
SOURCE_RHYTHM_MANUAL: SourceRhythm
SOURCE_RHYTHM_EVERY: SourceRhythm
SOURCE_RHYTHM_WATCH: SourceRhythm

class RememberedSource(_message.Message):
    __slots__ = ("folder", "topic", "tags", "lang", "share", "encoding", "no_ignore", "include_secrets", "exclude", "rhythm", "every_seconds", "paused")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    NO_IGNORE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SECRETS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    RHYTHM_FIELD_NUMBER: _ClassVar[int]
    EVERY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    folder: str
    topic: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    lang: str
    share: bool
    encoding: str
    no_ignore: bool
    include_secrets: bool
    exclude: _containers.RepeatedScalarFieldContainer[str]
    rhythm: SourceRhythm
    every_seconds: int
    paused: bool
    def __init__(self, folder: _Optional[str] = ..., topic: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., lang: _Optional[str] = ..., share: bool = ..., encoding: _Optional[str] = ..., no_ignore: bool = ..., include_secrets: bool = ..., exclude: _Optional[_Iterable[str]] = ..., rhythm: _Optional[_Union[SourceRhythm, str]] = ..., every_seconds: _Optional[int] = ..., paused: bool = ...) -> None: ...

class SourceReport(_message.Message):
    __slots__ = ("files", "unchanged", "added", "edited", "moved", "withdrawn", "missing", "skipped", "refused", "refused_files", "left_out", "grains_added", "grains_retracted", "problem", "elapsed_us")
    FILES_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FILES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    GRAINS_ADDED_FIELD_NUMBER: _ClassVar[int]
    GRAINS_RETRACTED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    files: int
    unchanged: int
    added: int
    edited: int
    moved: int
    withdrawn: int
    missing: int
    skipped: int
    refused: int
    refused_files: _containers.RepeatedCompositeFieldContainer[RefusedFile]
    left_out: str
    grains_added: int
    grains_retracted: int
    problem: str
    elapsed_us: int
    def __init__(self, files: _Optional[int] = ..., unchanged: _Optional[int] = ..., added: _Optional[int] = ..., edited: _Optional[int] = ..., moved: _Optional[int] = ..., withdrawn: _Optional[int] = ..., missing: _Optional[int] = ..., skipped: _Optional[int] = ..., refused: _Optional[int] = ..., refused_files: _Optional[_Iterable[_Union[RefusedFile, _Mapping]]] = ..., left_out: _Optional[str] = ..., grains_added: _Optional[int] = ..., grains_retracted: _Optional[int] = ..., problem: _Optional[str] = ..., elapsed_us: _Optional[int] = ...) -> None: ...

class RefusedFile(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SourceState(_message.Message):
    __slots__ = ("source", "last", "looked_ms", "running", "not_watched")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    LOOKED_MS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    NOT_WATCHED_FIELD_NUMBER: _ClassVar[int]
    source: RememberedSource
    last: SourceReport
    looked_ms: int
    running: SourceProgress
    not_watched: str
    def __init__(self, source: _Optional[_Union[RememberedSource, _Mapping]] = ..., last: _Optional[_Union[SourceReport, _Mapping]] = ..., looked_ms: _Optional[int] = ..., running: _Optional[_Union[SourceProgress, _Mapping]] = ..., not_watched: _Optional[str] = ...) -> None: ...

class SourceProgress(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class AddSourceRequest(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: RememberedSource
    def __init__(self, source: _Optional[_Union[RememberedSource, _Mapping]] = ...) -> None: ...

class AddSourceResponse(_message.Message):
    __slots__ = ("source", "before")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    source: RememberedSource
    before: RememberedSource
    def __init__(self, source: _Optional[_Union[RememberedSource, _Mapping]] = ..., before: _Optional[_Union[RememberedSource, _Mapping]] = ...) -> None: ...

class ListSourcesRequest(_message.Message):
    __slots__ = ("covering",)
    COVERING_FIELD_NUMBER: _ClassVar[int]
    covering: str
    def __init__(self, covering: _Optional[str] = ...) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources",)
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[SourceState]
    def __init__(self, sources: _Optional[_Iterable[_Union[SourceState, _Mapping]]] = ...) -> None: ...

class SyncSourceRequest(_message.Message):
    __slots__ = ("folder", "dry_run", "withdraw")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    folder: str
    dry_run: bool
    withdraw: bool
    def __init__(self, folder: _Optional[str] = ..., dry_run: bool = ..., withdraw: bool = ...) -> None: ...

class SyncSourceResponse(_message.Message):
    __slots__ = ("progress", "report")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    progress: SourceProgress
    report: SourceReport
    def __init__(self, progress: _Optional[_Union[SourceProgress, _Mapping]] = ..., report: _Optional[_Union[SourceReport, _Mapping]] = ...) -> None: ...

class PauseSourceRequest(_message.Message):
    __slots__ = ("folder", "paused")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    folder: str
    paused: bool
    def __init__(self, folder: _Optional[str] = ..., paused: bool = ...) -> None: ...

class PauseSourceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveSourceRequest(_message.Message):
    __slots__ = ("folder", "retract")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    folder: str
    retract: bool
    def __init__(self, folder: _Optional[str] = ..., retract: bool = ...) -> None: ...

class RemoveSourceResponse(_message.Message):
    __slots__ = ("retracted",)
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    retracted: int
    def __init__(self, retracted: _Optional[int] = ...) -> None: ...
