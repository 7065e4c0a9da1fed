"""Detecting the language of a text."""

import time

import pytest

from chatbot.domain.text import detect_language, visible, visible_line

SPANISH = [
    "Hola, me llamo Ana",
    "hola soy carmen",
    "buenas, soy carmen de nominas",
    "¿Qué tengo pendiente?",
    "que tengo pendiente",
    "gracias",
    "contraseña olvidada",
    "VACACIONES EN AGOSTO",
    "vacaciones",
    "ya he llamado a RRHH",
    "Necesito el password del WiFi de la oficina",
    "traduce «good morning, how are you» al español",
    "no me acuerdo",
    "mañana no puedo",
    "me han puesto una reunion con marketing",
    "cuanto es 3 + 4",
    "vale",
    "quiero cambiar mi feedback del team building",
]
ENGLISH = [
    "Hello, I'm Ana",
    "hi im dave from accounting",
    "this is Priya",
    "What's on my list?",
    "whats my name",
    "thanks!",
    "I\u2019m not a nurse anymore",
    "reset password",
    "HOLIDAYS IN AUGUST, PLEASE",
    'how do I say "hola, ¿qué tal estás?" to a colleague',
    "book a meeting with José Núñez",
    "pls remind me to call María",
    "no worries",
    "ok, will do",
    "is El Corte Inglés open today?",
    "forget my name",
]
UNDECIDED = ["", "   ", "123", "ok", "Ana", "no", "👍", "git rebase main", "Привет", "a", "…"]


@pytest.mark.parametrize("text", SPANISH)
def test_spanish_is_detected_with_and_without_accents(text: str) -> None:
    assert detect_language(text) == "es"


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_detected_despite_foreign_names_and_quotations(text: str) -> None:
    assert detect_language(text) == "en"


@pytest.mark.parametrize("text", UNDECIDED)
def test_text_in_neither_or_both_languages_is_undecided(text: str) -> None:
    assert detect_language(text) is None


def test_quoted_text_decides_the_language_if_there_is_no_other_text() -> None:
    assert detect_language("«buenos días»") == "es"
    assert detect_language('"good morning"') == "en"


@pytest.mark.parametrize("piece", ['"', "«", "ñ", "a ", "'", "w" * 50, "¿", "é"])
def test_a_text_of_a_million_characters_takes_no_longer_than_its_beginning(piece: str) -> None:
    text = (piece * 1_000_000)[:1_000_000]
    started = time.thread_time()
    detect_language(text)
    assert time.thread_time() - started < 0.25  # measured: under 0.01 s


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("¿Qué tal? 😀\n\tBien", "¿Qué tal? 😀\n\tBien"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("\x9b31m \x85 \x7f \x00 \x08", "\\x9b31m \\x85 \\x7f \\x00 \\x08"),
        ("paid\rnot paid\r\nyes", "paidnot paid\nyes"),
        ("\u202etxt.exe \u2066x\u2069", "\\u202etxt.exe \\u2066x\\u2069"),
        ("\u200f\u05e9\u05dc\u200f", "\u200f\u05e9\u05dc\u200f"),
    ],
)
def test_terminal_control_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible_line(text) == shown.replace("\n", "\\n")


@pytest.mark.parametrize("mark", ["\u201c", "\u00ab", '"x', "x\u201c", "\u201c\u00ab"])
def test_language_detection_of_unclosed_quotes_takes_linear_time(mark: str) -> None:
    """Every turn examines all prompts of its history."""
    began = time.process_time()
    for _ in range(40):
        assert detect_language(mark * 2000) is None
    assert time.process_time() - began < 0.2


def test_unclosed_quote_is_not_a_quote() -> None:
    assert detect_language('"where is the office') == "en"
    assert detect_language('dime qué es "where is the office and who are you"') == "es"
    assert detect_language("\u00abwhere is \u201cmi casa") == "en"
