"""How `local/extractive` quotes documents: sentences with what completes them, rows, and versions."""

import pytest

from asking_passages import asked, passages

PRICES = """| Room | Low season | High season | Extra bed |
|---|---|---|---|
| Single | 62 € | 88 € | none |
| Double | 84 € | 126 € | 25 € |"""
OWNERS = "Tool: Parlo | Purpose: Video meetings | Cost: 6 € | Owner: Priya Nair"


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        (
            "How much is a double room in high season?",
            PRICES,
            "Room: Double; High season: 126 € [1].",
        ),
        ("¿Cuánto cuesta el modelo Doble?", "Modelo | Precio\nSolo | 62\nDoble | 84", "Modelo: Doble; Precio: 84 [1]."),
        ("Who owns the tool for video meetings?", OWNERS, "Tool: Parlo; Purpose: Video meetings; Owner: Priya Nair [1]."),
        ("How often does a bus go to the airport?", "Line: X7 | Route: Station - Airport | Every: 25 minutes | Notes: no bus at night", "Line: X7; Route: Station - Airport; Every: 25 minutes; Notes: no bus at night [1]."),
        ("When is the blue bin collected?", "Bin: Blue | Collection: Monday\nBin: Green | Collection: Friday", "Bin: Blue; Collection: Monday [1]."),
    ],
    ids=["Markdown", "named by the first row", "person", "figure", "named in each row"],
)  # fmt: skip
def test_rows_are_quoted_with_the_names_of_their_columns(
    prompt: str, text: str, expected: str
) -> None:
    assert asked(prompt, passages=passages(text, title="", heading="")) == expected


def test_what_names_the_columns_is_no_answer() -> None:
    said = asked("What is the collection day of a bin?", passages=passages(PRICES))
    assert "[1]" not in said
    table = "Bin | Collection\nBlue | 1 May\nGreen | 2 May"
    assert "Bin; Collection" not in asked("Which bin has a collection?", passages=passages(table))


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        (
            "What happens to the margin of a lane?",
            "Discounts never cut the margin of a lane. However, a trial may. Ask Tom.",
            "Discounts never cut the margin of a lane [1]. However, a trial may [1].",
        ),
        (
            "¿Cuándo se pierden los días pendientes?",
            "Los días pendientes se pierden el 31 de marzo. Excepto en una baja médica. Hay más.",
            "Los días pendientes se pierden el 31 de marzo [1]. Excepto en una baja médica [1].",
        ),
        (
            "What is the fee of the agencies for drivers?",
            "We work with two agencies. Their fee for drivers is 18 percent.",
            "We work with two agencies. Their fee for drivers is 18 percent [1].",
        ),
        (
            "Me sale el error 809, ¿qué hago?",
            "**Error 809**: la red bloquea el túnel. Cambia el puerto. Reinicia.",
            "Error 809: la red bloquea el túnel [1]. Cambia el puerto [1].",
        ),
        (
            "What does error 809 mean?",
            "**Error 809**: the network is blocked. Change the port. Restart.",
            "Error 809: the network is blocked [1]. Change the port [1].",
        ),
        (
            "How long does the service desk take to restore a file?",
            "A user asks the service desk to restore a file. The target is four hours.",
            "A user asks the service desk to restore a file [1]. The target is four hours [1].",
        ),
        (
            "When does the canteen open?",
            "The canteen opens at noon, at 12:00. Bread is baked in Paterna.",
            "The canteen opens at noon, at 12:00 [1].",
        ),
    ],
    ids=["however", "excepto", "pronoun", "remedy", "entry", "figure", "nothing to add"],
)
def test_sentence_is_quoted_with_those_that_complete_it(
    prompt: str, text: str, expected: str
) -> None:
    assert asked(prompt, passages=passages(text, title="", heading="")) == expected


def test_a_quote_is_bounded() -> None:
    text = "The canteen opens at 12:00. " + "However, it may be closed for cleaning. " * 20
    said = asked("When does the canteen open?", passages=passages(text))
    assert 2 <= said.count("[1]") <= 3
    assert len(said) < 450


def test_lines_of_a_sentence_are_one_and_headings_are_no_answer() -> None:
    text = "CANTEEN HOURS\nThe canteen of the office opens\nat noon, at 12:00.\n\nCanteen of the office"
    said = asked("When does the canteen of the office open?", passages=passages(text))
    assert said == "The canteen of the office opens at noon, at 12:00 [1]."


