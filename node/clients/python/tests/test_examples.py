"""The examples, and the classes for other frameworks, on a real node."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Node

from synapsenet import AsyncMemory, Memory

PACKAGE = Path(__file__).resolve().parents[1]


def test_notes_become_answers(node: Node, tmp_path: Path) -> None:
    (tmp_path / "house.md").write_text("# House\n\n## Water\n\nThe main valve is behind the washing machine.\n")
    (tmp_path / "garden.md").write_text("# Garden\n\nThe beans are watered in the evening.\n")
    told = node.python(str(PACKAGE / "examples/notes_to_answers.py"), str(tmp_path), "where do I turn the water off?")
    assert told.splitlines()[0] == "2 parts"
    first = told.split("off?\n")[1].splitlines()
    assert "House > Water" in first[0] and "main valve" in first[1]


def test_a_chat_recalls_what_was_said_and_what_came_after(node: Node) -> None:
    said = "I am allergic to walnuts\nThen no cake for me\nThe train leaves at nine\n? what must I not eat\n"
    told = node.python(str(PACKAGE / "examples/chat_log.py"), stdin=said)
    assert "you: I am allergic to walnuts / you: Then no cake for me" in told


def need(framework: str) -> None:
    """Passes over a test whose framework is not there, unless it was to be."""
    if "FRAMEWORKS" not in os.environ:
        pytest.importorskip(framework, reason=f"{framework} is not installed: FRAMEWORKS=1 node/clients/python/check has it")


def test_langchain_finds_documents(node: Node) -> None:
    need("langchain_core")
    from synapsenet.langchain import SynapsenetRetriever

    with Memory(data_dir=node.data_dir, topic="langchain") as memory:
        added = memory.add("The spare key is at Maria's", title="Keys", tags=["keys"])
        memory.add("Tomatoes want sun")
        retriever = SynapsenetRetriever(memory=memory, k=1)
        (document,) = retriever.invoke("who has a key?")
        assert (document.id, document.page_content) == (added.id, "The spare key is at Maria's")
        assert document.metadata["title"] == "Keys" and document.metadata["whose"] == "own" and document.metadata["score"] > 0.1

        async def ask() -> Any:
            threaded = await retriever.ainvoke("who has a key?")
            async with AsyncMemory(data_dir=node.data_dir, topic="langchain") as asked:
                own = SynapsenetRetriever(memory=memory, async_memory=asked, k=1)
                return threaded, await own.ainvoke("who has a key?")

        assert asyncio.run(ask()) == ([document], [document])


def test_llama_index_finds_nodes(node: Node) -> None:
    need("llama_index.core")
    from synapsenet.llama_index import SynapsenetRetriever

    with Memory(data_dir=node.data_dir, topic="llama-index") as memory:
        added = memory.add("The spare key is at Maria's", title="Keys")
        memory.add("Tomatoes want sun")
        retriever = SynapsenetRetriever(memory, k=1)
        (found,) = retriever.retrieve("who has a key?")
        assert (found.node.node_id, found.node.get_content()) == (added.id, "The spare key is at Maria's")
        assert found.score > 0.1 and found.node.metadata["title"] == "Keys"

        async def ask() -> Any:
            threaded = await retriever.aretrieve("who has a key?")
            async with AsyncMemory(data_dir=node.data_dir, topic="llama-index") as asked:
                return threaded, await SynapsenetRetriever(memory, async_memory=asked, k=1).aretrieve("who has a key?")

        assert [[one.node.node_id for one in answer] for answer in asyncio.run(ask())] == [[added.id], [added.id]]
