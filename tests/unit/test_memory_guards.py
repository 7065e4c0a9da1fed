"""Secrets are recognised however they are written, and are kept through no door and beside no item."""

import pytest

from chatbot.domain.chat import Message, MessageRole, TurnId
from chatbot.domain.errors import InvalidInput
from chatbot.domain.memory import Update
from chatbot.domain.memory_guards import is_secret
from chatbot.domain.memory_learning import Lesson, learned
from chatbot.domain.person_memory import PersonMemory
from conversation import ANA, ChatApp, by_task
from person_memories import EMPTY, NEW_ID, ONE, only
from samples import T0

CARD, ACCOUNT = ("4111", "1111", "1111", "1111"), ("ES91", "2100", "0418", "4502", "0005", "1332")
SECRETS = Update(facts=("My card is 4111 1111 1111 1111",)), Update(profile={"password": "hunter2"})


@pytest.mark.parametrize("parts", [CARD, ACCOUNT], ids=["card", "account"])
@pytest.mark.parametrize(
    "between", ["", " ", "-", ".", "_", "\u00a0", "\u2009", "\u200b", "\u00ad"]
)
def test_number_is_a_secret_whatever_stands_between_its_parts(
    parts: tuple[str, ...], between: str
) -> None:
    assert is_secret(f"It is {between.join(parts)}, take it")


@pytest.mark.parametrize("text", ["pwd: hunter2024", "the passwd is hunter2024", "passwd=hunter"])
def test_password_is_a_secret_by_its_short_names(text: str) -> None:
    assert is_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        *("Works on 2026-11-29 from 08.00 to 15.30", "Reads docs/2026/notes/plan-a/final.md"),
        *("Call +34 912 345 678", "The budget is 1.500.000 euros", "Uses version 3.11.4 and 2.0.1"),
    ],
)
def test_dates_paths_phone_numbers_and_amounts_are_no_secrets(text: str) -> None:
    assert not is_secret(text)


def taught(text: str, update: Update) -> PersonMemory:
    message = Message(seq=1, role=MessageRole.USER, content=text, ts=T0, turn_id=TurnId("1" * 32))
    lesson = Lesson(session_id=ONE, messages=(message,), update=update)
    return learned(EMPTY, lesson, now=T0, new_id=NEW_ID)


@pytest.mark.parametrize(
    "text", ["My name is Ana and my card is 4111 1111 1111 1111", "I'm Ana, DNI 12345678Z"]
)
def test_item_is_learned_without_the_secret_that_stands_beside_it(text: str) -> None:
    item = only(taught(text, Update(profile={"name": "Ana"})))
    [source] = item.sources
    assert (item.text, source.seq, source.quote) == ("Ana", 1, "")


@pytest.mark.parametrize("update", SECRETS, ids=["text", "key"])
async def test_secret_cannot_be_stored_as_memory_of_a_session(update: Update) -> None:
    app = ChatApp(by_task())
    session_id = await app.filled(turns=1)
    with pytest.raises(InvalidInput, match="not stored"):
        await app.memory_editor.put_structured(ANA, session_id, update)
    assert not (await app.memory_editor.read(ANA, session_id)).items
