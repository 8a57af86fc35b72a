from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_INSTALLED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_LOADED: _ClassVar[ModelState]
    MODEL_STATE_FETCHABLE: _ClassVar[ModelState]
    MODEL_STATE_BROKEN: _ClassVar[ModelState]

class ModelRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_ROLE_UNSPECIFIED: _ClassVar[ModelRole]
    MODEL_ROLE_NONE: _ClassVar[ModelRole]
    MODEL_ROLE_IN_USE: _ClassVar[ModelRole]
    MODEL_ROLE_FORMER: _ClassVar[ModelRole]

class Pooling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POOLING_UNSPECIFIED: _ClassVar[Pooling]
    POOLING_MEAN: _ClassVar[Pooling]
    POOLING_CLS: _ClassVar[Pooling]

class Arithmetic(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARITHMETIC_UNSPECIFIED: _ClassVar[Arithmetic]
    ARITHMETIC_FLOAT32: _ClassVar[Arithmetic]
    ARITHMETIC_INT8: _ClassVar[Arithmetic]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_INSTALLED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_LOADED: ModelState
MODEL_STATE_FETCHABLE: ModelState
MODEL_STATE_BROKEN: ModelState
MODEL_ROLE_UNSPECIFIED: ModelRole
MODEL_ROLE_NONE: ModelRole
MODEL_ROLE_IN_USE: ModelRole
MODEL_ROLE_FORMER: ModelRole
POOLING_UNSPECIFIED: Pooling
POOLING_MEAN: Pooling
POOLING_CLS: Pooling
ARITHMETIC_UNSPECIFIED: Arithmetic
ARITHMETIC_FLOAT32: Arithmetic
ARITHMETIC_INT8: Arithmetic

class Model(_message.Message):
    __slots__ = ("name", "space_id", "dimension", "max_tokens", "question_prefix", "document_prefix", "license", "state", "role", "reason", "built_in", "vectors", "provider", "memory_bytes", "fetch_bytes", "space", "variant", "least_cosine", "pooling", "arithmetic")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUESTION_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUILT_IN_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FETCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    LEAST_COSINE_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    name: str
    space_id: str
    dimension: int
    max_tokens: int
    question_prefix: str
    document_prefix: str
    license: str
    state: ModelState
    role: ModelRole
    reason: str
    built_in: bool
    vectors: int
    provider: str
    memory_bytes: int
    fetch_bytes: int
    space: str
    variant: str
    least_cosine: float
    pooling: Pooling
    arithmetic: Arithmetic
    def __init__(self, name: _Optional[str] = ..., space_id: _Optional[str] = ..., dimension: _Optional[int] = ..., max_tokens: _Optional[int] = ..., question_prefix: _Optional[str] = ..., document_prefix: _Optional[str] = ..., license: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., role: _Optional[_Union[ModelRole, str]] = ..., reason: _Optional[str] = ..., built_in: bool = ..., vectors: _Optional[int] = ..., provider: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., fetch_bytes: _Optional[int] = ..., space: _Optional[str] = ..., variant: _Optional[str] = ..., least_cosine: _Optional[float] = ..., pooling: _Optional[_Union[Pooling, str]] = ..., arithmetic: _Optional[_Union[Arithmetic, str]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class UseModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UseModelResponse(_message.Message):
    __slots__ = ("model", "changed", "to_embed_anew")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    TO_EMBED_ANEW_FIELD_NUMBER: _ClassVar[int]
    model: Model
    changed: bool
    to_embed_anew: int
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., changed: bool = ..., to_embed_anew: _Optional[int] = ...) -> None: ...

class AddModelRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class AddModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class FetchModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class FetchModelResponse(_message.Message):
    __slots__ = ("file", "fetched_bytes", "total_bytes", "model")
    FILE_FIELD_NUMBER: _ClassVar[int]
    FETCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    file: str
    fetched_bytes: int
    total_bytes: int
    model: Model
    def __init__(self, file: _Optional[str] = ..., fetched_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class RemoveModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveModelResponse(_message.Message):
    __slots__ = ("dropped_vectors",)
    DROPPED_VECTORS_FIELD_NUMBER: _ClassVar[int]
    dropped_vectors: int
    def __init__(self, dropped_vectors: _Optional[int] = ...) -> None: ...

class DropVectorsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropVectorsResponse(_message.Message):
    __slots__ = ("dropped_vectors",)
    DROPPED_VECTORS_FIELD_NUMBER: _ClassVar[int]
    dropped_vectors: int
    def __init__(self, dropped_vectors: _Optional[int] = ...) -> None: ...
