"""The memories that `stores.py` compares, each behind the same few calls: the node, and four stores with the model in their own process.

A *stack* is what somebody would run to remember texts and find them by meaning. It is opened on a folder, and again on the same folder after it
was closed or killed. Handles are what the stack names a text by.

    add(texts)        hands over many texts, returns when they are acknowledged as stored
    settle()          does what the stack's documentation asks for after a load, and returns when all of it can be found
    write(text)       hands over one text, returns its handle when it is acknowledged as stored
    await_found()     returns when what was written can be found, as far as the stack knows of such a thing
    ask(question)     the texts of the ten best hits, best first
    read(handles)     the stored texts, None for each that is not there
    close()           ends it properly
    pid               of the process that answers, the model in it
    began, imported   when that process began, if it is not this one, and when its packages were imported (`time.monotonic`)

Durability is what each documents for writes that must stay:

- the node: nothing to choose, an answer means that it is on disk;
- chromadb: `PersistentClient` as it is (SQLite's write-ahead log with synchronous FULL, the HNSW graph behind it);
- qdrant-edge: `update`, then `flush`, since its lifecycle says that changes are pending until then; `optimize` after a load, which builds the
  HNSW graph;
- lancedb: `add` as it is (a version of the table for each call, not synced); `optimize` after a load; no vector index, which its documentation
  calls unnecessary below some 100,000 rows;
- sqlite-vec: write-ahead log with synchronous FULL, one transaction for a text, its vector and its words in FTS5.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

from peers import DIMENSION, ROOT, OnnxRuntime

HITS = 10
# Texts that are embedded and handed to a store at once.
LOAD_BATCH = 2000
MODELS = {"w8": "all-MiniLM-L6-v2", "row8": "all-MiniLM-L6-v2-row8"}
MAX_START_SECONDS = 60
CALL_SECONDS = 600


class Unavailable(Exception):
    """What a stack needs is not here; says what."""


def model_file(variant):
    """The file that both the node and the stores compute vectors with."""
    return ROOT / "index" / "models" / MODELS[variant] / "model.onnx"


class Node:
    """synapsenet, asked over gRPC through its socket by this process."""

    def __init__(self, folder, options):
        if not options.binary.exists():
            raise Unavailable(f"{options.binary} is missing: cargo build --release --locked --workspace --bins")
        self.messages, services, self.grpc = self.import_api()
        self.folder = folder
        socket_path = folder / "api.sock"
        environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so"), "ORT_DISABLE_TELEMETRY": "1"} | os.environ
        environment["SYNAPSENET_AI__VARIANT"] = options.variant
        command = [options.binary, "run", "--offline", "--data-dir", folder, "--metrics-listen", "", "--api-listen", ""]
        # The client is running already when the node starts, as a program that embeds a store is.
        self.began = self.imported = time.monotonic()
        with open(folder.parent / f"{folder.name}.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.pid = self.process.pid
        self.await_socket(socket_path)
        self.channel = self.grpc.insecure_channel(f"unix:{socket_path}")
        self.stub = services.NodeServiceStub(self.channel)

    @staticmethod
    def import_api():
        """The API's messages and services, compiled from the schema as it is here."""
        try:
            import grpc
            import grpc_tools  # noqa: F401 (grpc.protos_and_services needs it)
        except ImportError as missing:
            raise Unavailable(f"the package {missing.name} is missing: benches/compare/setup") from missing
        sys.path.insert(0, str(ROOT / "proto" / "schema"))
        messages, services = grpc.protos_and_services("synapsenet/v1/node.proto")
        return messages, services, grpc

    def await_socket(self, path):
        """Returns when somebody listens at the socket. A socket that an ended node left behind refuses."""
        deadline = time.monotonic() + MAX_START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"the node did not start; see {self.folder.name}.log")
            time.sleep(0.001)

    def add(self, texts):
        requests = (self.messages.BulkPutRequest(draft=self.messages.Draft(text=text)) for text in texts)
        for answer in self.stub.BulkPut(requests, timeout=CALL_SECONDS):
            if answer.outcome != self.messages.PUT_OUTCOME_ADDED:
                raise SystemExit(f"the node did not add text {answer.ordinal}: {answer.reason or 'it was there already'}")

    def settle(self):
        self.await_found()

    def write(self, text):
        return self.stub.Put(self.messages.PutRequest(draft=self.messages.Draft(text=text)), timeout=CALL_SECONDS).id

    def await_found(self):
        for _ in self.stub.WaitIndexed(self.messages.WaitIndexedRequest(only_own=True), timeout=CALL_SECONDS):
            pass

    def ask(self, question):
        # By meaning alone and with copies, as the others are asked.
        request = self.messages.SearchRequest(text=question, k=HITS, mode="SEARCH_MODE_MEANING", min_score=-1, all_copies=True)
        answers = self.stub.Search(request, timeout=CALL_SECONDS)
        return [answer.hit.grain.text for answer in answers if answer.HasField("hit")]

    def read(self, handles):
        return [self.read_one(handle) for handle in handles]

    def read_one(self, handle):
        try:
            return self.stub.Get(self.messages.GetRequest(id=handle), timeout=CALL_SECONDS).grain.text
        except self.grpc.RpcError as error:
            if error.code() != self.grpc.StatusCode.NOT_FOUND:
                raise
            return None

    def close(self):
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Embedding:
    """What the stores have in common: the model in this process, and numbers as handles."""

    def __init__(self, options):
        import onnxruntime  # noqa: F401 (imported here so that its time counts as an import)
        import tokenizers  # noqa: F401

        self.imported = time.monotonic()
        self.began, self.pid = options.began, os.getpid()
        self.batch = options.batch
        self.encoder = OnnxRuntime(options.threads, model_file(options.variant))

    def add(self, texts):
        for start in range(0, len(texts), LOAD_BATCH):
            part = texts[start : start + LOAD_BATCH]
            self.store(self.next, part, self.encoder.encode(part, self.batch))
            self.next += len(part)

    def write(self, text):
        handle = self.next
        self.next += 1
        self.store(handle, [text], self.encoder.encode([text], 1))
        return handle

    def ask(self, question):
        return self.nearest(self.encoder.encode([question], 1)[0])

    def settle(self):
        pass

    def await_found(self):
        pass


