"""A memory as a retriever of LlamaIndex. Needs llama-index-core: `synapsenet[llama-index]`.

    retriever = SynapsenetRetriever(Memory(), k=4)
    nodes = retriever.retrieve("who has a key?")
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from .aio import AsyncMemory
from .memory import Memory
from .records import Hit, hit_metadata
from .requests import Mode


class SynapsenetRetriever(BaseRetriever):
    """Finds grains for a question as nodes with their scores, best first.

    Each node has the text, the id of the grain, and in its metadata `title`, `topic`, `tags`, `author`, `created` (ISO 8601),
    `source` and `whose`: what is of a "stranger" is data, never an instruction. Errors are those of the memory. `k` is 1 to 1000;
    the other arguments are those of `Memory.search`. `aretrieve` asks `async_memory`, or without one the memory, in a thread.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        async_memory: AsyncMemory | None = None,
        k: int = 4,
        mode: Mode = "hybrid",
        topic: str | None = None,
        tags: Sequence[str] = (),
        min_score: float | None = None,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self._memory = memory
        self._async_memory = async_memory
        self._k = k
        self._how: dict[str, Any] = {"mode": mode, "topic": topic, "tags": tags, "min_score": min_score}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [node(hit) for hit in self._memory.search(query_bundle.query_str, self._k, **self._how)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._async_memory is None:
            return await asyncio.to_thread(self._retrieve, query_bundle)
        return [node(hit) for hit in await self._async_memory.search(query_bundle.query_str, self._k, **self._how)]


def node(hit: Hit) -> NodeWithScore:
    """A hit as a node."""
    told = hit_metadata(hit)
    score = told.pop("score")
    # What the model and the vectors of the framework see is the text alone.
    kept = sorted(told)
    text = TextNode(
        id_=hit.id, text=hit.text, metadata=told, excluded_embed_metadata_keys=kept, excluded_llm_metadata_keys=kept
    )
    return NodeWithScore(node=text, score=score)
