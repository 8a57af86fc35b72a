"""benches/compare/memory.py, which is the longest program that uses this package: its formats, its figures, and a run on a real node."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT, Node, program

FOLDER = ROOT / "benches" / "compare"


@pytest.fixture(scope="module")
def harness() -> Any:
    """The program as a module."""
    pytest.importorskip("numpy")
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("harness_of_memory", FOLDER / "memory.py")
        assert spec is not None and spec.loader is not None
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


LONGMEMEVAL = [
    {
        "question_id": "one",
        "question_type": "single-session-user",
        "question": "Where is the key?",
        "haystack_session_ids": ["a", "b"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
        "haystack_sessions": [
            [{"role": "user", "content": "The key is at Maria's.", "has_answer": True}, {"role": "assistant", "content": "Noted."}],
            [{"role": "user", "content": "It rains.", "has_answer": False}],
        ],
        "answer_session_ids": ["a"],
    },
    {"question_id": "two_abs", "question_type": "single-session-user"},
]
LOCOMO = [
    {
        "conversation": {
            "speaker_a": "Ann",
            "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "I play the cello.", "blip_caption": "a cello"}],
            "session_10_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [{"speaker": "Bob", "dia_id": "D1:1", "text": "Hello."}, {"speaker": "Ann", "dia_id": "D1:2", "text": "Hi."}],
            "session_1_date_time": "noon",
        },
        "qa": [
            {"question": "What does Ann play?", "category": 4, "evidence": ["D10:1; D1:2"]},
            {"question": "What does Bob play?", "category": 5, "evidence": ["D10:1"]},
            {"question": "Nothing?", "category": 1, "evidence": []},
            {"question": "Nowhere?", "category": 1, "evidence": ["D99:1"]},
        ],
    }
]


def test_the_form_of_longmemeval_is_read(harness: Any, tmp_path: Path) -> None:
    path = tmp_path / "longmemeval_s.json"
    path.write_text(json.dumps(LONGMEMEVAL))
    ((name, (haystack,)),) = harness.read(path)
    assert name == "longmemeval_s"
    assert haystack.sessions["a"] == ("2023/05/20 (Sat) 02:21", ["user: The key is at Maria's.", "assistant: Noted."])
    (question,) = haystack.questions
    assert (question.kind, question.sessions, question.turns) == ("single-session-user", {"a"}, {("a", 0)})
    LONGMEMEVAL[0]["answer_session_ids"], kept = ["c"], LONGMEMEVAL[0]["answer_session_ids"]
    path.write_text(json.dumps(LONGMEMEVAL))
    LONGMEMEVAL[0]["answer_session_ids"] = kept
    with pytest.raises(SystemExit, match="evidence"):
        harness.read(path)


def test_the_form_of_locomo_is_read(harness: Any, tmp_path: Path) -> None:
    path = tmp_path / "locomo10.json"
    path.write_text(json.dumps(LOCOMO))
    ((_, (haystack,)),) = harness.read(path)
    assert list(haystack.sessions) == ["session_1", "session_10"]
    assert haystack.sessions["session_10"] == ("1:56 pm on 8 May, 2023", ["Ann: I play the cello. [shares a cello]"])
    first, second = haystack.questions
    assert (first.kind, first.turns) == ("single-hop", {("session_10", 0), ("session_1", 1)})
    assert (second.kind, second.sessions) == ("adversarial", {"session_10"})
    # As it was released first: a file for each conversation, whose sessions stand beside the questions.
    folder = tmp_path / "first"
    folder.mkdir()
    conversation: Any = LOCOMO[0]["conversation"]
    for number in range(2):
        (folder / f"{number}.json").write_text(json.dumps({**conversation, "qa": LOCOMO[0]["qa"]}))
    assert harness.read(folder) == [("first", [haystack, haystack])]


def test_another_form_is_refused(harness: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    empty = tmp_path / "empty"
    empty.mkdir()
    for written, said in [
        ('[{"question": "x"}]', "neither"),
        ("[1, 2]", "neither"),
        ("[]", "neither"),
        ('{"a": 1}\n{"a": 2}\n', "cannot be read as JSON"),
        ('[{"haystack_sessions": []}]', "does not go on so .*question_id"),
        ('[{"qa": [{}], "session_1": [{"text": "x"}]}]', "does not go on so"),
    ]:
        path.write_text(written)
        with pytest.raises(SystemExit, match=f"other.json .*{said}.*longmemeval_s.json.*--generate"):
            harness.read(path)
    for missing, said in [(empty, "neither"), (tmp_path / "nowhere.json", "cannot be read")]:
        with pytest.raises(SystemExit, match=f"{said}.*--generate"):
            harness.read(missing)


def test_figures_are_what_they_are_called(harness: Any) -> None:
    score = harness.Score()
    turns = [(f"s{number}", 0) for number in range(12)]
    # Of two sessions one is the fifth, and the other the eleventh; the turn is the first.
    score.count(harness.Question("x", "kind", {"s4", "s10"}, {("s0", 0)}), turns)
    score.count(harness.Question("y", "kind", {"s1"}, set()), turns)
    cells = dict(zip(["s5", "s10", "sa5", "sa10", "t5", "t10", "ta5", "ta10"], score.cells(), strict=True))
    assert (cells["s5"], cells["s10"], cells["sa5"], cells["sa10"]) == ("0.750", "0.750", "0.500", "0.500")
    assert (cells["t5"], cells["ta10"]) == ("1.000", "1.000")


def test_long_turns_are_cut_and_nothing_is_lost(harness: Any) -> None:
    text = "A sentence of some length. " * 200 + "x" * 3000
    cut = list(harness.pieces(text))
    assert "".join(cut) == text and max(map(len, cut)) <= harness.MAX_NOTE_CHARACTERS and len(cut) > 8
    assert list(harness.pieces("  ")) == [] and list(harness.pieces("short")) == ["short"]


def test_the_same_seed_makes_the_same_questions(harness: Any) -> None:
    made = harness.generate(6, 3)
    assert made == harness.generate(6, 3) and made != harness.generate(6, 4)
    haystacks = harness.read_longmemeval(made)
    assert [len(haystack.questions[0].turns) for haystack in haystacks] == [1, 2, 2] * 2
    assert all(len(haystack.sessions) == harness.SESSIONS for haystack in haystacks)


def test_a_run_finds_evidence_on_a_real_node(node: Node, tmp_path: Path) -> None:
    files = []
    for name, data in (("longmemeval_s", LONGMEMEVAL), ("locomo10", LOCOMO)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(data))
    told = node.python(str(FOLDER / "memory.py"), *map(str, files), "--synapsenet", str(program()), "--modes", "hybrid,words")
    assert "longmemeval_s: 1 questions about 2 sessions, 3 notes" in told
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if line.startswith("|")]
    (found,) = [row for row in rows if row[:3] == ["single-session-user", "1", "hybrid"]]
    assert set(found[3:]) == {"1.000"}
    # The adversarial question has a row, and is in no total.
    assert [row[1] for row in rows if row[0] in ("adversarial", "all kinds")] == ["1"] * 4