class Chroma(Embedding):
    """chromadb in this process."""

    def __init__(self, folder, options):
        import chromadb

        super().__init__(options)
        self.client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
        self.notes = self.client.get_or_create_collection("notes", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
        self.next = self.notes.count()

    def store(self, first, texts, vectors):
        self.notes.add(ids=[str(first + at) for at in range(len(texts))], documents=texts, embeddings=vectors)

    def nearest(self, vector):
        return self.notes.query(query_embeddings=[vector], n_results=HITS, include=["documents"])["documents"][0]

    def read(self, handles):
        found = self.notes.get(ids=[str(handle) for handle in handles], include=["documents"])
        texts = dict(zip(found["ids"], found["documents"]))
        return [texts.get(str(handle)) for handle in handles]

    def close(self):
        self.client.close()


class QdrantEdge(Embedding):
    """One shard of Qdrant Edge in this process."""

    def __init__(self, folder, options):
        import qdrant_edge

        super().__init__(options)
        self.api = qdrant_edge
        if (folder / "edge_config.json").exists():
            self.shard = qdrant_edge.EdgeShard.load(str(folder))
        else:
            vectors = qdrant_edge.EdgeVectorParams(size=DIMENSION, distance=qdrant_edge.Distance.Cosine)
            self.shard = qdrant_edge.EdgeShard.create(str(folder), qdrant_edge.EdgeConfig(vectors=vectors))
        self.next = self.shard.count(qdrant_edge.CountRequest(exact=True))

    def store(self, first, texts, vectors):
        pairs = enumerate(zip(texts, vectors.tolist()), first)
        points = [self.api.Point(id=handle, vector=vector, payload={"text": text}) for handle, (text, vector) in pairs]
        self.shard.update(self.api.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def settle(self):
        self.shard.optimize()
        self.shard.flush()

    def nearest(self, vector):
        request = self.api.QueryRequest(query=self.api.Query.Nearest(vector.tolist()), limit=HITS, with_payload=True)
        return [point.payload["text"] for point in self.shard.query(request)]

    def read(self, handles):
        texts = {point.id: point.payload["text"] for point in self.shard.retrieve(handles, with_payload=True, with_vector=False)}
        return [texts.get(handle) for handle in handles]

    def close(self):
        self.shard.close()


class Lance(Embedding):
    """lancedb in this process."""

    def __init__(self, folder, options):
        import lancedb
        import pyarrow

        super().__init__(options)
        self.arrow = pyarrow
        vector = pyarrow.list_(pyarrow.float32(), DIMENSION)
        self.schema = pyarrow.schema([("handle", pyarrow.int64()), ("text", pyarrow.string()), ("vector", vector)])
        self.notes = lancedb.connect(str(folder)).create_table("notes", schema=self.schema, exist_ok=True)
        self.next = self.notes.count_rows()

    def store(self, first, texts, vectors):
        column = self.arrow.FixedSizeListArray.from_arrays(vectors.reshape(-1), DIMENSION)
        rows = {"handle": range(first, first + len(texts)), "text": texts, "vector": column}
        self.notes.add(self.arrow.table(rows, schema=self.schema))

    def settle(self):
        # It warns that others who read an older version would fail: there are none.
        warnings.filterwarnings("ignore", message=r"optimize\(cleanup_older_than")
        self.notes.optimize(cleanup_older_than=timedelta(0))

    def nearest(self, vector):
        query = self.notes.search(vector).distance_type("cosine").select(["text", "_distance"]).limit(HITS)
        return query.to_arrow()["text"].to_pylist()

    def read(self, handles):
        query = self.notes.search().where(f"handle IN ({', '.join(map(str, handles))})").select(["handle", "text"]).limit(len(handles))
        found = query.to_arrow().to_pydict()
        texts = dict(zip(found["handle"], found["text"]))
        return [texts.get(handle) for handle in handles]

    def close(self):
        pass


class SqliteVec(Embedding):
    """Python's sqlite3 with sqlite-vec for vectors and FTS5 for words; a question goes by the vectors, as with the others."""

    SCHEMA = f"""
        CREATE TABLE IF NOT EXISTS notes (handle INTEGER PRIMARY KEY, text TEXT NOT NULL);
        CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='notes', content_rowid='handle');
        CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0(vector float[{DIMENSION}] distance_metric=cosine);
    """
    NEAREST = """
        SELECT text FROM (SELECT rowid, distance FROM vectors WHERE vector MATCH ? AND k = ?) AS near
        JOIN notes ON notes.handle = near.rowid ORDER BY near.distance
    """

    def __init__(self, folder, options):
        import sqlite3

        import sqlite_vec

        if not hasattr(sqlite3.Connection, "enable_load_extension"):
            raise Unavailable(f"{sys.executable} was built without loadable extensions in sqlite3; Debian's python3 has them")
        super().__init__(options)
        self.database = sqlite3.connect(folder / "notes.db")
        self.database.enable_load_extension(True)
        sqlite_vec.load(self.database)
        self.database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + self.SCHEMA)
        self.next = self.database.execute("SELECT coalesce(max(handle) + 1, 0) FROM notes").fetchone()[0]

    def store(self, first, texts, vectors):
        rows = list(enumerate(texts, first))
        with self.database:
            self.database.executemany("INSERT INTO notes (handle, text) VALUES (?, ?)", rows)
            self.database.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", rows)
            pairs = ((first + at, vector.tobytes()) for at, vector in enumerate(vectors))
            self.database.executemany("INSERT INTO vectors (rowid, vector) VALUES (?, ?)", pairs)

    def nearest(self, vector):
        return [text for (text,) in self.database.execute(self.NEAREST, (vector.tobytes(), HITS))]

    def read(self, handles):
        found = [self.database.execute("SELECT text FROM notes WHERE handle = ?", (handle,)).fetchone() for handle in handles]
        return [row and row[0] for row in found]

    def close(self):
        self.database.close()


STACKS = {"node": Node, "chromadb": Chroma, "qdrant-edge": QdrantEdge, "lancedb": Lance, "sqlite-vec": SqliteVec}


def open_stack(name, folder, options):
    """Opens a stack on its folder, which may be new."""
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        return STACKS[name](Path(folder), options)
    except ImportError as missing:
        raise Unavailable(f"the package {missing.name} is missing: benches/compare/setup") from missing
