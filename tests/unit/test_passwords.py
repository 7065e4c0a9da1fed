"""Which passwords are accepted."""

import base64
import random
import string
import unicodedata

import pytest

from chatbot.domain import passwords
from chatbot.domain.errors import InvalidInput
from chatbot.domain.passwords import (
    check_password,
    is_checkable,
    normalise_password,
)

GOOD = "mi perro ladra a las motos"


def check(password: str) -> None:
    check_password(password, email="ana.perez@acme-motors.es", department="Recursos Humanos")


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "correct-hearse-batty-stapler",
        "concierto de aranjuez",
        "purple monkey dishwasher",
        "k8#Fz!q2LpW@9xRt",
        "el niño comió piñones",
        "密码很难猜对吗我觉得是的朋友们",
        "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰",
    ],
)
def test_long_unrelated_words_and_random_text_are_good_passwords(password: str) -> None:
    check(password)


def test_random_passwords_are_never_taken_for_common_ones() -> None:
    """Seeded: of a million random passwords, one or two do consist of keyboard runs."""
    randomly = random.Random(1)
    for _ in range(500):
        check("".join(randomly.choices(string.printable[:94], k=15)))
        check(base64.urlsafe_b64encode(randomly.randbytes(12)).decode())


@pytest.mark.parametrize(
    "password",
    [
        "password1234567",
        "contraseña12345",
        "Contraseña.2024!!",
        "CONTRASENA_CONTRASENA",
        "P4ssw0rd123456789",
        "p.a.s.s.w.o.r.d.1.2.3",
        "ｐａｓｓｗｏｒｄ１２３４５６７",  # noqa: RUF001 # full-width letters are the point
        "password!!!!!!!!!!!!",
        "Verano2024Verano2024",
        "Summer-Winter-2025",
        "Bienvenido2024!!",
        "iloveyouforever",
        "correcthorsebatterystaple",
        "Correct Horse Battery Staple",
        "tres tristes tigres",
    ],
)
def test_a_common_password_is_refused_however_it_is_padded(password: str) -> None:
    with pytest.raises(InvalidInput, match="too easy to guess"):
        check(password)


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaa",
        "ab1ab1ab1ab1ab1ab",
        "123456789012345",
        "987654321098765",
        "abcdefghijklmnop",
        "qwertyuiopasdfgh",
        "1qaz2wsx3edc4rfv",
        "poiuytrewqlkjhgfdsa",
        "111222333444555",
    ],
)
def test_runs_and_repetitions_are_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="too easy to guess"):
        check(password)


@pytest.mark.parametrize(
    "password",
    [
        "ana.perez@acme-motors.es",
        "ANA.PEREZ@ACME-MOTORS.ES",
        "anaperezanaperez",
        "Perez.Ana.Perez.Ana",
        "recursoshumanos",
        "Recursos Humanos 2025",
        "AcmeMotors1234567",
    ],
)
def test_the_users_own_name_company_and_department_are_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="too easy to guess"):
        check(password)


def test_an_empty_department_forbids_nothing() -> None:
    check_password(GOOD, email="ana@empresa.es", department="")


@pytest.mark.parametrize("password", ["", "kJ8#zQ1!mPx4vB", "ñ" * 14])
def test_a_password_has_at_least_15_code_points(password: str) -> None:
    with pytest.raises(InvalidInput, match="at least 15"):
        check(password)
    check("kJ8#zQ1!mPx4vB" + "y")


def test_length_counts_code_points_of_the_normalised_text() -> None:
    decomposed = unicodedata.normalize("NFD", "áéíóúñçàèìòùüö")
    assert len(decomposed) > 15
    with pytest.raises(InvalidInput, match="at least 15"):
        check(decomposed)


def text_of(length: int) -> str:
    """Return text of any length without a pattern."""
    return "".join(chr(0x4E00 + (7919 * i) % 20_000) for i in range(length))


def test_a_password_has_at_most_128_code_points_however_it_is_typed() -> None:
    check(text_of(128))
    accented = "é" * 128
    assert is_checkable(unicodedata.normalize("NFD", accented))
    assert not is_checkable(accented + "é")
    with pytest.raises(InvalidInput, match="at most 128"):
        check(text_of(129))


def test_more_than_1024_bytes_are_refused_before_anything_is_done_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def touched(_: str) -> str:
        raise AssertionError("the cost of this can be quadratic")

    assert not is_checkable("e" + "\u0301" * 511)  # 1,023 bytes, but too many code points
    monkeypatch.setattr(passwords, "normalise_password", touched)
    assert not is_checkable("e" + "\u0301" * 512)
    assert not is_checkable("x" * 1025)


@pytest.mark.parametrize("password", ["\ud800" + GOOD, GOOD + "\udfff", "x" * 1025, "x" * 10**7])
def test_impossible_password_is_neither_checkable_nor_accepted(password: str) -> None:
    assert not is_checkable(password)
    with pytest.raises(InvalidInput):
        check(password)


def test_composed_and_decomposed_text_is_one_password() -> None:
    typed = "contraseñá del niño"
    assert normalise_password(unicodedata.normalize("NFD", typed)) == typed


def test_passwords_of_the_legacy_service_keep_their_hashes() -> None:
    ascii_text = string.printable
    for password in (ascii_text, "1º piso, 2ª puerta", "½ ﬁn"):
        assert normalise_password(password) == password


@pytest.mark.parametrize("password", ["short", "password1234567", "x" * 129])
def test_a_refusal_names_the_field_and_never_repeats_the_password(password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(password)
    assert refused.value.where == ("password",)
    assert password not in str(refused.value)
