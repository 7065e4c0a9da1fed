"""Structured memory: merging, provenance, manual corrections, unusual updates from a model."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.domain.errors import InvalidInput
from chatbot.domain.memory import (
    MAX_EXTRA_KEYS,
    MAX_KEY_CHARS,
    MAX_REFUSED,
    MAX_VALUE_CHARS,
    PREFERENCE_KEYS,
    PROFILE_KEYS,
    Memory,
    MemoryItem,
    Origin,
    StructuredMemory,
    Update,
    recollections,
    with_summary,
)
from chatbot.domain.memory_updates import merge, replaced_by_hand, update_from_json
from chatbot.domain.text import Said, is_storable

BY_HAND = [Origin.USER, Origin.ADMINISTRATOR]


def learned(
    memory: StructuredMemory,
    update: Update,
    *said: str,
    sources: tuple[int, ...] = (1,),
    max_items: int = 20,
) -> StructuredMemory:
    return merge(memory, update, sources=sources, said=said, max_items=max_items)


def by_model(value: str, *sources: int) -> MemoryItem:
    return MemoryItem(value=value, origin=Origin.MODEL, sources=sources)


def values(items: tuple[MemoryItem, ...]) -> list[str]:
    return [item.value for item in items]


def test_objects_merge_by_key_and_keep_keys_absent_from_the_update() -> None:
    known = StructuredMemory(profile={"name": by_model("Ana", 1), "city": by_model("Lima", 1)})
    merged = learned(known, Update(profile={"city": "Cusco", "role": "chef"}), sources=(5,))
    assert merged.profile == {
        "name": by_model("Ana", 1),
        "city": by_model("Cusco", 5),
        "role": by_model("chef", 5),
    }


def test_lists_append_new_trimmed_texts_once_in_the_order_in_which_they_came() -> None:
    known = StructuredMemory(facts=(by_model("has a dog", 1),))
    merged = learned(known, Update(facts=("  has a cat ", "has a dog", "", "  ", "has a cat")))
    assert values(merged.facts) == ["has a dog", "has a cat"]


def test_a_full_list_keeps_its_last_items() -> None:
    known = StructuredMemory(todos=tuple(by_model(text, 1) for text in "abc"))
    merged = learned(known, Update(todos=("d", "b")), max_items=3)
    assert values(merged.todos) == ["b", "c", "d"]


def test_an_empty_value_overwrites_nothing() -> None:
    known = StructuredMemory(profile={"name": by_model("Ana", 1)})
    assert learned(known, Update(profile={"name": "  ", "": "x"})) == known


def test_learned_item_records_its_messages_and_the_model_as_its_origin() -> None:
    merged = learned(StructuredMemory(), Update(facts=("likes tea",)), sources=(3, 5))
    assert merged.facts == (by_model("likes tea", 3, 5),)


def test_repeated_item_keeps_its_first_source() -> None:
    update = Update(profile={"name": "Ana"}, facts=("likes tea",))
    once = learned(StructuredMemory(), update, sources=(1,))
    assert learned(once, update, sources=(9,)) == once


def test_a_value_of_the_model_is_cut_to_500_characters_and_trimmed_after_the_cut() -> None:
    text = "x" * (MAX_VALUE_CHARS - 1) + " y"
    merged = learned(StructuredMemory(), Update(profile={"bio": text}, facts=(text,)))
    assert merged.profile["bio"].value == "x" * (MAX_VALUE_CHARS - 1)
    assert values(merged.facts) == ["x" * (MAX_VALUE_CHARS - 1)]


def test_a_key_over_64_characters_is_not_learned() -> None:
    merged = learned(StructuredMemory(), Update(profile={"k" * 65: "v", "k" * 64: "v"}))
    assert list(merged.profile) == ["k" * 64]


@pytest.mark.parametrize(("part", "standard"), [("profile", "role"), ("preferences", "tone")])
def test_at_most_20_further_keys_are_learned_and_a_standard_one_always(
    part: str, standard: str
) -> None:
    many = Update(**{part: {f"k{n}": "v" for n in range(30)}})  # type: ignore[arg-type] # by name
    full = learned(StructuredMemory(), many)
    one_more = Update(**{part: {standard: "v"}})  # type: ignore[arg-type] # by name
    merged = getattr(learned(full, one_more), part)
    assert [*merged] == [*(f"k{n}" for n in range(20)), standard]


def test_learned_memory_can_be_put_back_by_hand() -> None:
    update = Update(profile={f"k{n}": "v" * 600 for n in range(30)}, facts=("x" * 600,))
    known = learned(StructuredMemory(), update)
    same = Update(
        profile={key: item.value for key, item in known.profile.items()},
        facts=tuple(values(known.facts)),
    )
    put = replaced_by_hand(same, by=Origin.USER, max_items=20)
    assert put.profile.keys() == known.profile.keys()


@pytest.mark.parametrize("origin", BY_HAND)
def test_manual_value_is_kept_unless_the_user_said_the_new_value(origin: Origin) -> None:
    known = StructuredMemory(profile={"name": MemoryItem(value="Ana María", origin=origin)})
    assert learned(known, Update(profile={"name": "Ana"}), "¿qué tal?") == known


@pytest.mark.parametrize("origin", BY_HAND)
def test_manual_value_is_replaced_by_what_the_user_says(origin: Origin) -> None:
    known = StructuredMemory(profile={"name": MemoryItem(value="Ana", origin=origin)})
    merged = learned(known, Update(profile={"name": "María"}), "llámame maria", sources=(7,))
    assert merged.profile["name"] == by_model("María", 7)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("María", "soy MARIA"),
        ("maria", "soy María"),
        ("José Núñez", "Núñez, José"),
        ("formal", "háblame formalmente"),
        ("es", "en español, por favor"),
        ("es", "prefiero el castellano"),
        ("en", "answer in English"),
        ("en", "en inglés"),
        ("EN", "ENGLISH"),
        ("straße", "in der STRASSE"),
    ],
)
def test_value_counts_as_said_regardless_of_case_accents_and_inflection(
    value: str, text: str
) -> None:
    assert Said([text]).has(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("María", "soy Mar"),
        ("formal", "de manera informal"),
        ("José Núñez", "soy José"),
        ("en", "quedamos en enero"),
        ("es", "eso es todo"),
        ("👍", "hola"),
        ("Bob", "un robot que se llama bobby"),
        ("es-ES", "esto es un texto"),
        ("!!", "hola"),
        ("Ana", ""),
    ],
)
def test_value_does_not_count_as_said_when_other_words_were_used(value: str, text: str) -> None:
    assert not Said([text]).has(value)


def test_default_preference_is_learned_only_if_the_user_said_it() -> None:
    echoed = Update(preferences={"language": "es", "tone": " neutral "})

    assert learned(StructuredMemory(), echoed) == StructuredMemory()
    assert learned(StructuredMemory(), Update(preferences={"tone": "warm"})).preferences
    stated = learned(StructuredMemory(), echoed, "Háblame en español, en tono neutral.")
    assert values(tuple(stated.preferences.values())) == ["es", "neutral"]


def test_known_preference_changes_back_to_the_default() -> None:
    known = learned(StructuredMemory(), Update(preferences={"tone": "warm"}))

    changed = learned(known, Update(preferences={"tone": "neutral"}))

    assert values(tuple(changed.preferences.values())) == ["neutral"]


def test_words_of_a_value_must_occur_in_one_text() -> None:
    assert not Said(["soy José", "vi a Núñez"]).has("José Núñez")
    assert not Said([]).has("Ana")


def test_manual_items_are_never_evicted_by_the_model() -> None:
    put = replaced_by_hand(Update(facts=("one", "two", "three")), by=Origin.USER, max_items=5)
    flood = Update(facts=tuple(f"evil {n}" for n in range(20)))
    kept = values(learned(put, flood, max_items=5).facts)
    assert kept == ["one", "two", "three", "evil 18", "evil 19"]
    full = replaced_by_hand(Update(facts=tuple("abcde")), by=Origin.USER, max_items=5)
    assert learned(full, flood, max_items=5) == full


def test_user_may_store_memory_up_to_the_limits() -> None:
    update = Update(
        profile={"name": "Ana", "role": "chef"} | {f"{n}".zfill(64): "v" * 500 for n in range(20)},
        preferences={"language": "en", "tone": "dry"} | {f"k{n}": "v" for n in range(20)},
        facts=tuple(f"fact {n}" for n in range(5)),
    )
    put = replaced_by_hand(update, by=Origin.USER, max_items=5)
    assert len(put.profile) == len(put.preferences) == 22
    assert put.profile["name"] == MemoryItem(value="Ana", origin=Origin.USER)


@pytest.mark.parametrize(
    ("update", "where"),
    [
        (Update(profile={f"k{n}": "v" for n in range(21)}), ("profile",)),
        (Update(preferences={f"k{n}": "v" for n in range(21)}), ("preferences",)),
        (Update(profile={"k" * 65: "v"}), ("profile",)),
        (Update(profile={"": "v"}), ("profile",)),
        (Update(profile={"name": "v" * 501}), ("profile",)),
        (Update(preferences={"tone": "v" * 501}), ("preferences",)),
        (Update(facts=("ok", "v" * 501)), ("facts", 1)),
        (Update(facts=tuple("abcdef")), ("facts",)),
        (Update(todos=tuple("abcdef")), ("todos",)),
    ],
)
def test_manual_memory_over_a_limit_is_refused_with_its_location(
    update: Update, where: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        replaced_by_hand(update, by=Origin.USER, max_items=5)
    assert refused.value.where == where
    assert "kkk" not in str(refused.value)
    assert "vvv" not in str(refused.value)


def test_manual_memory_is_trimmed_and_blank_items_are_dropped() -> None:
    update = Update(profile={"name": " Ana ", "role": " "}, todos=(" call ", "", "call"))
    put = replaced_by_hand(update, by=Origin.ADMINISTRATOR, max_items=5)
    assert put.profile == {"name": MemoryItem(value="Ana", origin=Origin.ADMINISTRATOR)}
    assert values(put.todos) == ["call"]


def test_a_summary_by_hand_leaves_the_watermark_and_has_at_most_4000_characters() -> None:
    memory = Memory(summary="old", summarized_to=8, version=3)
    assert with_summary(memory, " " + "s" * 3999) == replace(memory, summary="s" * 3999)
    assert with_summary(memory, "").summary == ""
    with pytest.raises(InvalidInput) as refused:
        with_summary(memory, "s" * 4001)
    assert refused.value.where == ("summary",)


@pytest.mark.parametrize("found", [None, [], "text", 3, True, [{"facts": ["a"]}]])
def test_update_that_is_not_an_object_is_refused(found: object) -> None:
    with pytest.raises(InvalidInput):
        update_from_json(found)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"unknown": {"name": "Ana"}},
        {"profile": None, "preferences": [], "facts": {}, "todos": "buy milk"},
        {"profile": ["name"], "facts": [1, None, ["a"], {"b": 1}]},
        {"profile": {"name": None, "role": True, "city": {}, "team": []}},
        {"profile": {"name": "\ud800", "\udfff": "x"}, "facts": ["\ud83d", "a\0b"]},
    ],
)
def test_malformed_parts_of_an_update_are_dropped(found: object) -> None:
    assert update_from_json(found) == Update()


def test_numbers_become_texts_and_keys_are_trimmed() -> None:
    found = json.loads(
        '{"profile": {" age ": 40, "height": 1.7, "x": NaN, "y": 1e999}, "facts": ["a", 3]}'
    )
    assert update_from_json(found) == Update(profile={"age": "40", "height": "1.7"}, facts=("a",))


def test_everything_remembered_is_recalled_with_the_summary_first() -> None:
    memory = Memory(
        summary="They met.",
        structured=StructuredMemory(
            profile={"name": by_model("Ana", 1)},
            preferences={"tone": by_model("dry", 1)},
            facts=(by_model("has a dog", 1),),
            todos=(by_model("call Ben", 1),),
        ),
    )
    found = [(r.kind, r.text) for r in recollections(memory)]
    assert found == [
        ("summary", "They met."),
        ("profile", "name: Ana"),
        ("preference", "tone: dry"),
        ("fact", "has a dog"),
        ("todo", "call Ben"),
    ]
    assert recollections(Memory()) == []


def test_the_id_of_a_recollection_is_stable_and_its_own() -> None:
    facts = (by_model("has a dog", 1), by_model("has a cat", 1))
    memory = Memory(structured=StructuredMemory(facts=facts, todos=facts))
    later = Memory(structured=StructuredMemory(facts=(*facts[1:], by_model("new", 3))))
    ids = {(r.kind, r.text): r.id for r in recollections(memory)}
    assert len(set(ids.values())) == 4
    assert recollections(later)[0].id == ids["fact", "has a cat"]


quickly = settings(max_examples=50)

WORDS = st.sampled_from("abcdefgh")
TEXTS = st.sampled_from([*"abcdefgh", " a ", "", "\u00a0", "é", "x" * 501])
OBJECTS = st.dictionaries(TEXTS, TEXTS, max_size=8)
UPDATES = st.builds(
    Update,
    profile=OBJECTS,
    preferences=OBJECTS,
    facts=st.lists(TEXTS, max_size=8).map(tuple),
    todos=st.lists(TEXTS, max_size=8).map(tuple),
)
MEMORIES = st.lists(UPDATES, max_size=2).map(lambda updates: _after(updates, StructuredMemory()))


def _after(updates: list[Update], memory: StructuredMemory) -> StructuredMemory:
    for number, update in enumerate(updates):
        memory = learned(memory, update, "a", sources=(number,))
    return memory


@quickly
@given(MEMORIES, UPDATES)
def test_merging_the_same_update_again_changes_nothing_while_there_is_room(
    memory: StructuredMemory, update: Update
) -> None:
    once = learned(memory, update, sources=(9,), max_items=100)
    assert learned(once, update, sources=(11,), max_items=100) == once


@quickly
@given(MEMORIES, UPDATES, st.integers(min_value=0, max_value=10))
def test_merging_drops_no_key_and_keeps_lists_bounded_trimmed_and_distinct(
    memory: StructuredMemory, update: Update, max_items: int
) -> None:
    merged = learned(memory, update, max_items=max_items)
    assert merged.profile.keys() >= memory.profile.keys()
    assert merged.preferences.keys() >= memory.preferences.keys()
    for items in (merged.facts, merged.todos):
        texts = values(items)
        assert len(texts) <= max_items
        assert len(set(texts)) == len(texts)
        assert all(text and text == text.strip() for text in texts)


@quickly
@given(MEMORIES, UPDATES, st.integers(min_value=1, max_value=10))
def test_merging_keeps_the_order_of_what_was_known(
    memory: StructuredMemory, update: Update, max_items: int
) -> None:
    merged = learned(memory, update, max_items=max_items)
    assert list(merged.profile)[: len(memory.profile)] == list(memory.profile)
    survivors = [item for item in memory.facts if item in merged.facts]
    assert [item for item in merged.facts if item in memory.facts] == survivors
    assert survivors == list(memory.facts)[len(memory.facts) - len(survivors) :]


@quickly
@given(MEMORIES, UPDATES)
def test_manual_value_survives_updates_that_the_user_did_not_say(
    memory: StructuredMemory, update: Update
) -> None:
    edited = {key: replace(i, origin=Origin.USER) for key, i in memory.profile.items()}
    merged = learned(replace(memory, profile=edited), update)
    assert {key: merged.profile[key] for key in edited} == edited


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(10**600), 10**600),
    st.text(max_size=9),
    st.sampled_from(["x" * 499 + " y", " " * 600, "\0", "\ud800", "k" * 64, "k" * 65]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
MANY = st.integers(15, 30).map(lambda count: {f"k{n}": "v" for n in range(count)})
LONG = st.dictionaries(st.sampled_from(["k" * 64, "k" * 65, " k ", ""]), SCALARS)
SHAPED = st.dictionaries(
    st.sampled_from(["profile", "preferences", "facts", "todos"]), JSON | MANY | LONG
)


@quickly
@given(st.lists(SHAPED, max_size=3), st.integers(min_value=0, max_value=5))
def test_memory_stays_within_its_limits_for_any_model_output(
    found: list[dict[str, object]], max_items: int
) -> None:
    memory = StructuredMemory()
    for update in found:
        memory = learned(memory, update_from_json(update), max_items=max_items)
    for keyed, standard in ((memory.profile, PROFILE_KEYS), (memory.preferences, PREFERENCE_KEYS)):
        assert len(keyed.keys() - standard) <= MAX_EXTRA_KEYS
        assert all(0 < len(key) <= MAX_KEY_CHARS for key in keyed)
    assert max(len(memory.facts), len(memory.todos)) <= max_items
    items = [*memory.profile.values(), *memory.preferences.values(), *memory.facts, *memory.todos]
    assert all(0 < len(item.value) <= MAX_VALUE_CHARS for item in items)
    assert all(item.value == item.value.strip() for item in items)
    for recollection in recollections(Memory(structured=memory)):
        assert is_storable(recollection.text)
        recollection.text.encode()


@quickly
@given(st.lists(WORDS, max_size=5, unique=True), st.lists(UPDATES, max_size=3))
def test_no_sequence_of_updates_removes_a_manual_list_item(
    put: list[str], updates: list[Update]
) -> None:
    memory = replaced_by_hand(
        Update(facts=tuple(put), todos=tuple(put)), by=Origin.USER, max_items=5
    )
    for update in updates:
        memory = learned(memory, update, *put, max_items=5)
    for items in (memory.facts, memory.todos):
        assert [item.value for item in items if item.origin is Origin.USER] == put
        assert len(items) <= 5


@quickly
@given(MEMORIES, UPDATES)
def test_memory_repeated_by_the_model_adds_nothing(
    memory: StructuredMemory, update: Update
) -> None:
    known = learned(memory, update, sources=(1,))
    parroted = Update(
        profile={key: item.value for key, item in known.profile.items()},
        preferences={key: item.value for key, item in known.preferences.items()},
        facts=tuple(values(known.facts)),
        todos=tuple(values(known.todos)),
    )
    assert learned(known, parroted, *values(known.facts), sources=(9,)) == known


def test_surplus_marks_keep_the_newest_without_duplicates() -> None:
    memory = Memory().with_refused(range(1, MAX_REFUSED + 1)).with_refused([7, 9999])
    assert memory.refused == (*range(2, MAX_REFUSED + 1), 9999)
