"""The analyser: folding, words, languages, stems; and that its version is kept."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatbot.adapters.search import languages
from chatbot.adapters.search.analyser import VERSION, fold, term_of, terms_of, words_of
from chatbot.adapters.search.languages import language_of, stem
from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.records import (
    BY_ASSISTANT,
    BY_USER,
    IS_QUESTION,
    record_of,
    unpacked,
)
from chatbot.domain.chat import MessageRole
from chatbot.domain.search import Passage


def test_accents_case_and_compatible_forms_are_folded() -> None:
    assert fold("Permiso de PATERNIDAD, año \ufb01n Ⅳ") == "permiso de paternidad, ano fin iv"
    assert terms_of(words_of("¿Cuántos días de vacación?")) == terms_of(
        words_of("cuantos dias de vacacion")
    )


def test_words_are_cut_at_40_characters_and_lose_the_english_genitive() -> None:
    assert words_of("Ana's kite, Ana\u2019s kite") == ["ana", "kite", "ana", "kite"]
    assert [len(word) for word in words_of("x" * 90)] == [40]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "where is the report of the quarter"),
        ("es", "donde esta el informe de los meses"),
        ("de", "wo ist der Bericht und die Rechnung"),
        ("fr", "ou est le rapport dans les archives"),
        ("pt", "onde estao os relatorios do ano em que"),
        ("it", "dove sono gli articoli della rivista che"),
        ("ca", "on es el meu informe amb els numeros"),
        ("ro", "unde este raportul din aceasta luna si"),
    ],
)
def test_the_language_is_the_one_with_most_stop_words(code: str, text: str) -> None:
    assert language_of(words_of(text)) == code


def test_a_text_without_stop_words_has_the_preferred_language() -> None:
    assert language_of(["kite", "4711"]) is None
    assert language_of(["kite", "4711"], preferred="de") == "de"
    assert language_of(["de"], preferred="pt") == "pt"
    assert language_of(["de"]) == "es"


@pytest.mark.parametrize(
    ("code", "one", "other"),
    [
        ("en", "running", "runs"),
        ("es", "vacaciones", "vacacion"),
        ("de", "rechnungen", "rechnung"),
        ("fr", "rapports", "rapport"),
        ("pt", "relatorios", "relatorio"),
        ("it", "articoli", "articolo"),
        ("ca", "gats", "gat"),
        ("ro", "rapoartele", "rapoarte"),
    ],
)
def test_forms_of_a_word_have_one_stem(code: str, one: str, other: str) -> None:
    assert stem(code, one) == stem(code, other)


def test_threads_that_stem_at_once_do_not_mix_their_words() -> None:
    words = [f"{root}{end}" for root in ("walk", "plann", "happ") for end in ("ing", "ed", "iness")]
    expected = [stem("en", word) for word in words]

    def stems(_: int) -> Sequence[str]:
        return [stem("en", word) for _ in range(40) for word in words]

    with ThreadPoolExecutor(8) as pool:
        for each in pool.map(stems, range(16)):
            assert each == expected * 40


def test_a_change_of_terms_needs_another_version() -> None:
    assert (VERSION, term_of("en", "running"), term_of("es", "vacaciones")) == (
        1,
        10773672743070944251,
        14705853323036996404,
    )
    assert len(languages.languages()) == 8


def test_a_record_has_the_speaker_the_role_and_whether_it_asks() -> None:
    passage = Passage(seq=1, text="Ana María: Where is my kite?", role=MessageRole.USER)
    record = unpacked(record_of(passage))
    assert record.label == "ana maria"
    assert record.flags == IS_QUESTION | BY_USER
    assert list(record.terms) == [term_of("en", "kite")]
    assert record.version == VERSION
    answer = Passage(seq=2, text="Note: here.", role=MessageRole.ASSISTANT)
    assert unpacked(record_of(answer)).flags == BY_ASSISTANT
    assert unpacked(record_of(Passage(seq=1, text="Note: kites"))).label == ""


def test_counts_and_lengths_have_a_bound() -> None:
    record = unpacked(record_of(Passage(seq=1, text="kite " * 70_000)))
    assert (record.length, list(record.counts)) == (65_535, [255])


def test_a_heading_counts_as_text_of_the_passage() -> None:
    record = unpacked(record_of(Passage(seq=1, text="Two days.", heading="Paternity leave")))
    assert term_of("en", "paternity") in record.terms


def test_a_question_without_stop_words_is_asked_in_all_languages() -> None:
    question = question_of("vacaciones")
    assert {term_of("es", "vacaciones"), term_of("en", "vacaciones")} <= set(
        question.terms["vacaciones"]
    )
    assert question_of("las vacaciones").terms == {"vacaciones": (term_of("es", "vacaciones"),)}


def test_words_with_one_stem_count_once_in_a_question() -> None:
    assert list(question_of("the kite and the kites").terms) == ["kite"]


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("What did you recommend for my kite?", BY_ASSISTANT),
        ("Qué me recomendaste", BY_ASSISTANT),
        ("Where is my kite?", BY_USER),
        ("¿Cuál es mi cometa?", BY_USER),
        ("Where is the kite?", 0),
    ],
)
def test_a_question_says_who_wrote_the_answer(text: str, role: int) -> None:
    assert question_of(text).asked_role == role
