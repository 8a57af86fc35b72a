"""What a memory does, on a real node, and both kinds of it alike."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import PATIENCE, Node

from synapsenet import AsyncMemory, Draft, Filter, InvalidRequest, Link, Memory, NotFound, Outcome, Refused, Source, Whose

KEY = "The spare key of the server room is at Maria's"
PUMP = "Clean the heat pump's filter every three months"


def test_what_is_added_is_found_got_listed_and_forgotten(memory: Any) -> None:
    added = memory.add(KEY, title="Keys", tags=["keys", "house"], lang="en")
    assert added.outcome is Outcome.ADDED and not added.shared and len(added.id) == 64
    memory.add(PUMP)

    hits = memory.search("who can open the machine room?")
    assert hits[0].id == added.id and hits[0].text == KEY
    assert 0.1 < hits[0].score < 1.0 and hits[0].cosine is not None and hits.summary.hits == len(hits)
    by_word = memory.search("Maria", mode="words")
    assert [hit.text[start:end] for hit in by_word for start, end in hit.marks] == ["Maria"]

    grain = memory.get(added.id[:12])
    assert (grain.text, grain.title, grain.lang) == (KEY, "Keys", "en") and set(grain.tags) == {"keys", "house"}
    assert grain.whose is Whose.OWN and grain.searchable and not grain.shared and grain.topic == memory.topic
    assert abs(datetime.now(timezone.utc) - grain.created) < timedelta(minutes=10)
    assert [grain.text for grain in memory.recent()] == [PUMP, KEY]
    assert memory.recent(1)[0].text == PUMP and memory.count() == 2

    assert memory.forget(added.id, dry_run=True) == 1 and memory.count() == 2
    assert memory.forget(added.id) == 1
    assert [grain.text for grain in memory.grains()] == [PUMP]
    with pytest.raises(NotFound) as told:
        memory.get(added.id)
    assert told.value.reason == "GRAIN_NOT_FOUND" and "synapsenet list" in told.value.hint


def test_the_same_text_again_is_a_duplicate(memory: Any) -> None:
    first, again = memory.add(KEY), memory.add(KEY)
    assert (again.id, again.outcome) == (first.id, Outcome.DUPLICATE)
    assert memory.count() == 1


def test_topics_tags_and_times_narrow_what_is_found(memory: Any) -> None:
    other = memory.topic + "-other"
    memory.add("Tomatoes want sun and water", tags=["garden", "food"])
    memory.add("Beans want sun and a pole", tags=["garden"])
    memory.add("Tomatoes from the shop", topic=other, tags=["food"])

    def found(**conditions: Any) -> set[str]:
        hits = memory.search("sun for tomatoes", 1000, **conditions)
        return {hit.text.split()[0] + hit.grain.topic.removeprefix(memory.topic) for hit in hits}

    assert found(min_score=-1) == {"Tomatoes", "Beans"}
    assert found(min_score=-1, tags=["food"]) == {"Tomatoes"}
    assert found(topic=other) == {"Tomatoes-other"}
    assert "Tomatoes-other" in found(topic="", all_copies=True, where=Filter(tags=["food"]))
    assert memory.count(tags=["garden", "food"]) == 1
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert memory.count(where=Filter(since=later)) == 0 and memory.count(where=Filter(until=later)) == 2
    assert memory.count(where=Filter(author=memory.status().author)) == 2
    assert memory.count(where=Filter(author="ab" * 32)) == 0
    assert memory.status().topics[other] == 1


def test_one_of_several_and_none_of_others(memory: Any) -> None:
    other = memory.topic + "-other"
    memory.add("Tomatoes want sun", tags=["garden", "draft"])
    memory.add("Beans want a pole", tags=["garden"])
    memory.add("Potatoes want earth", topic=other)
    both = Filter(any=[Filter(memory.topic), Filter(other)], none=[Filter(tags=["draft"])])
    assert {grain.text.split()[0] for grain in memory.grains(topic="", where=both)} == {"Beans", "Potatoes"}
    assert memory.count(where=Filter(none=[Filter(tags=["draft"])])) == 1

    counts = memory.count_by("tag", "topic", top=1, topic="", where=Filter(any=both.any))
    assert counts.grains == 3 and not counts.partial
    assert counts.by["tag"] == {"garden": 2} and counts.others == {"tag": 1, "topic": 1}
    assert list(counts.by["topic"].values()) == [2]
    with pytest.raises(InvalidRequest) as told:
        memory.count(where=Filter(any=[Filter(memory.topic), Filter("Bad!")]))
    assert told.value.violations[0][0] == "filter.any[1].topic"


def test_vectors_come_on_request_and_are_questions(memory: Any) -> None:
    numpy = pytest.importorskip("numpy")
    pump, key = memory.add(PUMP), memory.add(KEY)
    assert memory.get(pump.id).vector is None
    vector = memory.get(pump.id, vector=True).vector
    assert vector is not None and len(vector.components) == memory.status().dimension
    assert vector.space_id == memory.status().message.model.space_id
    array = numpy.asarray(vector)
    assert array.dtype == numpy.float32 and abs(float(numpy.linalg.norm(array)) - 1.0) < 1e-3

    for question in (vector, array * 3, list(vector.components)):
        hits = memory.search(vector=question, min_score=-1, vectors=True)
        assert [hit.id for hit in hits] == [pump.id, key.id] and hits[0].score > 0.99
    assert hits.vectors().shape == (2, len(array)) and hits.vectors().dtype == numpy.float32
    assert numpy.allclose(hits.vectors() @ array, hits.cosines(), atol=1e-3)
    assert memory.search("pump").vectors().shape == (0, 0)
    for wrong, words in ((array[:3], "3 components"), (array * 0, "no direction")):
        with pytest.raises(InvalidRequest, match=words) as told:
            memory.search(vector=wrong)
        assert told.value.violations[0][0] == "vector"
    with pytest.raises(InvalidRequest, match="of the space") as told:
        memory.search(vector=array, space_id="ab" * 32)
    assert told.value.violations[0][0] == "space_id"


def test_each_of_two_thousand_texts_is_answered_in_order(memory: Any) -> None:
    texts = [f"Shelf {number} holds box {number * 7}" for number in range(2000)]
    texts[700] = ""
    texts[1500] = texts[3]
    added = list(memory.add_many((Draft(text, tags=["stock"]) for text in texts), wait=False))
    assert [one.ordinal for one in added] == list(range(2000))
    assert [one.ordinal for one in added if one.outcome is Outcome.REFUSED] == [700] and added[700].reason
    assert [one.ordinal for one in added if one.outcome is Outcome.DUPLICATE] == [1500] and added[1500].id == added[3].id
    assert memory.count(tags=["stock"]) == 1998
    assert memory.search("1234", 2, mode="words", topic="")[0].text == texts[1234]
    listed = {grain.id for grain in memory.grains(tags=["stock"])}
    assert listed == {one.id for one in added if one.id}
    # What waits for the model would keep it from the other tests.
    assert memory.forget(topic=memory.topic) == 1998


def test_an_endless_iterable_is_taken_batch_by_batch(node: Node) -> None:
    taken = 0

    def texts() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield f"line {taken % 3}"

    with Memory(data_dir=node.data_dir, topic="endless") as memory:
        answers = memory.add_many(texts())
        for _ in range(5):
            next(answers)
        assert taken <= 2 * 512
        answers.close()


def test_texts_may_come_from_an_asynchronous_iterable(node: Node) -> None:
    async def texts() -> Any:
        for text in ("one", "two"):
            await asyncio.sleep(0)
            yield text

    async def add() -> list[str]:
        async with AsyncMemory(data_dir=node.data_dir, topic="async-texts") as memory:
            assert [added.outcome async for added in memory.add_many(texts())] == [Outcome.ADDED, Outcome.ADDED]
            return [grain.text async for grain in memory.grains()]

    assert sorted(asyncio.run(add())) == ["one", "two"]


def test_a_document_is_split_and_follows_its_edits(memory: Any) -> None:
    house = "# The house\n\n## Water\n\nThe main valve is behind the washing machine.\n\n## Heating\n\nThe boiler needs 1.5 bar.\n"
    name = f"house-{memory.topic}.md"
    added = memory.add_document(name, house, tags=["house"])
    assert (added.added, added.retracted, added.empty) == (2, 0, False) and len(added.ids) == 2
    memory.wait()
    hit = memory.search("where do I turn the water off?")[0]
    assert "main valve" in hit.text and "Water" in hit.grain.title and hit.grain.source is not None
    around = memory.around(hit.id)
    assert ([grain.id for grain in around.before], [grain.id for grain in around.after]) == ([], [added.ids[1]])
    edited = memory.add_document(name, house.replace("1.5 bar", "2 bar"))
    assert edited.retracted >= 1 and edited.ids != added.ids
    large = b"From a@example Mon Jan  1 00:00:00 2024\nSubject: Pages\n\n" + b"word " * 900_000
    with pytest.raises(InvalidRequest):
        memory.add_document("large.mbox", large)


def test_several_questions_have_an_answer_each(memory: Any) -> None:
    for text in (KEY, PUMP):
        memory.add(text)
    questions = ["who has a key?", "when do I clean the pump?"] * 40
    answers = memory.search_many(questions, 20)
    assert [hits[0].text for hits in answers] == [KEY, PUMP] * 40
    assert all(hits.summary.searched >= 2 for hits in answers)


def test_scores_are_arrays_on_request(memory: Any) -> None:
    numpy = pytest.importorskip("numpy")
    for text in (KEY, PUMP):
        memory.add(text)
    hits = memory.search("who has a key?", min_score=-1)
    assert hits.scores().shape == (2,) and hits.scores().dtype == numpy.float64
    assert hits.scores().tolist() == [hit.score for hit in hits]
    assert (hits.cosines() <= 1.0).all()
    words = memory.search("key", mode="words")
    assert numpy.isnan(words.cosines()).all() and len(words) == 1


def test_like_finds_its_like(memory: Any) -> None:
    first = memory.add("The cat sleeps on the warm radiator")
    memory.add("A kitten dozes beside the heater")
    memory.add("Invoices are due within thirty days")
    assert memory.related(first.id, 1)[0].text.startswith("A kitten")


def test_sources_and_links_stay_with_a_grain(memory: Any) -> None:
    first = memory.add("Question of a chat", source=Source("chat:7", 0))
    reply = memory.add("Answer of a chat", source=Source("chat:7", 1), links=[Link(first.id, "replies-to")])
    grain = memory.get(reply.id)
    assert grain.source == Source("chat:7", 1) and grain.links == (Link(first.id, "replies-to"),)


def test_what_is_retracted_is_gone_and_cannot_come_back(memory: Any) -> None:
    added = memory.add(KEY)
    memory.add(PUMP, tags=["pump"])
    retraction = memory.retract(added.id)
    assert len(retraction) == 64 and memory.count() == 1
    counted = memory.retract_matching(tags=["pump"], dry_run=True)
    assert (counted.meant, counted.retracted) == (1, 0) and memory.count() == 1
    done = memory.retract_matching(tags=["pump"])
    assert (done.meant, done.retracted, done.refused) == (1, 1, 0) and memory.count() == 0
    with pytest.raises(InvalidRequest):
        memory.retract_matching(topic="")


def test_what_is_shared_is_told(memory: Any) -> None:
    added = memory.add(KEY)
    # A node without a mesh has nobody to share with, and says so.
    try:
        assert memory.share(added.id) and not memory.share(added.id) and memory.get(added.id).shared
    except Refused as told:
        assert told.reason == "NO_MESH"


def test_events_are_told_as_they_happen(node: Node) -> None:
    with Memory(data_dir=node.data_dir, topic="watched") as memory, memory.watch() as events:
        added = memory.add(KEY, wait=False)
        event = next(event for event in events if event.topic == "watched")
        assert (event.kind, event.id, event.author) == ("grain_added", added.id, memory.status().author)
        retraction = memory.retract(added.id)
        event = next(event for event in events if event.topic == "watched")
        assert (event.kind, event.id) == ("grain_retracted", retraction)
        # Another thread may end it, and whoever waits for the next event is told that there is none.
        rest: list[Any] = []
        waiting = threading.Thread(target=lambda: rest.extend(events))
        waiting.start()
        events.close()
        waiting.join(PATIENCE)
        assert not waiting.is_alive() and rest == []


def test_a_watch_goes_on_where_another_ended(node: Node) -> None:
    with Memory(data_dir=node.data_dir, topic="resumed") as memory:
        where = Filter(metadata={"kind": "wanted"})
        with memory.watch(where=where, kinds=["grain_added"]) as events:
            first = memory.add("The first shelf was painted.", metadata={"kind": "wanted"}, wait=False)
            assert next(events).id == first.id
            begun = events.cursor
        texts = [memory.add(f"Shelf {n} was painted.", metadata={"kind": "wanted"}, wait=False) for n in range(3)]
        memory.add("Nobody asked for this.", wait=False)
        with memory.watch(where=where, kinds=["grain_added"], cursor=begun) as events:
            told = [next(events) for _ in texts]
            assert [event.id for event in told] == [added.id for added in texts]
            assert events.cursor == told[-1].cursor
        with memory.watch(where=where, cursor=told[0].cursor) as events:
            assert next(events).id == texts[1].id
        with pytest.raises(InvalidRequest, match="CURSOR_UNKNOWN"):
            memory.watch(cursor="0" * 32)


def test_a_grain_is_updated_and_many_are_withdrawn(node: Node) -> None:
    with Memory(data_dir=node.data_dir, topic="updated") as memory:
        first = memory.add("The pump runs at 40 Hz.", tags=["pump"], metadata={"read": "1"})
        assert first.searchable and memory.get(first.id).metadata == {"read": "1"}
        updated = memory.update(first.id, "The pump runs at 45 Hz.", metadata={"read": "2"})
        assert updated.searchable and updated.retraction and updated.id != first.id
        grain = memory.get(updated.id)
        assert (grain.tags, grain.metadata, grain.topic) == (("pump",), {"read": "2"}, "updated")
        same = memory.update(updated.id, "The pump runs at 45 Hz.")
        assert (same.id, same.retraction) == (updated.id, "")
        assert memory.count(where=Filter(metadata={"read": "2"})) == 1
        answers = memory.retract_each([updated.id, first.id])
        assert [answer.done for answer in answers] == [True, False]
        assert answers[1].reason == "GRAIN_NOT_FOUND" and answers[1].hint


def test_a_document_is_listed_shown_and_withdrawn_whole(node: Node) -> None:
    with Memory(data_dir=node.data_dir, topic="papers") as memory:
        text = "# Roof\n\n" + "\n\n".join(f"## Part {n}\n\nTile {n} was laid in the year {n + 1900}." for n in range(5))
        added = memory.add_document("roof.md", text)
        assert [part.id for part in memory.document("roof.md")] == added.ids
        (listed,) = memory.documents("roof")
        assert (listed.uri, listed.grains, listed.topic) == ("roof.md", len(added.ids), "papers")
        assert memory.delete_document("roof.md") == len(added.ids)
        with pytest.raises(NotFound, match="DOCUMENT_NOT_FOUND"):
            list(memory.document("roof.md"))


def test_vectors_of_texts_are_those_that_search_compares(node: Node) -> None:
    with Memory(data_dir=node.data_dir) as memory:
        passages = memory.embed([KEY, PUMP])
        question = memory.embed(["who has a key?"], "question")
        assert (len(passages), len(passages[0])) == (2, passages.dimension) and passages.model_id == question.model_id
        near, far = (sum(a * b for a, b in zip(question[0], one)) for one in passages)
        assert near > far and abs(sum(a * a for a in passages[0]) - 1) < 1e-3


def test_events_are_told_to_a_task(node: Node) -> None:
    async def watch() -> list[str]:
        async with AsyncMemory(data_dir=node.data_dir, topic="watched-too") as memory:
            async with await memory.watch() as events:
                added = await memory.add(PUMP, wait=False)
                async for event in events:
                    if event.topic == "watched-too":
                        assert event.id == added.id
                        break
                events.close()
                return [event.kind async for event in events]

    assert asyncio.run(watch()) == []


def test_what_can_never_succeed_is_told_with_its_reason(memory: Any) -> None:
    with pytest.raises(InvalidRequest) as told:
        memory.add("x" * 20_000)
    assert told.value.reason == "GRAIN_REFUSED" and told.value.hint and "GRAIN_REFUSED" in str(told.value)
    with pytest.raises(InvalidRequest) as told:
        memory.search("x", topic="Not a topic!")
    assert told.value.reason == "INVALID_REQUEST"
    with pytest.raises(ValueError, match="mode"):
        memory.search("x", mode="guess")
    with pytest.raises(ValueError, match="limit"):
        memory.recent(0)
    with pytest.raises(ValueError, match="ids"):
        memory.forget(*["ab" * 32] * 1001)
