#!/usr/bin/env python3
"""What a memory of conversations gives back: recall@5 and @10 of the evidence for a question, by session and by turn, through a whole node.

    python3 benches/compare/memory.py longmemeval_s.json locomo10.json     # whoever has the data
    python3 benches/compare/memory.py --generate 60                        # conversations made here, by fixed rules and a seed
    python3 benches/compare/memory.py FOLDER                               # judged collections, as for quality.py

It needs numpy and what the client for Python needs (grpcio, protobuf, googleapis-common-protos): the `.venv` of benches/compare has them, or
`PYTHONPATH=target/python-packages` after `node/clients/python/check`. The data are read from files, and nothing is fetched.

Formats, told by what is in a file:

- LongMemEval: a list of questions, each with its own `haystack_sessions` (lists of {"role", "content", "has_answer"}), their
  `haystack_session_ids` and `haystack_dates`, `answer_session_ids` and a `question_type`. Evidence are these sessions, and in them the turns
  with `has_answer`. Questions that have no answer (`..._abs`) are left out.
- LoCoMo: a list of conversations, each with `conversation` (`session_N`, lists of {"speaker", "dia_id", "text"}, and `session_N_date_time`) and
  `qa` ({"question", "category", "evidence"}). Evidence are the turns that `evidence` names ("D3:11") and their sessions. The adversarial
  questions (category 5) have rows of their own and are not in the total. A folder of files with one conversation each, whose sessions stand
  beside `qa`, is what the first release had.
- Judged collections: each document is a session, cut into turns at paragraphs; evidence are the documents with a grade.

Each turn is a note with its speaker in the text, the date of its session as title, and a topic for its haystack, which a question is limited to.
Turns of more than 1,000 characters become several notes. A session, or turn, stands where its best note does. Haystacks are put into one
node, 50 at a time at most, and a new node is started for the next: how rare a word is, is counted over all of them.

The node is asked in three ways side by side: hybrid, by meaning alone, and by words alone (BM25). `recall` is the share of a question's evidence
among the first 5 or 10, averaged over the questions; `all` is the share of the questions whose evidence is there without a gap. LongMemEval's own
`recall_all` is that.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "node" / "clients" / "python" / "src"))

from synapsenet import Draft, Memory, Outcome, Source  # noqa: E402

from quality import RunningNode, collection_folders, read_collection  # noqa: E402

MODES = ("hybrid", "meaning", "words")
DEPTHS = (5, 10)
# A longer turn is more than the model reads at once.
MAX_NOTE_CHARACTERS = 1000
# Notes asked for: several are of one turn, and many of one session. Where they are too few for 10 sessions, all that a node gives.
HITS, MOST_HITS = 64, 1000
MAX_INDEXING_SECONDS = 3600
LOCOMO_KINDS = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
WHAT_TO_GIVE = (
    "Give a file as it was released, such as longmemeval_s.json or locomo10.json, or a folder of judged collections; the first lines of this "
    "program say what is in them, and --generate 60 makes conversations where there are none."
)
# Has no answer, and evidence all the same: it is not in the total.
APART = {"adversarial"}


@dataclass
class Question:
    text: str
    kind: str
    #: Names of the sessions, and (session, place) of the turns, that the answer is in. Without turns only sessions count.
    sessions: set
    turns: set


@dataclass
class Haystack:
    """Sessions by name: their date and their turns. And what is asked about them."""

    sessions: dict = field(default_factory=dict)
    questions: list = field(default_factory=list)


# Reading.


def read_longmemeval(entries):
    haystacks = []
    for entry in entries:
        if entry["question_id"].endswith("_abs"):
            continue
        haystack = Haystack()
        dates = entry.get("haystack_dates") or [""] * len(entry["haystack_sessions"])
        turns = set()
        for name, date, session in zip(entry["haystack_session_ids"], dates, entry["haystack_sessions"], strict=True):
            haystack.sessions[name] = (date, [f"{turn['role']}: {turn['content']}" for turn in session])
            turns |= {(name, place) for place, turn in enumerate(session) if turn.get("has_answer")}
        evidence = set(entry["answer_session_ids"])
        if not evidence <= haystack.sessions.keys():
            raise SystemExit(f"memory: {entry['question_id']}: its evidence is not among its sessions")
        turns = {turn for turn in turns if turn[0] in evidence}
        haystack.questions.append(Question(entry["question"], entry["question_type"], evidence, turns))
        haystacks.append(haystack)
    return haystacks


def read_locomo(conversations):
    haystacks = []
    for entry in conversations:
        haystack, places = Haystack(), {}
        talk = entry.get("conversation", entry)
        for name in sorted((key for key in talk if re.fullmatch(r"session_\d+", key)), key=lambda key: int(key[8:])):
            said = []
            for place, turn in enumerate(talk[name] or []):
                picture = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
                said.append(f"{turn['speaker']}: {turn.get('text', '')}{picture}")
                places[turn["dia_id"]] = (name, place)
            haystack.sessions[name] = (talk.get(f"{name}_date_time", ""), said)
        for asked in entry["qa"]:
            # Some name several in one string, and a few none that there is.
            named = re.findall(r"D:?(\d+):(\d+)", " ".join(map(str, asked.get("evidence") or [])))
            turns = {places[f"D{int(session)}:{int(turn)}"] for session, turn in named if f"D{int(session)}:{int(turn)}" in places}
            if turns:
                kind = LOCOMO_KINDS.get(asked["category"], str(asked["category"]))
                haystack.questions.append(Question(asked["question"], kind, {session for session, _ in turns}, turns))
        haystacks.append(haystack)
    return haystacks


def read_judged(folder):
    documents, queries, grades = read_collection(folder)
    haystack = Haystack({name: ("", re.split(r"\n\s*\n", text.strip()) if text.strip() else []) for name, text in documents.items()})
    for query, text in queries.items():
        evidence = {name for name, grade in grades[query].items() if grade > 0 and name in documents}
        haystack.questions.append(Question(text, "judged", evidence, set()))
    return [haystack]


def read(path):
    """The haystacks of a file or folder: [(name, haystacks)]."""
    judged = collection_folders(path) if path.is_dir() else []
    if judged:
        return [(folder.name, read_judged(folder)) for folder in judged]
    entries = []
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SystemExit(f"memory: {file} cannot be read as JSON: {error}. {WHAT_TO_GIVE}") from None
        entries += read if isinstance(read, list) else [read]
    first = entries[0] if entries and isinstance(entries[0], dict) else {}
    try:
        if "haystack_sessions" in first:
            return [(path.stem, read_longmemeval(entries))]
        if "qa" in first and "session_1" in first.get("conversation", first):
            return [(path.stem, read_locomo(entries))]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SystemExit(f"memory: {path} begins like one of the forms and does not go on so ({error!r}). {WHAT_TO_GIVE}") from None
    raise SystemExit(f"memory: {path} is neither like LongMemEval (haystack_sessions) nor like LoCoMo (conversation, qa). {WHAT_TO_GIVE}")


# Asking.


def pieces(text):
    """A text in pieces of at most MAX_NOTE_CHARACTERS, cut after a line, a sentence or a word."""
    while len(text) > MAX_NOTE_CHARACTERS:
        head = text[:MAX_NOTE_CHARACTERS]
        ends = [head.rfind(mark) + len(mark) for mark in ("\n", ". ", " ") if head.rfind(mark) >= MAX_NOTE_CHARACTERS // 2]
        end = ends[0] if ends else MAX_NOTE_CHARACTERS
        yield text[:end]
        text = text[end:]
    if text.strip():
        yield text


def remember(memory, haystacks):
    """Puts haystacks in, each under a topic of its own. {id of a note: [(session, place)]} of each, as some say the same."""
    drafts, said_by = [], []
    for number, haystack in enumerate(haystacks):
        for session, (date, turns) in haystack.sessions.items():
            for place, turn in enumerate(turns):
                for piece in pieces(turn):
                    drafts.append(Draft(piece, title=str(date)[:200], topic=f"h{number}", source=Source(f"session:{session}"[:1024], place)))
                    said_by.append((number, (session, place)))
    turns_of = [defaultdict(list) for _ in haystacks]
    for added in memory.add_many(drafts, wait=False):
        if added.outcome is Outcome.REFUSED:
            raise SystemExit(f"memory: a turn was refused: {added.reason}")
        number, turn = said_by[added.ordinal]
        turns_of[number][added.id].append(turn)
    memory.wait(MAX_INDEXING_SECONDS)
    return len(drafts), turns_of


def rankings(memory, number, turns_of, questions, mode):
    """The turns for each question, best first; as many that 10 sessions are among them, if so many are found."""

    def turns(hits):
        return list(dict.fromkeys(turn for hit in hits for turn in turns_of[hit.id]))

    # As nothing is left out for a low score, what is at the end is found, too.
    how = {"topic": f"h{number}", "mode": mode, "min_score": -1.0, "all_copies": True, "timeout": 600}
    found = memory.search_many([question.text for question in questions], HITS, **how)
    for at, hits in enumerate(found):
        if len(hits) == HITS and len({session for session, _ in turns(hits)}) < max(DEPTHS):
            hits = memory.search(questions[at].text, MOST_HITS, **how)
        yield turns(hits)


class Score:
    """Figures of one kind of question, summed up."""

    def __init__(self):
        self.by = {what: defaultdict(list) for what in ("session", "turn")}

    def count(self, question, ranked):
        sessions = list(dict.fromkeys(session for session, _ in ranked))
        for what, evidence, found in (("session", question.sessions, sessions), ("turn", question.turns, ranked)):
            for depth in DEPTHS if evidence else ():
                share = len(evidence & set(found[:depth])) / len(evidence)
                self.by[what][f"recall@{depth}"].append(share)
                self.by[what][f"all@{depth}"].append(float(share == 1.0))

    def cells(self):
        columns = [(what, f"{figure}@{depth}") for what in self.by for figure in ("recall", "all") for depth in DEPTHS]
        return [f"{sum(self.by[what][name]) / len(self.by[what][name]):.3f}" if self.by[what][name] else "" for what, name in columns]


def measure(binary, haystacks, modes, batch):
    """{mode: {kind: Score}}, how many notes there were, and the seconds of putting in and of asking."""
    scores = {mode: defaultdict(Score) for mode in modes}
    notes, seconds = 0, {"putting in": 0.0, "asking": 0.0}
    for start in range(0, len(haystacks), batch):
        some = haystacks[start : start + batch]
        with tempfile.TemporaryDirectory(prefix="syn-") as scratch:
            folder = Path(scratch) / "data"
            folder.mkdir(mode=0o700)
            running = RunningNode(binary, folder)
            running.environment["SYNAPSENET_NETWORK__ENABLED"] = "false"
            with running, Memory(data_dir=folder) as memory:
                began = time.monotonic()
                count, turns_of = remember(memory, some)
                notes += count
                seconds["putting in"] += time.monotonic() - began
                began = time.monotonic()
                for number, haystack in enumerate(some):
                    for mode in modes:
                        ranked = rankings(memory, number, turns_of[number], haystack.questions, mode)
                        for question, turns in zip(haystack.questions, ranked, strict=True):
                            scores[mode][question.kind].count(question, turns)
                            if question.kind not in APART:
                                scores[mode]["all kinds"].count(question, turns)
                seconds["asking"] += time.monotonic() - began
    return scores, notes, seconds


def show(name, haystacks, measured):
    scores, notes, seconds = measured
    questions = [question for haystack in haystacks for question in haystack.questions]
    sessions = sum(len(haystack.sessions) for haystack in haystacks)
    took = ", ".join(f"{what} {took:.0f} s" for what, took in seconds.items())
    print(f"\n{name}: {len(questions)} questions about {sessions} sessions, {notes} notes; {took}\n")
    heads = [f"{what} {figure}@{depth}" for what in ("session", "turn") for figure in ("recall", "all") for depth in DEPTHS]
    print("| " + " | ".join(["kind", "questions", "mode", *heads]) + " |\n" + "|---" * (3 + len(heads)) + "|")
    kinds = sorted({question.kind for question in questions})
    for kind in kinds if len(kinds) == 1 else [*kinds, "all kinds"]:
        for mode, by_kind in scores.items():
            count = len(by_kind[kind].by["session"]["recall@5"])
            print("| " + " | ".join([kind, str(count), mode, *by_kind[kind].cells()]) + " |", flush=True)


# Making.

# What somebody says of himself, in other words than he asks for it later; the values, and how the same is said of others and in general.
FACTS = [
    (
        ["We finally named the puppy {}", "{} chewed up my slippers again, bad dog"],
        "What is my pet called?",
        ["Biscuit", "Pixel", "Mango", "Waffle"],
        ["My colleague walks her labrador at six", "How often should a puppy eat?"],
    ),
    (
        ["I started as a {} in March", "Another long shift as a {} today"],
        "What do I do for a living?",
        ["night nurse", "bus driver", "land surveyor", "pastry chef"],
        ["My brother looks for a new position", "How do I write a letter of application?"],
    ),
    (
        ["The boxes are unpacked, {} feels like home already", "We signed the lease for the flat in {}"],
        "In which town do I live?",
        ["Tromso", "Ghent", "Salzburg", "Cork"],
        ["My parents moved to the coast", "What should I ask a landlord before I rent?"],
    ),
    (
        ["I came out in a rash after the {} again", "The doctor says no more {} for me"],
        "Which food must I avoid?",
        ["walnuts", "shellfish", "celery", "strawberries"],
        ["My nephew dislikes spinach", "What can I cook for guests who eat no meat?"],
    ),
    (
        ["The old {} failed its inspection", "I fixed the brakes of the {} myself"],
        "Which car do I own?",
        ["Saab 900", "Fiat Panda", "Volvo 240", "Renault 4"],
        ["My boss leases an electric van", "When do I change to winter tyres?"],
    ),
    (
        ["I practise the {} every evening, the neighbours suffer", "My {} needs new strings"],
        "Which instrument do I play?",
        ["cello", "mandolin", "viola", "banjo"],
        ["My daughter sings in a choir", "How do I read sheet music faster?"],
    ),
    (
        ["We said yes to each other on {}", "Every {} we open the good bottle, it is our day"],
        "When did I get married?",
        ["the ninth of June", "the second of May", "the last day of August", "the fifth of October"],
        ["My cousin is engaged since Christmas", "What does one give for a silver wedding?"],
    ),
    (
        ["Nothing beats {} when it rains", "I could eat {} every day of the week"],
        "What is my favourite meal?",
        ["mushroom risotto", "lentil soup", "potato pancakes", "ramen"],
        ["The canteen serves fish on Fridays", "How long do beans have to soak?"],
    ),
    (
        ["Doctor {} put in the crown this morning", "Doctor {} says I should floss more"],
        "Who looks after my teeth?",
        ["Okafor", "Lindqvist", "Moreau", "Tanaka"],
        ["My mother has a new optician", "Does an electric toothbrush clean better?"],
    ),
    (
        ["We painted the kitchen {}", "The {} on the kitchen walls has dried nicely"],
        "What colour are the walls of the room where I cook?",
        ["sage green", "butter yellow", "brick red", "pale blue"],
        ["The landlord wants white ceilings", "How many coats of paint does wood need?"],
    ),
    (
        ["{} is younger than me by two years and still bosses me around", "I helped my sister {} with her move"],
        "What is my sibling's name?",
        ["Ingrid", "Paloma", "Noor", "Beatrix"],
        ["Our neighbour's twins start school", "What is a good present for a niece?"],
    ),
    (
        ["I signed up for {} on Tuesdays", "My shoulders ache from {}"],
        "What exercise do I do?",
        ["climbing", "rowing", "fencing", "water polo"],
        ["The gym raised its prices", "How does one warm up properly?"],
    ),
    (
        ["The plate on the boiler says {}", "I read the number of the boiler to the engineer: {}"],
        "What is the serial number of the boiler?",
        ["BX-4471-09", "KT-9920-15", "RM-3108-77", "VL-6253-40"],
        ["The chimney sweep comes in autumn", "Which pressure does a heating need?"],
    ),
    (
        ["At the cabin one gets online with {}", "Write down {} for the router at the cabin"],
        "What is the wifi password at the cabin?",
        ["heron-lake-82", "mossy-stone-17", "birch-trail-55", "amber-owl-31"],
        ["The cabin needs a new roof", "How far does a router reach through walls?"],
    ),
    (
        ["I am halfway through {}", "{} keeps me awake, one more chapter each night"],
        "Which book am I reading?",
        ["Middlemarch", "The Leopard", "Solaris", "Austerlitz"],
        ["The library is closed on Mondays", "How do I start a reading group?"],
    ),
    (
        ["We take off for Oslo at {}", "Be at the airport in good time, the Oslo plane goes at {}"],
        "At what time do I fly to Oslo?",
        ["6:45", "11:20", "17:05", "21:50"],
        ["My suitcase lost a wheel", "What may I carry on board?"],
    ),
]
CHAT = [
    ("Can you help me plan my week?", "Of course. List what must be done, then what may wait."),
    ("I slept badly.", "That is annoying. A darker and cooler room helps many people."),
    ("Explain compound interest to me.", "Interest is added to what is owed, and bears interest itself from then on."),
    ("What is a good name for a band?", "How about The Borrowed Umbrellas?"),
    ("Translate good morning into Finnish.", "Hyvää huomenta."),
    ("Why is the sky blue?", "Air scatters short waves of light more than long ones."),
    ("Give me a tip for writing mails.", "Say in the first line what you want."),
    ("My printer jams.", "Take the paper out, fan it, and clean the rollers."),
    ("How do I descale a kettle?", "Boil vinegar and water in it, wait an hour, rinse well."),
    ("Tell me a riddle.", "What has keys and opens no door? A piano."),
    ("Recommend a walk for Sunday.", "Along a river one does not get lost."),
    ("What does idempotent mean?", "Doing it twice is the same as doing it once."),
    ("I am bored.", "Then it is time to sort photographs."),
    ("How do plants drink?", "Water rises from root to leaf, drawn by what evaporates there."),
    ("Who invented the zip?", "Several did; Sundback's of 1913 is the one that worked."),
    ("Shorten this sentence, please.", "Gladly: which one?"),
]
ANSWERS = ["Noted, thank you for telling me.", "I see. Is there anything that I can do?", "Good to know."]
SESSIONS, EXCHANGES = 24, 5


def generate(count, seed):
    """Questions in the form of LongMemEval: a third about something said once, a third about something that changed, where both sessions are
    evidence, and a third about two things that were said in two sessions. Each haystack has 24 sessions of 5 exchanges, in which the same
    subjects come up without the answer."""
    dice = random.Random(seed)
    entries = []
    for number in range(count):
        kind = ("single-session-user", "knowledge-update", "multi-session")[number % 3]
        chosen = dice.sample(FACTS, 2)
        if kind == "multi-session":
            said = [(statements[0], dice.choice(values)) for statements, _, values, _ in chosen]
            question = " And ".join([chosen[0][1], chosen[1][1][0].lower() + chosen[1][1][1:]])
        else:
            statements, question, values, _ = chosen[0]
            said = list(zip(statements, dice.sample(values, 2)))[: 1 if kind == "single-session-user" else 2]
        sessions = []
        for _ in range(SESSIONS):
            talk = []
            for _ in range(EXCHANGES):
                if dice.random() < 0.4:
                    asked, answer = dice.choice(dice.choice(FACTS)[3]), dice.choice(ANSWERS)
                else:
                    asked, answer = dice.choice(CHAT)
                talk += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            sessions.append(talk)
        where = sorted(dice.sample(range(SESSIONS), len(said)))
        for session, (statement, value) in zip(where, said):
            place = 2 * dice.randrange(EXCHANGES)
            sessions[session][place] = {"role": "user", "content": statement.format(value) + ".", "has_answer": True}
            sessions[session][place + 1]["content"] = dice.choice(ANSWERS)
        names = [f"g{number}-{session}" for session in range(SESSIONS)]
        entries.append(
            {
                "question_id": f"g{number}",
                "question_type": kind,
                "question": question,
                "haystack_session_ids": names,
                "haystack_dates": [f"2025/{1 + session // 2:02}/{1 + 13 * (session % 2):02}" for session in range(SESSIONS)],
                "haystack_sessions": sessions,
                "answer_session_ids": [names[session] for session in where],
            }
        )
    return entries


def main():
    parser = argparse.ArgumentParser(description="Measures how much of the evidence for questions about conversations is found.")
    parser.add_argument("data", type=Path, nargs="*", help="files of LongMemEval or LoCoMo, a folder of these, or one of judged collections")
    parser.add_argument("--generate", type=int, metavar="N", help="make N questions with their conversations, and measure these, too")
    parser.add_argument("--seed", type=int, default=1, help="what these follow from (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write what was made here, in the form of LongMemEval")
    parser.add_argument("--modes", default=",".join(MODES), help="in which modes the node is asked (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=50, help="haystacks in one node (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="no more than so many haystacks of each")
    parser.add_argument("--synapsenet", type=Path, default=ROOT / "target" / "release" / "synapsenet")
    arguments = parser.parse_args()
    if not arguments.data and not arguments.generate:
        parser.error("name data, or --generate N")
    sets = [one for path in arguments.data for one in read(path)]
    if arguments.generate:
        made = generate(arguments.generate, arguments.seed)
        if arguments.out:
            arguments.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        sets.append((f"generated ({arguments.generate} with seed {arguments.seed})", read_longmemeval(made)))
    for name, haystacks in sets:
        haystacks = haystacks[: arguments.limit]
        show(name, haystacks, measure(arguments.synapsenet, haystacks, arguments.modes.split(","), arguments.batch))


if __name__ == "__main__":
    main()
