#!/usr/bin/env python3
"""The node beside the stores that people would use instead for a local memory: chromadb, Qdrant Edge, lancedb, sqlite-vec with FTS5.

    cargo build --release --locked --workspace --bins
    benches/compare/setup
    .venv/bin/python benches/compare/stores.py --texts FILE --limit 20000

FILE has one text a line. All stacks remember the same texts with the same model file (`--variant`), in the same run: the node computes vectors
itself, the stores get theirs from onnxruntime in their own process, sorted by length, in the better of the batch sizes 8 and 32. Each stack has
a process of its own and they take turns, phase by phase; each round begins with another one, on empty folders.
`store_stacks.py` says how each is called and which settings it has.

    load        all texts handed over in five turns, each until its last one is the first hit for itself
    ask         200 questions (the last eight words of texts that are not stored), each once, in five turns: text in, hits out, at the client
    restart     the process started anew on what is stored, until a first answer (files in the page cache), three times
    write       30 single texts, each until acknowledged and until it is the first hit for itself; then 10 under strace, if there is one
    kill        single texts without pause until kill -9, ten times; then every acknowledged text is looked up

Recall is that of exact search by the same vectors. CPU time and memory are those of the process that answers, the model included. In the
table `x` is above 1 where the node is better. Where a package or our binary is missing, the script says so and measures the others.

kill -9 leaves what the kernel has taken over: it tells nothing about a loss of power. Calls of fsync and its like tell more about that.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from peers import ROOT, set_threads
from store_stacks import HITS, MODELS, STACKS

SEED = 20240607
QUESTIONS = 200
WARM_UP = 40
# Texts are loaded and questions asked in so many turns, so that a busy minute meets every stack.
LOAD_TURNS = 5
QUESTION_TURNS = 5
QUESTION_WORDS = 8
RESTARTS = 3
SINGLE_WRITES = 30
TRACED_WRITES = 10
KILLS = 10
# Texts of a stream at most, and of those that were acknowledged as many as are searched for after each kill.
STREAM_TEXTS = 20_000
LOOKED_FOR = 10
# Between the first acknowledgement and the kill.
KILL_SECONDS = (0.2, 1.2)
# Stored texts that are asked for with their own words.
VERIFIED = 50

PHASES = ["load"] * LOAD_TURNS + ["verify"] + ["ask"] * QUESTION_TURNS + ["sum_up", "restart", "write", "kill"]

# (title, measure, decimals, whether more is better: None is without a ratio)
ROWS = [
    ("texts a second until all are found", "texts_per_s", 0, True),
    ("the same a CPU second", "texts_per_cpu_s", 0, True),
    ("question p50, ms", "question_p50_ms", 2, False),
    ("question p99, ms", "question_p99_ms", 2, False),
    ("CPU ms a question", "question_cpu_ms", 2, False),
    ("the same with the client's", "question_cpu_ms_with_client", 2, False),
    (f"recall@{HITS}", "recall", 4, True),
    ("bytes a text on disk", "bytes_per_text", 0, False),
    ("memory MB, peak", "peak_mb", 0, False),
    ("memory MB, restarted", "restarted_mb", 0, False),
    ("start to first answer, ms", "first_answer_ms", 0, False),
    ("of it Python and imports, ms", "imported_ms", 0, None),
    ("one write acknowledged, p50 ms", "acknowledged_ms", 2, False),
    ("one write found, p50 ms", "found_ms", 2, False),
    ("fsync and fdatasync a write", "syncs_per_write", 1, None),
    ("msync a write", "msyncs_per_write", 1, None),
    ("acknowledged before the kills", "acknowledged", 0, None),
    ("of them missing", "missing", 0, None),
    ("of them damaged", "damaged", 0, None),
    (f"not the first hit for itself, of {KILLS * LOOKED_FOR}", "unfound", 0, None),
]


class Worker:
    """A process with one stack in it, see `store_worker.py`. In a session of its own, so that what it started ends with it."""

    def __init__(self, name, folder, options, question=""):
        command = [sys.executable, __file__, "--worker", name, "--folder", str(folder), "--question", question]
        command += ["--variant", options.variant, "--threads", str(options.threads), "--batch", str(options.batch), "--binary", str(options.binary)]
        self.name = name
        command += ["--began", str(time.monotonic())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.hello = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended unasked with exit code {self.process.wait()}; its message stands above")
        return json.loads(line)

    def send(self, call, **request):
        self.process.stdin.write(json.dumps({"call": call} | request) + "\n")
        self.process.stdin.flush()

    def ask(self, call, **request):
        self.send(call, **request)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def abandon(self):
        """Ends it and what it started, if it is still there."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Candidate:
    """One stack in one round: its folder, its worker, and what was measured."""

    def __init__(self, name, folder, options, texts):
        self.name, self.folder, self.options, self.texts = name, folder, options, texts
        self.measured, self.loaded, self.asked = {}, [], []
        self.start()

    def start(self, question=""):
        self.worker = Worker(self.name, self.folder, self.options, question)

    def load(self):
        self.loaded.append(self.worker.ask("load", texts=str(self.texts.file), turn=len(self.loaded), turns=LOAD_TURNS))

    def verify(self):
        for key, measure in (("found_s", "texts_per_s"), ("cpu_s", "texts_per_cpu_s")):
            self.measured[measure] = len(self.texts.stored) / sum(loaded[key] for loaded in self.loaded)
        own = self.worker.ask("ask", warm_up=[], questions=self.texts.verified)["hits"]
        self.measured["verified"] = sum(hits[:1] == [text] for hits, text in zip(own, self.texts.verified))

    def ask(self):
        part = slice(len(self.asked), None, QUESTION_TURNS)
        asked = self.worker.ask("ask", warm_up=self.texts.warm_up[part], questions=self.texts.questions[part])
        self.asked.append(asked | {"best": self.texts.best[part]})

    def sum_up(self):
        times = sorted(time for asked in self.asked for time in asked["ms"])
        found = [len(set(hits) & set(best)) for asked in self.asked for hits, best in zip(asked["hits"], asked["best"])]
        cpu, client = (sum(asked[key] for asked in self.asked) * 1e3 / len(times) for key in ("cpu_s", "client_cpu_s"))
        self.measured |= {
            "question_p50_ms": statistics.median(times),
            "question_p99_ms": times[int(len(times) * 0.99)],
            "question_cpu_ms": cpu,
            "question_cpu_ms_with_client": cpu + client,
            "recall": sum(found) / (HITS * len(found)),
            "peak_mb": self.asked[-1]["peak_mb"],
        }
        self.worker.close()
        self.measured["bytes_per_text"] = disk_bytes(self.folder) / len(self.texts.stored)

    def restart(self):
        starts = []
        for turn in range(RESTARTS):
            if turn:
                self.worker.close()
            self.start(self.texts.verified[0])
            if self.worker.hello["first"][:1] != self.texts.verified[:1]:
                raise SystemExit(f"{self.name} did not find a stored text after a restart")
            starts.append(self.worker.hello)
        for key, measure in (("answered_ms", "first_answer_ms"), ("imported_ms", "imported_ms")):
            self.measured[measure] = statistics.median(hello[key] for hello in starts)
        asked = self.worker.ask("ask", warm_up=self.texts.warm_up, questions=self.texts.questions)
        self.measured["restarted_mb"] = asked["resident_mb"]

    def write(self):
        written = self.worker.ask("write", texts=self.texts.fresh(SINGLE_WRITES))
        for key in ("acknowledged_ms", "found_ms"):
            self.measured[key] = statistics.median(written[key])
        calls = self.worker.ask("trace", texts=self.texts.fresh(TRACED_WRITES))
        if calls:
            self.measured["syncs_per_write"] = calls["fsync"] + calls["fdatasync"]
            self.measured["msyncs_per_write"] = calls["msync"]
        self.worker.close()

    def kill(self):
        dice = random.Random(SEED)
        written, look_for = [], []
        for _ in range(KILLS):
            self.start()
            acknowledged = self.stream_until_killed(dice.uniform(*KILL_SECONDS))
            written += acknowledged
            look_for += [entry["text"] for entry in acknowledged[-LOOKED_FOR:]]
        self.start()
        self.measured |= self.worker.ask("check", written=written, look_for=look_for) | {"acknowledged": len(written)}
        self.worker.close()

    def stream_until_killed(self, seconds):
        """What was acknowledged until kill -9 hit the process that answers."""
        self.worker.send("stream", texts=self.texts.fresh(STREAM_TEXTS))
        acknowledged = [self.worker.answer()]
        killed = threading.Event()

        def kill():
            killed.set()
            os.kill(self.worker.hello["pid"], signal.SIGKILL)

        timer = threading.Timer(seconds, kill)
        timer.start()
        for line in self.worker.process.stdout:
            entry = json.loads(line) if line.endswith("\n") else {}
            if "handle" in entry:
                acknowledged.append(entry)
            else:  # The client of a killed node says that its stream ended, and has nothing to close.
                break
        if not killed.is_set():
            raise SystemExit(f"{self.name} stopped writing before it was killed")
        timer.join()
        self.worker.abandon()
        self.texts.give_back(STREAM_TEXTS - len(acknowledged) - 1)
        return acknowledged


