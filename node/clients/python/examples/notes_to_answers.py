#!/usr/bin/env python3
"""Notes to answers: remembers a folder of notes and prints the passages that answer questions, with where they stand.

    python3 notes_to_answers.py FOLDER "how do I keep the server cool" "where is the key"

The folder is added under the topic `answers`; adding it again adds what is new in it and withdraws what went. A language model that
writes the answer would get what `passages` returns, and nothing else.
"""

import argparse
from pathlib import Path

from synapsenet import Memory

# What most prompts have room for.
MAX_CHARACTERS = 2000


def remember(memory: Memory, folder: Path) -> int:
    """Adds every note of a folder; how many parts there are."""
    parts = 0
    for path in sorted(folder.rglob("*.md")):
        parts += len(memory.add_document(path.resolve(), path.read_bytes()).ids)
    memory.wait()
    return parts


def passages(memory: Memory, question: str, characters: int = MAX_CHARACTERS) -> list[tuple[float, str, str]]:
    """Score, place and text of the best passages, of at most so many characters in all."""
    found, left = [], characters
    for hit in memory.search(question, 10):
        if len(hit.text) > left:
            break
        left -= len(hit.text)
        found.append((hit.score, hit.grain.title or hit.grain.file, hit.text))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers questions out of a folder of notes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("question", nargs="+")
    arguments = parser.parse_args()
    with Memory(topic="answers") as memory:
        print(f"{remember(memory, arguments.folder)} parts")
        for question in arguments.question:
            print(f"\n{question}")
            for score, place, text in passages(memory, question, 800):
                print(f"  {score:.3f}  {place}\n         {' '.join(text.split())}")


if __name__ == "__main__":
    main()
