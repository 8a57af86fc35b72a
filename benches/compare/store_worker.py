"""The inside of a process of `stores.py`: one stack, opened when it starts, which does what it is asked, one JSON line in, one out."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import OnnxRuntime
from store_stacks import HITS, Unavailable, model_file, open_stack

MAX_LOOKS = 1000
CALIBRATION_TEXTS = 512
BATCH_SIZES = (8, 32)
# Scores nearer than this are the same: either text belongs to the ten best.
SAME_SCORE = 1e-5
SYNC_CALLS = ("fsync", "fdatasync", "msync", "sync_file_range")


def cpu_seconds(pid):
    """CPU time that a process has taken, all threads, by its own clock (see clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid):
    """Resident memory of a process: at its peak and now, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024 / 1e6 for key in ("VmHWM", "VmRSS"))


def load(stack, request):
    """Hands over one of several parts of the texts, and ends when its last one is the first hit for itself. The last part settles the stack."""
    texts = json.loads(Path(request["texts"]).read_text())
    turn, turns = request["turn"], request["turns"]
    part = texts[len(texts) * turn // turns : len(texts) * (turn + 1) // turns]
    start, cpu = time.perf_counter(), cpu_seconds(stack.pid)
    stack.add(part)
    if turn + 1 == turns:
        stack.settle()
    stack.await_found()
    look_for(stack, part[-1])
    return {"found_s": time.perf_counter() - start, "cpu_s": cpu_seconds(stack.pid) - cpu}


def look_for(stack, text):
    """Asks with a stored text until it is the first hit."""
    for _ in range(MAX_LOOKS):
        if stack.ask(text)[:1] == [text]:
            return
    raise SystemExit(f"not found after {MAX_LOOKS} looks: {text}")


def ask(stack, request):
    """Asks each question once, one after the other, warmed up by others."""
    for question in request["warm_up"]:
        stack.ask(question)
    times, hits = [], []
    cpu, own = cpu_seconds(stack.pid), time.process_time()
    for question in request["questions"]:
        start = time.perf_counter()
        found = stack.ask(question)
        times.append((time.perf_counter() - start) * 1e3)
        hits.append(found)
    cpu, own = cpu_seconds(stack.pid) - cpu, time.process_time() - own
    peak, resident = memory_mb(stack.pid)
    client = own if stack.pid != os.getpid() else 0.0
    return {"ms": times, "hits": hits, "cpu_s": cpu, "client_cpu_s": client, "peak_mb": peak, "resident_mb": resident}


def write(stack, request):
    """Writes one text after the other, each when the one before was found."""
    acknowledged, found = [], []
    for text in request["texts"]:
        start = time.perf_counter()
        stack.write(text)
        acknowledged.append((time.perf_counter() - start) * 1e3)
        stack.await_found()
        look_for(stack, text)
        found.append((time.perf_counter() - start) * 1e3)
    return {"acknowledged_ms": acknowledged, "found_ms": found}


def trace(stack, request):
    """Counts the calls that bring data to the disk during single writes: {call: a write}, or nothing without strace."""
    if not shutil.which("strace"):
        return {}
    with tempfile.NamedTemporaryFile("r") as summary:
        command = ["strace", "-f", "-c", "-o", summary.name, "-e", f"trace={','.join(SYNC_CALLS)}", "-p", str(stack.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while tracer.poll() is None and not is_traced(stack.pid):
            time.sleep(0.01)
        if tracer.poll() is not None:
            print(f"not traced: {tracer.stderr.read().strip()}", file=sys.stderr)
            return {}
        write(stack, request)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()
        rows = (line.split() for line in summary.read().splitlines())
        # The fourth column counts the calls, the last one names them.
        calls = {row[-1]: int(row[3]) for row in rows if row and row[-1] in SYNC_CALLS}
    return {call: calls.get(call, 0) / len(request["texts"]) for call in SYNC_CALLS}


def is_traced(pid):
    """Whether a tracer holds every thread of a process."""
    try:
        return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:  # A thread has just ended.
        return False


def stream(stack, request):
    """Writes without end and says each handle once it is acknowledged, until somebody kills what answers."""
    try:
        for text in request["texts"]:
            print(json.dumps({"handle": stack.write(text), "text": text}), flush=True)
    except Exception:
        # A node is gone by now, as it was meant to be. A store in this process would have taken this with it.
        if stack.pid == os.getpid():
            raise
    return {"ended": True}


def check(stack, request):
    """What became of acknowledged texts: how many are gone, are other texts now, or are there and not the first hit for themselves."""
    stack.await_found()
    stored = stack.read([entry["handle"] for entry in request["written"]])
    damaged = sum(text is not None and text != entry["text"] for text, entry in zip(stored, request["written"]))
    unfound = sum(stack.ask(text)[:1] != [text] for text in request["look_for"])
    return {"missing": stored.count(None), "damaged": damaged, "unfound": unfound}


CALLS = {"load": load, "ask": ask, "write": write, "trace": trace, "stream": stream, "check": check}


def serve(name, folder, options):
    """Opens the stack, answers a first question if there is one, then does what it is asked until its input ends."""
    try:
        stack = open_stack(name, folder, options)
    except Unavailable as reason:
        print(json.dumps({"unavailable": str(reason)}), flush=True)
        return
    hello = {"pid": stack.pid}
    if options.question:
        hello["first"] = stack.ask(options.question)
        answered = time.monotonic()
        hello |= {"answered_ms": (answered - stack.began) * 1e3, "imported_ms": (stack.imported - stack.began) * 1e3}
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(CALLS[request["call"]](stack, request)), flush=True)
    stack.close()


def write_reference(texts, questions, out, options):
    """Writes the better batch size and, for each question, the texts that belong to the ten best by exact search."""
    import numpy

    encoder = OnnxRuntime(options.threads, model_file(options.variant))
    sample = texts[:CALIBRATION_TEXTS]
    seconds = {size: statistics.median(timed_encoding(encoder, sample, size) for _ in range(3)) for size in BATCH_SIZES}
    batch = min(seconds, key=seconds.get)
    scores = encoder.encode(questions, batch) @ encoder.encode(texts, batch).T
    tenth = numpy.sort(scores, axis=1)[:, -HITS]
    best = [[texts[at] for at in numpy.flatnonzero(row >= least - SAME_SCORE)] for row, least in zip(scores, tenth)]
    out.write_text(json.dumps({"batch": batch, "best": best}))


def timed_encoding(encoder, texts, batch_size):
    """Seconds that it takes to embed texts."""
    start = time.perf_counter()
    encoder.encode(texts, batch_size)
    return time.perf_counter() - start
