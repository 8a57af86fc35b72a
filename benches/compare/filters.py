#!/usr/bin/env python3
"""What a filter costs: searches with filters beside searches without one, in turns, in each mode, at the client of a whole node.

    python3 benches/compare/filters.py --texts glosses.txt --sizes 10000,50000

It needs what the client for Python needs (grpcio, protobuf, googleapis-common-protos): `PYTHONPATH=target/python-packages` has them once
`node/clients/python/check` ran. TEXTS has one text a line; the first ones are stored, and each question is the end of one that is not. Of the notes,
nine in ten are of the topic `large` and one in ten of `small`; every second has the tag `half`, every tenth `tenth`, every hundredth `hundredth`,
and the rarest of these is its metadata (`share=half` and so on).

p50 and p99 are milliseconds at the client; `times` is p50 over that of the same mode without a filter. "warm" asks the same questions again, so that
what the model takes is in neither.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "node" / "clients" / "python" / "src"))

from synapsenet import Draft, Filter, Memory, Outcome  # noqa: E402

from quality import RunningNode  # noqa: E402

MODES = ("hybrid", "meaning", "words")
HITS = 10
MAX_INDEXING_SECONDS = 3600
SHARES = {"half": 2, "tenth": 10, "hundredth": 100}

FILTERS = {
    "no filter": None,
    "a topic, nine in ten": Filter(topic="large"),
    "a topic, one in ten": Filter(topic="small"),
    "a tag, one in two": Filter(tags=["half"]),
    "a tag, one in a hundred": Filter(tags=["hundredth"]),
    "any of two tags, one in ten": Filter(any=[Filter(tags=["tenth"]), Filter(tags=["hundredth"])]),
    "any of two topics, all": Filter(any=[Filter(topic="large"), Filter(topic="small")]),
    "none of a tag, nine in ten": Filter(none=[Filter(tags=["tenth"])]),
    "none of a tag, one in two": Filter(none=[Filter(tags=["half"])]),
    "topic, any and none": Filter(
        topic="large", any=[Filter(tags=["half"]), Filter(tags=["hundredth"])], none=[Filter(metadata={"share": "tenth"})]
    ),
    "metadata, two in five": Filter(metadata={"share": "half"}),
    "metadata, one in a hundred": Filter(metadata={"share": "hundredth"}),
    "a language, all": Filter(lang="en"),
}


def draft(number, text):
    tags = [name for name, share in SHARES.items() if number % share == 0]
    metadata = {"share": tags[-1]} if tags else {"share": "none"}
    return Draft(text, topic="small" if number % 10 == 3 else "large", tags=tags, metadata=metadata, lang="en")


def question(text):
    """The end of a text, as a person would ask for the rest."""
    words = text.split()
    return " ".join(words[len(words) // 2 :]) or text


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def measure(memory, questions, rounds):
    """{(mode, filter): (cold, warm)}: seconds of each search."""
    times = {(mode, name): ([], []) for mode in MODES for name in FILTERS}
    asked = iter(questions)
    for _ in range(rounds):
        for mode in MODES:
            for name, where in FILTERS.items():
                text = next(asked)
                for which in range(2):
                    began = time.perf_counter()
                    memory.search(text, HITS, where=where, mode=mode, min_score=-1.0)
                    times[mode, name][which].append(time.perf_counter() - began)
    return times


def main():
    parser = argparse.ArgumentParser(description="Measures what filters cost.")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--sizes", default="10000", help="notes, for each a node of its own (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="questions of each filter in each mode (default: %(default)s)")
    parser.add_argument("--synapsenet", type=Path, default=ROOT / "target" / "release" / "synapsenet")
    arguments = parser.parse_args()
    texts = arguments.texts.read_text(encoding="utf-8").splitlines()
    for size in map(int, arguments.sizes.split(",")):
        asked = arguments.rounds * len(MODES) * len(FILTERS)
        if size + asked > len(texts):
            raise SystemExit(f"filters: {size} notes and {asked} questions are more than the {len(texts)} texts")
        with tempfile.TemporaryDirectory(prefix="syn-") as scratch:
            folder = Path(scratch) / "data"
            folder.mkdir(mode=0o700)
            running = RunningNode(arguments.synapsenet, folder)
            running.environment["SYNAPSENET_NETWORK__ENABLED"] = "false"
            with running, Memory(data_dir=folder) as memory:
                drafts = [draft(number, text) for number, text in enumerate(texts[:size])]
                refused = [added for added in memory.add_many(drafts, wait=False) if added.outcome is Outcome.REFUSED]
                if refused:
                    raise SystemExit(f"filters: {refused[0].reason}")
                memory.wait(MAX_INDEXING_SECONDS)
                times = measure(memory, [question(text) for text in texts[size : size + asked]], arguments.rounds)
        print(f"\n{size} notes\n\n| filter | " + " | ".join(f"{mode} p50 / p99, times; warm p50, times" for mode in MODES) + " |")
        print("|---" * (1 + len(MODES)) + "|")
        for name in FILTERS:
            cells = []
            for mode in MODES:
                cold, warm = times[mode, name]
                plain = [statistics.median(times[mode, "no filter"][which]) for which in range(2)]
                ratios = [statistics.median(some) / base for some, base in zip((cold, warm), plain)]
                cells.append(
                    f"{percentile(cold, 0.5):.2f} / {percentile(cold, 0.99):.2f}, {ratios[0]:.1f}; {percentile(warm, 0.5):.2f}, {ratios[1]:.1f}"
                )
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
