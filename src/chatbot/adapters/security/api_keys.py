"""The API key from the settings."""

import hmac
import secrets

from chatbot.domain.identity import Client, ClientId
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission
from chatbot.domain.ports.security import IdentifyClient

DEFAULT_CLIENT = Client(
    id=ClientId("default"),
    permissions=frozenset({Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ}),
    user_permissions=ROLE_PERMISSIONS,
)


def identify_by_setting(api_key: str) -> IdentifyClient:
    """Return a function that identifies this key as the client `default`'s.

    Only an HMAC-SHA-256 of the key under a random key of this process stays in memory, so that
    neither a `repr` nor a dump shows it. Digests are compared in constant time.
    """
    process_key = secrets.token_bytes(32)
    known = _digest(process_key, api_key)

    def identify(raw_key: str) -> Client | None:
        is_known = hmac.compare_digest(_digest(process_key, raw_key), known)
        return DEFAULT_CLIENT if is_known else None

    return identify


def _digest(process_key: bytes, raw_key: str) -> bytes:
    """Return the HMAC; lone surrogates are allowed and simply another key."""
    return hmac.digest(process_key, raw_key.encode(errors="surrogatepass"), "sha256")
