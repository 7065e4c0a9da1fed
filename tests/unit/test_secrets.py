"""Which secrets the service accepts at startup."""

import base64
import random
import re

import pytest

from chatbot.entrypoints.settings.secret_strength import check_secret, random_secret


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "not set"),
        (" " * 40, "not set"),
        ("kJ8#zQ1!mPx4vBkT9&wLr2^sDfG5*hY", "at least 32"),
        ("changeme", "at least 32"),
        ("changeme" * 5, "example"),
        ("change-me-change-me-change-me-please", "example"),
        ("very-long-secret-very-long-secret", "example"),
        ("a-very-long-secret-of-at-least-32-characters", "example"),
        ("your-super-secret-jwt-key-change-this-in-production", "example"),
        ("cambia-esta-clave-secreta-muy-larga", "example"),
        ("0123456789abcdef0123456789abcdef", "example"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "example"),
        ("x" * 64, "example"),
        ("0" * 63 + "1", "example"),
        ("k8Fz2q" * 6, "example"),
    ],
)
def test_a_missing_short_or_example_secret_is_refused(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        check_secret(value)
    assert not value.strip() or value not in str(refused.value)


def test_random_secrets_of_any_common_form_are_accepted() -> None:
    drawn = random.Random(1)  # one of 10,000 short ones in hex has a run of keys and is refused
    for _ in range(100):
        check_secret(random_secret())
        check_secret(drawn.randbytes(16).hex())
        check_secret(base64.urlsafe_b64encode(drawn.randbytes(24)).decode())


def test_random_secrets_hold_256_bits_and_differ() -> None:
    made = {random_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in made)