class Texts:
    """The texts of a run: those that are stored, questions, and as many new ones as are wanted."""

    def __init__(self, lines, limit, folder):
        lines = list(dict.fromkeys(lines))
        random.Random(SEED).shuffle(lines)
        needed = limit + QUESTIONS + WARM_UP
        if len(lines) < needed:
            raise SystemExit(f"{needed} different texts are needed for --limit {limit}, there are {len(lines)}")
        self.stored = lines[:limit]
        # Without the marks that make conditions for the node of what is likeness for the others.
        plain = [line.replace('"', " ").replace("-", " ") for line in lines[limit:needed]]
        held_out = [" ".join(line.split()[-QUESTION_WORDS:]) for line in plain]
        self.questions, self.warm_up = held_out[:QUESTIONS], held_out[QUESTIONS:]
        self.verified = random.Random(SEED).sample(self.stored, min(VERIFIED, limit))
        self.file = folder / "texts.json"
        self.file.write_text(json.dumps(self.stored))
        self.taken = 0
        self.best = []

    def fresh(self, count):
        """Texts that were never handed out: stored ones under a number, so that none equals another."""
        numbers = range(self.taken, self.taken + count)
        self.taken += count
        return [f"note {number}: {self.stored[number % len(self.stored)]}" for number in numbers]

    def give_back(self, count):
        """The last ones were not written."""
        self.taken -= max(0, count)


