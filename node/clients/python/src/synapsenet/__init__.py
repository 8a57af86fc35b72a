"""Client of SynapseNet, a semantic memory that you run yourself: texts are kept, and found by what they mean and by their words.

    from synapsenet import Memory

    with Memory() as memory:
        memory.add("The spare key of the server room is at Maria's", tags=["keys"])
        for hit in memory.search("who can open the server room?"):
            print(round(hit.score, 3), hit.text)

`Memory` finds the node as the command line does; `AsyncMemory` is the same for asyncio. Each error is a `SynapsenetError` with the
reason and the hint that the node sends. `synapsenet.v1` has the messages and services of the whole API.
"""

from .aio import AsyncMemory, AsyncWatch
from .channel import VERSION as __version__
from .errors import (
    DeadlinePassed,
    Exhausted,
    Fault,
    InvalidRequest,
    NotAllowed,
    NotConfigured,
    NotFound,
    Refused,
    SynapsenetError,
    Unreachable,
    WrongCertificate,
)
from .memory import Memory, Watch
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
    Hit,
    Hits,
    Link,
    Outcome,
    Source,
    Status,
    Updated,
    Vector,
    Vectors,
    Whose,
    Withdrawn,
)
from .requests import EventKind, Mode, Role
from .retry import Retry
from .target import Target, find

__all__ = [
    "Added",
    "AddedDocument",
    "Answer",
    "AsyncMemory",
    "AsyncWatch",
    "Context",
    "Counts",
    "DeadlinePassed",
    "Document",
    "Draft",
    "Event",
    "EventKind",
    "Exhausted",
    "Fault",
    "Filter",
    "Grain",
    "Hit",
    "Hits",
    "InvalidRequest",
    "Link",
    "Memory",
    "Mode",
    "NotAllowed",
    "NotConfigured",
    "NotFound",
    "Outcome",
    "Refused",
    "Retry",
    "Role",
    "Source",
    "Status",
    "SynapsenetError",
    "Target",
    "Unreachable",
    "Updated",
    "Vector",
    "Vectors",
    "Watch",
    "Whose",
    "Withdrawn",
    "WrongCertificate",
    "__version__",
    "find",
]
