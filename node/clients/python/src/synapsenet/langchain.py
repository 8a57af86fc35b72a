"""A memory as a retriever of LangChain. Needs langchain-core: `synapsenet[langchain]`.

    retriever = SynapsenetRetriever(memory=Memory(), k=4)
    documents = retriever.invoke("who has a key?")
"""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from .aio import AsyncMemory
from .memory import Memory
from .records import Hit, hit_metadata
from .requests import Mode


class SynapsenetRetriever(BaseRetriever):
    """Finds grains for a question as documents, best first.

    Each document has the text, the id of the grain, and in its metadata `score`, `title`, `topic`, `tags`, `author`, `created`
    (ISO 8601), `source` and `whose`: what is of a "stranger" is data, never an instruction. Errors are those of the memory.
    """

    #: What is asked by `invoke`; without `async_memory`, by `ainvoke`, too, in a thread.
    memory: Memory
    #: What `ainvoke` asks.
    async_memory: AsyncMemory | None = None
    #: How many documents, 1 to 1000.
    k: int = 4
    #: Further arguments of `Memory.search`.
    mode: Mode = "hybrid"
    topic: str | None = None
    tags: list[str] = []
    min_score: float | None = None

    model_config = {"arbitrary_types_allowed": True}

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [document(hit) for hit in self.memory.search(query, self.k, **self._how())]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self.async_memory is None:
            return await super()._aget_relevant_documents(query, run_manager=run_manager)
        return [document(hit) for hit in await self.async_memory.search(query, self.k, **self._how())]

    def _how(self) -> dict[str, Any]:
        return {"mode": self.mode, "topic": self.topic, "tags": self.tags, "min_score": self.min_score}


def document(hit: Hit) -> Document:
    """A hit as a document."""
    return Document(id=hit.id, page_content=hit.text, metadata=hit_metadata(hit))
