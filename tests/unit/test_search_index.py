"""What the index writes: tails, segments, removal, folding."""

from chatbot.adapters.search.folding import FAN, LONGEST_TAIL
from chatbot.domain.search import Passage, Scope
from index_rows import DictRows, fresh_index

CLASS, OTHER = Scope("one"), Scope("other")


def passages(count: int, first: int = 1) -> list[Passage]:
    return [Passage(seq=first + n, text=f"passage {first + n} of kites") for n in range(count)]


def test_messages_go_to_the_tail_and_documents_of_64_passages_become_a_segment() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.append(CLASS, "session", passages(3))
    assert len(rows.tails([CLASS])) == 3
    index.put(CLASS, "manual", passages(64))
    assert [head.count for head in rows.heads([CLASS])] == [64]
    assert index.indexed(CLASS) == {"session": 3, "manual": 64}


def test_what_is_put_takes_the_place_of_the_passages_of_its_parent() -> None:
    index = fresh_index()
    index.put(CLASS, "manual", passages(70))
    index.put(CLASS, "leaflet", passages(2))
    index.put(CLASS, "manual", passages(5))
    assert index.indexed(CLASS) == {"manual": 5, "leaflet": 2}


def test_passages_are_removed_up_to_a_number_in_segments_and_tails() -> None:
    index = fresh_index()
    index.append(CLASS, "session", passages(LONGEST_TAIL))
    index.append(CLASS, "session", passages(10, first=65))
    index.remove(CLASS, "session", upto=66)
    assert index.indexed(CLASS) == {"session": 8}
    index.remove(CLASS, "session", upto=66)
    assert index.indexed(CLASS) == {"session": 8}
    index.remove(CLASS, "session")
    assert index.indexed(CLASS) == {}
    index.remove(CLASS, "session")


def test_a_segment_without_passages_is_dropped() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.put(CLASS, "manual", passages(64))
    index.remove(CLASS, "manual")
    assert rows.heads([CLASS]) == []


def test_a_tail_is_folded_to_a_segment_and_four_of_a_size_to_one() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    for number in range(FAN):
        index.append(CLASS, f"session {number}", passages(20))
        index.fold(CLASS)
        assert rows.tails([CLASS]) == []
        assert len(rows.heads([CLASS])) == (1 if number == FAN - 1 else number + 1)
    assert index.indexed(CLASS) == {f"session {number}": 20 for number in range(FAN)}


def test_a_segment_is_written_anew_once_a_quarter_of_it_is_removed() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.append(CLASS, "session", passages(100))
    index.remove(CLASS, "session", upto=24)
    index.fold(CLASS)
    assert [head.count for head in rows.heads([CLASS])] == [100]
    index.remove(CLASS, "session", upto=25)
    index.fold(CLASS)
    assert [(head.count, head.dead) for head in rows.heads([CLASS])] == [(75, b"")]


def test_a_class_is_compacted_to_one_segment() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.put(CLASS, "manual", passages(300))
    index.put(CLASS, "guide", passages(70))
    index.append(CLASS, "leaflet", passages(3))
    index.remove(CLASS, "manual", upto=1)
    index.fold(CLASS, is_whole=True)
    assert [(head.count, head.dead) for head in rows.heads([CLASS])] == [(372, b"")]
    assert rows.tails([CLASS]) == []
    assert index.indexed(CLASS) == {"manual": 299, "guide": 70, "leaflet": 3}


def test_a_plan_is_not_carried_out_if_anything_of_it_changed_meanwhile() -> None:
    index = fresh_index()
    index.append(CLASS, "session", passages(5))
    plan = index.plan(CLASS)
    assert plan is not None
    built = plan.built()
    index.remove(CLASS, "session", upto=1)
    assert not index.replace(plan, built)
    assert index.indexed(CLASS) == {"session": 4}


def test_a_message_that_is_added_while_a_plan_is_built_stays_in_the_tail() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.append(CLASS, "session", passages(5))
    plan = index.plan(CLASS)
    assert plan is not None
    index.append(CLASS, "session", passages(1, first=6))
    assert index.replace(plan, plan.built())
    assert [row.seq for _, row in rows.tails([CLASS])] == [6]
    assert index.indexed(CLASS) == {"session": 6}


def test_clearing_a_class_removes_its_audience_and_touches_no_other() -> None:
    index = fresh_index()
    for scope in (CLASS, OTHER):
        index.put(scope, "manual", passages(70))
        index.append(scope, "leaflet", passages(2))
        index.set_audience(scope, {"public", "department:sales"})
    index.clear(CLASS)
    assert index.indexed(CLASS) == {}
    assert index.scopes_for({"public"}) == [OTHER]
    assert index.indexed(OTHER) == {"manual": 70, "leaflet": 2}
    assert index.snapshot([CLASS]).is_empty
    assert not index.snapshot([OTHER]).is_empty


def test_only_the_named_classes_are_read() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.put(CLASS, "manual", passages(70))
    index.put(OTHER, "manual", passages(70))
    rows.touched.clear()
    index.snapshot([CLASS]).opened()
    assert rows.touched == {CLASS}
