"""Which items of a person's memory a turn may use."""

from dataclasses import replace

import pytest

from chatbot.application.recalled_items import MOST_OTHERS, ItemChoice
from chatbot.domain.person_memory import ItemKind, ItemState, MemorySettings, PersonMemory
from chatbot.domain.search import Hit, Reason
from person_memories import ONE, TWO, said, source, with_new

ITEMS = (
    said("Ana", source(1, TWO), kind=ItemKind.PROFILE, key="name"),
    said("has a dog", source(3, ONE)),
    said("has a cat", source(5, TWO)),
    said("buy milk", source(7, TWO), kind=ItemKind.TODO, state=ItemState.DONE),
)


def person(settings: MemorySettings = MemorySettings()) -> PersonMemory:  # noqa: B008 # frozen
    return replace(with_new(*ITEMS), settings=settings)


def texts(choice: ItemChoice) -> list[str]:
    return [each.text for each in choice.known()]


def test_a_turn_uses_the_active_items_of_all_sessions_those_of_its_own_last() -> None:
    choice = ItemChoice(person(), ONE, other_sessions=True)
    assert texts(choice) == ["has a cat", "Ana", "has a dog"]
    cat = choice.known()[0]
    assert (cat.session_id, cat.seq, cat.kind, cat.rank) == (TWO, 5, "fact", None)


@pytest.mark.parametrize(
    ("settings", "other_sessions", "expected"),
    [
        (MemorySettings(), False, ["has a dog"]),
        (MemorySettings(cross_session=False), True, ["has a dog"]),
        (MemorySettings(enabled=False), True, []),
        (MemorySettings(extract=False), True, ["has a cat", "Ana", "has a dog"]),
    ],
)
def test_settings_of_the_service_and_of_the_person_are_obeyed(
    settings: MemorySettings, other_sessions: bool, expected: list[str]
) -> None:
    assert texts(ItemChoice(person(settings), ONE, other_sessions=other_sessions)) == expected


def many(count: int) -> ItemChoice:
    items = (said(f"fact {number}", source(number, TWO)) for number in range(1, count + 1))
    return ItemChoice(with_new(*items), ONE, other_sessions=True)


def test_few_items_are_not_searched_and_many_are() -> None:
    assert not many(MOST_OTHERS).is_searched
    choice = many(MOST_OTHERS + 1)
    assert choice.is_searched
    assert len(choice.passages) == MOST_OTHERS + 1


def test_of_many_items_the_hits_are_used_and_the_newest_besides() -> None:
    choice = many(50)
    old = {item.text: item.id for item in choice.others}
    hits = [Hit(parent=old[f"fact {n}"], seq=1, score=9 - n, why=Reason()) for n in (2, 7)]
    found = choice.known(hits)
    assert len(found) == MOST_OTHERS
    assert [(each.text, each.rank) for each in found[-2:]] == [("fact 7", 2), ("fact 2", 1)]
    assert [each.text for each in found[:-2]] == [f"fact {n}" for n in range(33, 51)]