def test_a_heading_and_a_question_of_the_document_are_no_answers() -> None:
    heading = passages("GUIDE FOR VOLUNTEERS OF THE SALT MUSEUM", title="", heading="")
    assert "[1]" not in asked(
        "Is there a guide for volunteers of the salt museum?", passages=heading
    )
    faq = passages("May I park a bicycle in the yard? Yes, with a green card.", heading="")
    assert asked("May I park my bicycle in the yard?", passages=faq) == (
        "Yes, with a green card [1]."
    )


def test_words_of_a_heading_count_for_what_is_below_it() -> None:
    text = "Fuel\nThe card is frozen for a day.\n\nReceipts\nAfter ten days the card is frozen."
    said = asked("When is a card frozen for receipts?", passages=passages(text, heading=""))
    assert said == "After ten days the card is frozen [1]."


def test_a_long_sentence_is_cut() -> None:
    text = "The canteen opens at 12:00 and " + "serves soup and " * 200 + "closes."
    said = asked("When does the canteen open?", passages=passages(text))
    assert said.startswith("The canteen opens at 12:00 and serves")
    assert len(said) < 450


DAYS = "Employees get {} working days of holidays a year."
VERSIONS = [
    {"n": 1, "title": "Holidays 2024", "heading": "Days", "text": DAYS.format(22)},
    {"n": 2, "title": "Holidays 2026", "heading": "Days", "text": DAYS.format(25)},
]


def test_versions_that_contradict_each_other_are_both_quoted_with_their_titles() -> None:
    assert asked("How many days of holidays do employees get?", passages=VERSIONS) == (
        "I found more than one answer:\n"
        "- Holidays 2026: Employees get 25 working days of holidays a year [2].\n"
        "- Holidays 2024: Employees get 22 working days of holidays a year [1]."
    )


@pytest.mark.parametrize(
    ("prompt", "days"),
    [
        ("How many days of holidays do employees get in 2026?", 25),
        ("How many days of holidays did employees get in 2024?", 22),
        ("How many days of holidays do employees get now?", 25),
        ("By the old rules, how many days of holidays do employees get?", 22),
    ],
)
def test_question_that_says_which_version_is_answered_from_it(prompt: str, days: int) -> None:
    said = asked(prompt, passages=VERSIONS)
    assert said.startswith(DAYS.format(days).removesuffix("."))
    assert said.count("[") == 1


def test_question_that_says_which_department_is_answered_from_its_document() -> None:
    found = [
        {"n": 1, "title": "Holidays, Sales", "text": DAYS.format(22)},
        {"n": 2, "title": "Holidays, Finance", "text": DAYS.format(25)},
    ]
    prompt = "How many days of holidays do employees get in Finance?"
    assert asked(prompt, passages=found) == f"{DAYS.format(25).removesuffix('.')} [2]."


def test_another_version_that_says_it_in_other_words_is_quoted_too() -> None:
    found = [
        {"n": 1, "title": "Laptops 2024", "heading": "Laptops 2024 > Loss", "text": "A stolen laptop is reported by the end of the next day."},
        {"n": 2, "title": "Laptops 2026", "heading": "Laptops 2026 > Loss and theft", "text": "Report within two hours, day or night."},
    ]  # fmt: skip
    said = asked("My laptop was stolen, when must I report it?", passages=found)
    assert said.index("Laptops 2026: Report within") < said.index("Laptops 2024: A stolen")


def test_passages_that_say_the_same_are_quoted_once() -> None:
    found = passages(DAYS.format(25), DAYS.format(25))
    said = asked("How many days of holidays do employees get?", passages=found)
    assert said == "Employees get 25 working days of holidays a year [1]."


@pytest.mark.parametrize(("year", "is_named"), [("", True), (" in 2024", False)])
def test_quote_of_an_older_version_names_the_newer_one(year: str, is_named: bool) -> None:
    found = [
        {"n": 1, "title": "Leave 2024", "heading": "Moving", "text": "Moving house gives one day of leave."},
        {"n": 2, "title": "Leave 2026", "heading": "Requests", "text": "Requests go to the portal."},
    ]  # fmt: skip
    said = asked(f"How many days of leave does moving house give{year}?", passages=found)
    assert said.startswith("Moving house gives one day of leave [1].")
    newer = "There is a newer version, which may say otherwise:\n- Leave 2026"
    assert said.endswith(newer) is is_named


def test_question_beside_a_statement_is_answered_too() -> None:
    found = passages("Moving house gives two days of leave.")
    said = asked("I live in Oslo. How many days of leave does moving house give?", passages=found)
    assert "Moving house gives two days of leave [1]." in said
    assert "Oslo" in said
