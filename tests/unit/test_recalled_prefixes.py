"""With recall on, most of a prompt is a prefix of the one before, so that providers can cache it."""

import random
from functools import partial
from pathlib import Path

import pytest

from chatbot.domain.passages import Section, split
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.model import Task
from conversation import BEN, ChatApp, by_task, caller
from labelled_questions import document_questions
from prefixes import WORDS, prose, repeated_share
from stored_documents import put_document

DOCUMENTS = Path(__file__).resolve().parents[2] / "examples" / "documents"
ANA = caller("ana", Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ)


async def with_documents(app: ChatApp) -> None:
    """Store the examples that are plain text, readable for all."""
    for path in sorted(DOCUMENTS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        section = Section(heading=path.stem, text=text, start=0)
        texts = [each.text for each in split([section])]
        put = partial(put_document, title=path.stem, texts=texts, uploader=BEN.owner)
        await app.storage.transact(put)


def small_talk(rng: random.Random, chars: int) -> str:
    """A message of words that no document has."""
    text = ""
    while len(text) < chars:
        text += "".join(rng.choice("bcdfgklmnprstv") + rng.choice("aeiou") for _ in range(3)) + " "
    return text.strip().capitalize() + "."


async def fifty_turns(*, about_documents: float) -> ChatApp:
    rng = random.Random(7)
    app = ChatApp(
        by_task(
            chat=lambda _: prose(rng, rng.randint(250, 500)),
            summarize=lambda _: " ".join(rng.choice(WORDS) for _ in range(100)),
        ),
    )
    await with_documents(app)
    for _ in range(10):
        await app.ask(prose(rng, 200), who=ANA)
    questions = [each.text for each in document_questions() if each.file.endswith(".md")]
    session_id = await app.sessions.begin(ANA)
    for _ in range(50):
        is_about_them = rng.random() < about_documents
        asked = rng.choice(questions) if is_about_them else small_talk(rng, rng.randint(60, 120))
        await app.ask(asked, session_id, who=ANA)
    return app


@pytest.mark.parametrize("about_documents", [0.3, 0.6, 0.9])
async def test_most_of_a_prompt_is_a_prefix_of_the_one_before(about_documents: float) -> None:
    app = await fifty_turns(about_documents=about_documents)
    requests = app.asked(Task.CHAT)[-50:]
    with_passages = sum('"passages":[{' in each.messages[-1].text for each in requests)
    share = repeated_share(requests)
    assert with_passages >= 35 * about_documents
    assert share >= 0.70, f"{share:.4f}"
