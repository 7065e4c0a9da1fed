"""Which passwords are good enough, and in which form they are hashed."""

import re
import unicodedata

from chatbot.domain.common_passwords import unpredictable_chars
from chatbot.domain.errors import InvalidInput

MIN_PASSWORD_CHARS = 15  # NIST SP 800-63B-4, section 3.1.1.2: a password as the only factor
MAX_PASSWORD_CHARS = 128
MAX_PASSWORD_BYTES = 1024
ONE_TIME_CHARS = 24
ONE_TIME_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 characters that are not mistaken for another when read out: 24 of them are 120 bits."""
MIN_UNPREDICTABLE_CHARS = 8  # the shortest password that NIST allows anywhere


def normalise_password(raw_password: str) -> str:
    """Return the password in the form in which it is hashed and verified: Unicode NFC.

    So a keyboard that sends `n` and a tilde types the same password as one that sends `ñ` (RFC
    8265, section 4.2.2, OpaqueString). Not NFKC, which NIST SP 800-63B suggests: it makes `1º`
    and `1o` one password and would shut out people whose hash was made before normalisation.
    ASCII is left as it is. Give it only what `is_checkable`: its cost can be quadratic.
    """
    return unicodedata.normalize("NFC", raw_password)


def is_checkable(raw_password: str) -> bool:
    """Whether this can be a user's password; anything else is wrong and is not hashed.

    The limit in bytes bounds the cost of normalising. Characters are counted in the normalised form,
    so that the limit does not depend on the keyboard.
    """
    if len(raw_password) > MAX_PASSWORD_BYTES or _has_surrogates(raw_password):
        return False
    if len(raw_password.encode()) > MAX_PASSWORD_BYTES:
        return False
    return len(normalise_password(raw_password)) <= MAX_PASSWORD_CHARS


def check_password(
    raw_password: str, *, email: str, department: str, field: str = "password"
) -> None:
    """Check that this may become the password of the user with this e-mail and department.

    No rules about kinds of characters (NIST SP 800-63B-4, section 3.1.1.2): length, and enough
    that is neither common nor the user's own name, company or department.

    Raises:
        InvalidInput: it may not; the message says what to do and repeats nothing of it. It names
            the `field` of the request.
    """
    if not is_checkable(raw_password):
        limit = f"{MAX_PASSWORD_CHARS} characters and {MAX_PASSWORD_BYTES} bytes"
        raise _refusal(field, f"The password must be valid Unicode text of at most {limit}.")
    password = normalise_password(raw_password)
    if len(password) < MIN_PASSWORD_CHARS:
        raise _refusal(field, f"The password needs at least {MIN_PASSWORD_CHARS} characters.")
    if unpredictable_chars(password, also=_own_words(email, department)) < MIN_UNPREDICTABLE_CHARS:
        raise _refusal(field, "The password is too easy to guess; use several unrelated words.")


def _refusal(field: str, message: str) -> InvalidInput:
    return InvalidInput(message, where=(field,))


def _has_surrogates(text: str) -> bool:
    """Whether the text holds half a character, which no encoding can express."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _own_words(email: str, department: str) -> set[str]:
    """Return what a guesser would try first: the address, the department and their parts."""
    local, _, host = email.partition("@")
    parts = re.split(r"[\W_]+", f"{local} {host} {department}")
    return {email, local, host, department, *parts}
