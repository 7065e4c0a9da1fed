"""The one spelling of a mailbox by which users are stored and found."""

import unicodedata

from chatbot.domain.errors import InvalidInput

MAX_EMAIL_CHARS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
_NO_EMAIL = "This is not an e-mail address."


def normalise_email(raw: str) -> str:
    """Return the e-mail address in the form in which it is stored and compared.

    That is NFKC in lower case, with the host in its ASCII form (`xn--...`), so that one mailbox has
    one spelling. Not folded further: `straße@` and `strasse@` are two mailboxes.

    Raises:
        InvalidInput: it has no single `@` with text on both sides, holds blanks, control or
            invisible characters, or is longer than 254 characters (RFC 5321).
    """
    email = raw.strip()[: MAX_EMAIL_CHARS + 1]
    if not email.isascii():
        email = unicodedata.normalize("NFKC", email)
    local, at, host = email.lower().partition("@")
    printable = email.isprintable() and " " not in email
    if not (local and at and host) or "@" in host or not printable:
        raise InvalidInput(_NO_EMAIL, where=("email",))
    email = f"{local}@{_ascii_host(host)}"
    if len(email) > MAX_EMAIL_CHARS:
        raise InvalidInput(_NO_EMAIL, where=("email",))
    return email


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidInput(_NO_EMAIL, where=("email",)) from error
