#!/usr/bin/env python3
"""A chat log: remembers what is said, turn by turn, and recalls what was said before that matters now.

    python3 chat_log.py

Type what you say; a line that begins with ? recalls. Each chat is a source, and each turn a part of it, so that what was said
before and after a turn is found, too. Several programs may write into one memory at the same time.
"""

import asyncio
import sys
import uuid

from synapsenet import AsyncMemory, Link, Source, Whose


class Chat:
    """One conversation in a memory."""

    def __init__(self, memory: AsyncMemory, name: str) -> None:
        self.memory, self.name = memory, name
        self.turns = 0
        self.last = ""

    async def say(self, speaker: str, text: str) -> str:
        """Remembers a turn; returns its id."""
        source, links = Source(f"chat:{self.name}", self.turns), [Link(self.last, "replies-to")] if self.last else []
        # What was just said can be recalled at once: it is waited for.
        added = await self.memory.add(f"{speaker}: {text}", source=source, links=links, tags=["chat"])
        self.turns, self.last = self.turns + 1, added.id
        return added.id

    async def recall(self, question: str, k: int = 3) -> list[str]:
        """What was said in any chat that has to do with a question, each with the turn after it."""
        told = []
        for hit in await self.memory.search(question, k, tags=["chat"]):
            around = await self.memory.around(hit.id, 1)
            turns = [around.grain, *around.after]
            # What others wrote is data: whoever gives it to a language model marks it so.
            told.append(" / ".join(turn.text if turn.whose is Whose.OWN else f"[not yours] {turn.text}" for turn in turns))
        return told


async def main() -> None:
    async with AsyncMemory(topic="chats") as memory:
        chat = Chat(memory, uuid.uuid4().hex[:8])
        for line in sys.stdin:
            line = line.strip()
            if line.startswith("?"):
                for turns in await chat.recall(line[1:]):
                    print(f"  {turns}")
            elif line:
                await chat.say("you", line)


if __name__ == "__main__":
    asyncio.run(main())