def disk_bytes(folder):
    """What the files of a folder take on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def read_reference(texts, folder, options):
    """Exact search, in a process of its own: the best texts of each question, and the batch size for the stores."""
    job, out = folder / "reference-job.json", folder / "reference.json"
    job.write_text(json.dumps({"texts": texts.stored, "questions": texts.questions}))
    command = [sys.executable, __file__, "--worker", "reference", "--folder", str(job), "--out", str(out)]
    subprocess.run(command + ["--variant", options.variant, "--threads", str(options.threads)], check=True)
    reference = json.loads(out.read_text())
    texts.best, options.batch = reference["best"], reference["batch"]


def measure_round(names, turn, folder, texts, options):
    """One round of all stacks on empty folders: {stack: {measure: value}}."""
    candidates = []
    try:
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            candidate = Candidate(name, folder / f"{name}-{turn}", options, texts)
            if reason := candidate.worker.hello.get("unavailable"):
                print(f"{name} is left out: {reason}", flush=True)
                candidate.worker.close()
            else:
                candidates.append(candidate)
        for phase in PHASES:
            for candidate in candidates:
                start = time.perf_counter()
                getattr(candidate, phase)()
                print(f"round {turn + 1}, {phase}, {candidate.name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    finally:
        for candidate in candidates:
            candidate.worker.abandon()
    return {candidate.name: candidate.measured for candidate in candidates}


def medians(rounds):
    """{stack: {measure: median of all rounds}}; what was counted after kills is added up."""
    result = {}
    for name in rounds[0]:
        values = {key: [measured[name][key] for measured in rounds] for key in rounds[0][name]}
        added = ("acknowledged", "missing", "damaged", "unfound")
        result[name] = {key: sum(seen) if key in added else statistics.median(seen) for key, seen in values.items()}
    return result


def print_table(measured):
    """One table in Markdown: the ratio to the node behind each store's value."""
    names = [name for name in STACKS if name in measured]
    print("\n| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for title, key, decimals, more_is_better in ROWS:
        cells = []
        for name in names:
            value, ours = measured[name].get(key), measured.get("node", {}).get(key)
            cell = "not measured" if value is None else f"{value:.{decimals}f}"
            if name != "node" and ours and value and more_is_better is not None:
                ratio = ours / value if more_is_better else value / ours
                cell += f" x{ratio:.2f}"
            cells.append(cell)
        print(f"| {title} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="a file with one text a line")
    parser.add_argument("--limit", type=int, default=20_000, help="how many texts are stored (default: 20000)")
    parser.add_argument("--variant", choices=MODELS, default="w8", help="the model's variant that all compute with (default: w8)")
    parser.add_argument("--stacks", default=",".join(STACKS), help="comma-separated names (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of the stores' model; the node decides itself")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "synapsenet")
    for hidden in ("--worker", "--folder", "--question", "--out"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    names = options.stacks.split(",")
    if unknown := set(names) - set(STACKS):
        parser.error(f"no such stack: {', '.join(sorted(unknown))}")
    if not options.texts:
        parser.error("--texts is needed")
    # As with Ctrl-C: what was started ends, and its folders go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = Texts(options.texts.read_text(encoding="utf-8").splitlines(), options.limit, folder)
        load_average = [os.getloadavg()[0]]
        read_reference(texts, folder, options)
        rounds = [measure_round(names, turn, folder, texts, options) for turn in range(options.rounds)]
        load_average.append(os.getloadavg()[0])
    measured = medians(rounds)
    print(f"\n{options.limit} texts, {options.variant}, {options.threads} threads, batches of {options.batch}, {options.rounds} round(s)")
    print_table(measured)
    for name, values in measured.items():
        if values["verified"] < len(texts.verified):
            print(f"{name}: {values['verified']} of {len(texts.verified)} stored texts were the first hit for themselves")
    facts = {"texts": options.limit, "variant": options.variant, "threads": options.threads, "batch": options.batch}
    rounded = json.loads(json.dumps({"stacks": measured, "rounds": rounds}), parse_float=lambda digits: round(float(digits), 4))
    print(json.dumps(facts | {"load_average": load_average} | rounded))


def work(options):
    """The inside of a process that this script started."""
    set_threads(options.threads)
    import store_worker

    if options.worker == "reference":
        job = json.loads(Path(options.folder).read_text())
        store_worker.write_reference(job["texts"], job["questions"], Path(options.out), options)
        return
    store_worker.serve(options.worker, Path(options.folder), options)


if __name__ == "__main__":
    main()
