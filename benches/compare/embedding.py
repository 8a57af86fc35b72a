#!/usr/bin/env python3
"""Embedding throughput of the node's embedder beside that of three Python stacks, in the same run.

    cargo build --release --workspace --bins
    benches/compare/setup
    .venv/bin/python benches/compare/embedding.py

Every stack gets the same texts. They take turns, round by round and set by set, so that a busy machine slows all of them alike. A peer lives
in a process of its own and waits there until it is asked. Tokenizing is part of the time, loading is not.

`single` gives one text a run. `batched` hands over the whole set: the better of the batch sizes 8 and 32 counts for each peer, ours plans its
own batches. Ours has one session with as many threads as the peers have, as in the node.

A measurement goes through its set once to warm up, then again and again for some seconds, because a processor that was idle, and threads that
slept, need a while to be at their best; its wall-clock rate is that of the median pass. Two figures are printed for each: the best wall-clock
rate of all rounds, and the best rate by CPU time, which other work on the machine disturbs less. `x` is our rate divided by the peer's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import PEERS, ROOT, set_threads
from texts import text_sets

OURS = "ours"
BATCH_SIZES = (8, 32)
WARM_UP = ["a first run is slower than the rest"]


class PeerProcess:
    """A peer in a process of its own, which measures one set at a time when it is asked to."""

    def __init__(self, name, threads, texts):
        command = [sys.executable, __file__, "--peer", name, "--threads", str(threads), "--texts", str(texts)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = name
        # The first line tells that it is loaded.
        self.loaded = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended unasked with exit code {self.process.wait()}; its message stands above")
        return json.loads(line)

    def measure(self, set_name, batched, seconds):
        """The better of the batch sizes, or one text a run."""
        results = []
        for batch_size in BATCH_SIZES if batched else (1,):
            self.process.stdin.write(json.dumps({"set": set_name, "batch_size": batch_size, "seconds": seconds}) + "\n")
            self.process.stdin.flush()
            results.append(self.answer())
        return {
            "texts_per_s": max(result["texts_per_s"] for result in results),
            "texts_per_cpu_s": max(result["texts_per_cpu_s"] for result in results),
            "rss_mb": max(result["rss_mb"] for result in results),
        }

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OurBinary:
    """`embed_bench`, started for each set, because it loads in a fraction of a second."""

    name = OURS

    def __init__(self, binary, variant, threads, texts):
        self.binary, self.variant, self.threads, self.texts = binary, variant, threads, texts
        self.loaded = {"load_s": None}

    def measure(self, set_name, batched, seconds):
        command = [str(self.binary), "--texts", str(self.texts), "--set", set_name, "--rounds", "1", "--seconds", str(seconds)]
        command += ["--mode", "batched" if batched else "single", "--threads", str(self.threads), "--variant", self.variant]
        environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so")} | os.environ
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()[-1])
        # /proc counts CPU time in hundredths of a second, so a very short run may show none.
        per_cpu = result["texts"] / result["cpu_s"] if result["cpu_s"] else 0.0
        return {"texts_per_s": result["texts_per_s"], "texts_per_cpu_s": per_cpu, "rss_mb": result["rss_mb"]}

    def close(self):
        pass


def serve_peer(name, threads, texts):
    """The inside of a peer's process: one JSON line in, one out."""
    set_threads(threads)
    sets = json.loads(texts.read_text())
    start = time.perf_counter()
    peer = PEERS[name](threads)
    peer.encode(WARM_UP, 1)
    print(json.dumps({"load_s": round(time.perf_counter() - start, 2)}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        batch = sets[request["set"]]
        read_all(peer, batch, request["batch_size"])
        walls, begin, cpu = [], time.perf_counter(), time.process_time()
        while not walls or time.perf_counter() - begin < request["seconds"]:
            start = time.perf_counter()
            read_all(peer, batch, request["batch_size"])
            walls.append(time.perf_counter() - start)
        cpu = (time.process_time() - cpu) / len(walls)
        wall = statistics.median(walls)
        print(json.dumps({"texts_per_s": len(batch) / wall, "texts_per_cpu_s": len(batch) / cpu, "rss_mb": peak_memory_mb()}), flush=True)


def read_all(peer, texts, batch_size):
    """Lets a peer embed a set once."""
    if batch_size > 1:
        peer.encode(texts, batch_size)
        return
    for text in texts:
        peer.encode([text], 1)


def peak_memory_mb():
    """Peak resident memory of this process in megabytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def compare(stacks, sets, modes, rounds, seconds):
    """Lets the stacks take turns; returns {(stack, set, mode): best of all rounds}."""
    best = {}
    for turn in range(rounds):
        for set_name in sets:
            for mode in modes:
                # Each round begins with another stack, so that none always runs on the warmest or the busiest machine.
                for stack in stacks[turn % len(stacks) :] + stacks[: turn % len(stacks)]:
                    result = stack.measure(set_name, mode == "batched", seconds)
                    seen = best.setdefault((stack.name, set_name, mode), result)
                    best[stack.name, set_name, mode] = {key: max(value, seen[key]) for key, value in result.items()}
    return best


def print_table(best, names, sets, modes, threads):
    """One table in Markdown: our ratio to each peer behind the peer's rate."""
    print(f"\n{threads} thread(s): texts/s (texts per CPU second), x = ours / peer by wall clock and by CPU time\n")
    print("| set | mode | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for set_name in sets:
        for mode in modes:
            cells = []
            ours = best.get((OURS, set_name, mode))
            for name in names:
                result = best[name, set_name, mode]
                cell = f"{result['texts_per_s']:.0f} ({result['texts_per_cpu_s']:.0f})"
                if ours and name != OURS:
                    wall = ours["texts_per_s"] / result["texts_per_s"]
                    cpu = ours["texts_per_cpu_s"] / result["texts_per_cpu_s"]
                    cell += f" x{wall:.2f} (x{cpu:.2f})"
                cells.append(cell)
            print(f"| {set_name} | {mode} | " + " | ".join(cells) + " |")
    memory = {name: max(result["rss_mb"] for (stack, *_), result in best.items() if stack == name) for name in names}
    print("\npeak resident MB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description="Compares embedding throughput side by side.")
    parser.add_argument("--texts", type=Path, help="JSON object of named lists of texts (default: made from the sample notes)")
    parser.add_argument("--sets", default="", help="comma-separated names of sets (default: all)")
    parser.add_argument("--modes", default="single,batched")
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads; with --peer, one number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="the least time of one measurement")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated names of peers")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "embed_bench")
    parser.add_argument("--variant", default="w8", help="what ours computes with: w8 or row8 (default: %(default)s)")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        serve_peer(arguments.peer, int(arguments.threads), arguments.texts)
        return
    with tempfile.TemporaryDirectory() as folder:
        texts = arguments.texts or Path(folder) / "texts.json"
        if not arguments.texts:
            texts.write_text(json.dumps(text_sets()))
        sets = arguments.sets.split(",") if arguments.sets else list(json.loads(texts.read_text()))
        modes = arguments.modes.split(",")
        for threads in map(int, arguments.threads.split(",")):
            stacks = [PeerProcess(name, threads, texts) for name in arguments.peers.split(",") if name]
            if arguments.binary.exists():
                stacks.insert(0, OurBinary(arguments.binary, arguments.variant, threads, texts))
            else:
                print(f"{arguments.binary} is missing, only the peers are measured: cargo build --release --workspace --bins")
            best = compare(stacks, sets, modes, arguments.rounds, arguments.seconds)
            print_table(best, [stack.name for stack in stacks], sets, modes, threads)
            for stack in stacks:
                stack.close()


if __name__ == "__main__":
    main()
