"""Forgetting and finishing: an update removes what it names, and never more."""

import time

import pytest

from chatbot.domain.memory import MemoryItem, Origin, StructuredMemory, Update
from chatbot.domain.memory_updates import merge, update_from_json


def by_model(value: str) -> MemoryItem:
    return MemoryItem(value=value, origin=Origin.MODEL, sources=(1,))


def memory(
    *facts: str, todos: tuple[str, ...] = (), origin: Origin = Origin.MODEL, **profile: str
) -> StructuredMemory:
    def item(value: str) -> MemoryItem:
        return MemoryItem(value=value, origin=origin, sources=(1,))

    return StructuredMemory(
        profile={key: item(value) for key, value in profile.items()},
        preferences={"tone": item("formal")},
        facts=tuple(map(item, facts)),
        todos=tuple(map(item, todos)),
    )


def after(known: StructuredMemory, update: Update, *said: str) -> StructuredMemory:
    return merge(known, update, sources=(5,), said=said, max_items=20)


def forgotten(known: StructuredMemory, *names: str) -> list[str]:
    """All items that these names remove."""
    left = _texts(after(known, Update(forget=names)))
    return [text for text in _texts(known) if text not in left]


def finished(known: StructuredMemory, *names: str) -> list[str]:
    left = _texts(after(known, Update(done=names)))
    return [text for text in _texts(known) if text not in left]


def _texts(known: StructuredMemory) -> list[str]:
    keyed = [*known.profile.items(), *known.preferences.items()]
    items = [f"{key}={item.value}" for key, item in keyed]
    return items + [item.value for item in (*known.facts, *known.todos)]


@pytest.mark.parametrize(
    "name",
    ["name", "Name", "my name", "mi nombre", "NOMBRE", "profile.name", "Ana", "ana", "name: Ana"],
)
def test_a_key_is_forgotten_by_its_name_or_its_value(name: str) -> None:
    known = memory("the name of the dog is Rex", name="Ana", role="nurse")
    assert forgotten(known, name) == ["name=Ana"]


def test_additional_key_is_forgotten_by_its_name() -> None:
    known = memory("the city is loud", name="Ana", city="Lima")
    assert forgotten(known, "City") == ["city=Lima"]


@pytest.mark.parametrize(
    "name",
    [
        "soy alérgica a los frutos secos",
        "SOY ALERGICA A LOS FRUTOS SECOS.",
        "que soy alérgica",
        "alergia a los frutos secos",
        "alérgica",
    ],
)
def test_fact_is_forgotten_by_its_words_regardless_of_accents_case_and_inflection(
    name: str,
) -> None:
    known = memory("soy alérgica a los frutos secos", "vivo en Madrid", name="Ana")
    assert forgotten(known, name) == ["soy alérgica a los frutos secos"]


@pytest.mark.parametrize(
    "name", ["", "  ", "?!", "the", "a", "que", "me", "facts", "everything", "Berlin", "x" * 5000]
)
def test_forget_request_without_a_match_removes_nothing(name: str) -> None:
    known = memory("works in Madrid", "likes tea", name="Ana", role="nurse", todos=("call HR",))
    assert forgotten(known, name) == []


def test_exact_match_is_preferred_to_a_longer_item() -> None:
    known = memory("works in Madrid", "works in Madrid on Mondays")
    assert forgotten(known, "works in Madrid") == ["works in Madrid"]


@pytest.mark.parametrize("name", ["call", "tea", "llamar"])
def test_ambiguous_partial_match_removes_no_item(name: str) -> None:
    known = memory(
        "likes tea", "grows tea", todos=("call HR", "call mum", "llamar a Ana", "llamar a Eva")
    )
    assert forgotten(known, name) == []
    assert finished(known, name) == []


def test_different_names_and_numbers_are_not_inflections() -> None:
    known = memory(todos=("call Mariana", "pay invoice 12"))
    assert finished(known, "called Maria", "pay invoice 123", "paid invoice 1") == []


@pytest.mark.parametrize("name", ["call HR", "called HR", "Call hr!", "I have called HR"])
def test_a_task_that_is_done_leaves_the_tasks(name: str) -> None:
    known = memory("HR is on the third floor", todos=("call HR", "book a hotel"))
    assert finished(known, name) == ["call HR"]


def test_long_sentence_that_contains_the_words_of_a_task_does_not_finish_it() -> None:
    known = memory(todos=("llamar a Marta",))
    assert finished(known, "llamar a Juan para cancelar la reunión con Marta") == []


def test_done_finishes_tasks_only() -> None:
    assert finished(memory("call HR", name="call HR"), "call HR") == []


def test_new_value_replaces_the_forgotten_one() -> None:
    known = memory(name="Ana", role="nurse")
    update = Update(profile={"role": "doctor"}, forget=("nurse",))
    assert after(known, update).profile["role"].value == "doctor"
    update = Update(profile={"name": "Eva"}, forget=("name",))
    assert after(known, update).profile["name"].value == "Eva"


def test_forgotten_item_is_removed_even_if_the_model_repeats_it() -> None:
    known = memory("likes tea", name="Ana", todos=("call HR",))
    update = Update(
        profile={"name": "Ana"},
        facts=("likes tea",),
        todos=("call HR",),
        forget=("name", "likes tea"),
        done=("call HR",),
    )
    left = after(known, update)
    assert (left.profile, left.facts, left.todos) == ({}, (), ())


def test_manual_value_is_forgotten_only_if_the_user_mentioned_it() -> None:
    known = memory("allergic to nuts", origin=Origin.USER, name="Ana")
    update = Update(forget=("name", "allergic to nuts"))
    assert after(known, update, "what is the weather?") == known
    left = after(known, update, "forget my name and my allergy, please")
    assert (left.profile, left.facts) == ({}, ())


def test_forgetting_costs_little_however_much_is_named() -> None:
    known = memory(*(f"word{n} " * 60 for n in range(20)), name="Ana", role="x " * 250)
    names = [" ".join(f"other{n}{m}" for m in range(60)) for n in range(5000)]
    update = update_from_json({"forget": names, "done": names})
    began = time.process_time()
    after(known, update, "said " * 2000)
    assert time.process_time() - began < 1


def test_near_matches_of_every_known_item_take_linear_time() -> None:
    """Each item is compared to its end, where the only unknown word is."""
    alike = [f"alike{chr(97 + n // 9)}{chr(97 + n % 9)}" for n in range(54)]
    known = memory(*(" ".join([f"fact{n}", *alike]) for n in range(100)))
    names = tuple(" ".join([*alike, f"9other{n}"]) for n in range(40))
    began = time.process_time()
    left = merge(known, Update(forget=names), sources=(5,), said=[], max_items=100)
    assert time.process_time() - began < 0.5
    assert left == known


def test_spoken_text_is_searched_once_for_all_values() -> None:
    said = " ".join(f"said{n}" for n in range(2000))
    facts = [f"fact {n} " * 40 for n in range(100)]
    known = memory(*facts, origin=Origin.USER)
    preferences = {f"key{n}": f"value{n}" for n in range(200)}
    update = Update(preferences=preferences, forget=tuple(facts[:40]))
    began = time.process_time()
    merge(known, update, sources=(5,), said=[said] * 10, max_items=100)
    assert time.process_time() - began < 0.5
