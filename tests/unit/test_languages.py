"""The language of the service's own texts: configured, preferred by the caller, or the user's."""

from dataclasses import replace

import pytest
from starlette.datastructures import Headers

from chatbot.application.prompt import PromptBuilder
from chatbot.application.prompt_texts import Language, texts_in
from chatbot.domain.chat import Message
from chatbot.domain.memory import Memory
from chatbot.domain.ports.model import Task
from chatbot.entrypoints.http.accept_language import preferred_language
from conversation import RULES, ChatApp, by_task, fresh_ids, message

SPOKEN: dict[Language, str] = {
    "es": "Hola, ¿cuándo puedo hablar con mi jefa?",
    "en": "Hello, when can I talk to my manager?",
}
UNCLEAR = "Ok."


def system(
    *prompts: str,
    language: Language | None = None,
    preferred: Language | None = None,
    name: str | None = None,
) -> str:
    """The system text of the prompt for the last of these messages."""
    prompt_builder = PromptBuilder(
        assistant_name=name,
        company_instructions="",
        language=language,
        window=12,
        threshold=20,
        context_tokens=8192,
        max_output_tokens=1024,
        new_id=fresh_ids(),
    )
    history: list[Message] = []
    for number, prompt in enumerate(prompts):
        history += [message(2 * number + 1, prompt), message(2 * number + 2, "...")]
    return prompt_builder.build(Memory(), history[:-1], preferred=preferred).request.system


def ours(language: Language) -> str:
    texts = texts_in(language)
    return texts.system.format(name=texts.name)


@pytest.mark.parametrize("spoken", ["es", "en"])
def test_system_text_is_in_the_language_of_the_prompt(spoken: Language) -> None:
    assert system(SPOKEN[spoken]) == ours(spoken)


def test_prompt_that_shows_no_language_keeps_that_of_the_one_before() -> None:
    assert system(SPOKEN["es"], SPOKEN["en"], UNCLEAR) == ours("en")
    assert system(SPOKEN["en"], SPOKEN["es"]) == ours("es")


def test_spanish_is_the_final_fallback() -> None:
    assert system(UNCLEAR) == ours("es")


def test_callers_preference_comes_before_the_prompt_and_the_setting_before_both() -> None:
    assert system(SPOKEN["es"], preferred="en") == ours("en")
    assert system(SPOKEN["en"], preferred="en", language="es") == ours("es")


def test_name_that_is_set_is_the_same_in_each_language() -> None:
    for prompt in SPOKEN.values():
        assert "Clara" in system(prompt, name="Clara")


@pytest.mark.parametrize("spoken", ["es", "en"])
async def test_memory_prompt_is_in_the_language_of_the_user(spoken: Language) -> None:
    app = ChatApp(by_task(), rules=replace(RULES, language=None, window=2, threshold=4))
    reply = await app.ask(SPOKEN[spoken])
    for _ in range(7):
        await app.ask(SPOKEN[spoken], reply.session_id)

    [summarize, *_] = app.asked(Task.SUMMARIZE)
    [extract, *_] = app.asked(Task.EXTRACT_MEMORY)
    assert summarize.system == texts_in(spoken).summarize.format(max_words=140)
    assert extract.system == texts_in(spoken).extract


@pytest.mark.parametrize("spoken", ["es", "en"])
async def test_notice_is_in_the_language_of_the_person(spoken: Language) -> None:
    app = ChatApp(by_task(), rules=replace(RULES, language=None), notice=None)

    assert (await app.ask(SPOKEN[spoken])).notice == texts_in(spoken).notice


@pytest.mark.parametrize(
    ("header", "preferred"),
    [
        ("es", "es"),
        ("EN-us,en;q=0.9", "en"),
        ("es-419, en;q=0.8", "es"),
        ("en;q=0.5, es;q=0.9", "es"),
        ("fr-FR, fr;q=0.9, en;q=0.2", "en"),
        ("en, es", "en"),
        ("es;q=0, en;q=0.1", "en"),
        ("es-MX;q=0.3, en;q=0.5, es;q=0.8", "es"),
        (" en ; q=0.7 ", "en"),
        ("es;q=0", None),
        ("fr, de;q=0.5", None),
        ("*", None),
        ("", None),
        ("english, español, e n, es;q=2, en;level=1, ;;;,", None),
        ("fr," * 100_000 + "es", None),
    ],
)
def test_accept_language_selects_the_preferred_supported_language(
    header: str, preferred: Language | None
) -> None:
    assert preferred_language(Headers({"Accept-Language": header})) == preferred


def test_several_accept_language_headers_count_as_one() -> None:
    raw = [(b"accept-language", b"fr, en;q=0.2"), (b"accept-language", b"es;q=0.3")]

    assert preferred_language(Headers(raw=raw)) == "es"
    assert preferred_language(Headers({})) is None
