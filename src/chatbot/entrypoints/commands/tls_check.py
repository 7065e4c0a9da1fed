"""The TLS check of `chatbot doctor`."""

import ssl
from datetime import UTC, datetime

from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError


def describe_tls(settings: Settings) -> str:
    """Returns which certificate the service uses.

    Raises:
        SettingsError: it cannot be used; the message names the fix.
    """
    if settings.http.tls_cert_file is None or settings.http.tls_key_file is None:
        return "not configured: the service listens on plain HTTP"
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.http.tls_cert_file, settings.http.tls_key_file)
        context.load_verify_locations(settings.http.tls_cert_file)
    except OSError as error:  # includes ssl.SSLError
        raise SettingsError(
            f"TLS_CERT_FILE and TLS_KEY_FILE do not match ({error.strerror or error})"
        ) from error
    ends = _not_after(context)
    if ends is not None and ends < datetime.now(UTC):
        raise SettingsError(f"TLS_CERT_FILE expired on {ends:%Y-%m-%d}. Fix: renew it")
    return str(settings.http.tls_cert_file)


def _not_after(context: ssl.SSLContext) -> datetime | None:
    """Returns when the first certificate in the file expires, as far as OpenSSL lists it."""
    for certificate in context.get_ca_certs():
        seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        return datetime.fromtimestamp(seconds, UTC)
    return None
