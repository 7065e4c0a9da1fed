"""Settings that are lists: hosts, origins and networks, each entry in the one form that works.

An entry in another form would match nothing, or everything, without a word. A refusal says which
entry it is and what form it needs, and never repeats it.
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_NETWORK = "an address or a network, as 10.0.0.2 or 10.0.0.0/24"
_HOST = "a name or an address without scheme and port, as chat.example.com or [::1]"
_ORIGIN = (
    "http:// or https://, a host in lower case and a port that is not the scheme's own, no path, "
    "as https://intranet.example.com; or * alone"
)


def _words(raw: object) -> object:
    return tuple(raw.replace(",", " ").split()) if isinstance(raw, str) else raw


def _each(is_valid: Callable[[str], bool], form: str) -> AfterValidator:
    """A check of each entry."""

    def checked(entries: tuple[str, ...]) -> tuple[str, ...]:
        for number, entry in enumerate(entries, 1):
            if not is_valid(entry):
                raise ValueError(f"entry {number} of {len(entries)} must be {form}")
        return entries

    return AfterValidator(checked)


def _is_network(entry: str) -> bool:
    """`*` is not one: uvicorn would trust everybody."""
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True


def is_host(entry: str) -> bool:
    """Whether a Host header without its port may be this."""
    if entry.startswith("[") and entry.endswith("]"):
        try:
            IPv6Address(entry[1:-1])
        except ValueError:
            return False
        return "%" not in entry
    return len(entry) <= 253 and _HOST_NAME.fullmatch(entry) is not None


def is_origin(entry: str) -> bool:
    """Whether a browser may send this as Origin (RFC 6454, section 6.2); `null` is anybody's."""
    try:
        parts = urlsplit(entry)
        port = parts.port
    except ValueError:
        return False
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    return (
        parts.scheme in _DEFAULT_PORTS
        and entry == f"{parts.scheme}://{parts.netloc}"
        and entry == entry.lower()
        and is_host(host)
        and port != 0
        and not entry.endswith(f":{_DEFAULT_PORTS[parts.scheme]}")
    )


def _are_origins(entries: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in entries and len(entries) > 1:
        raise ValueError("* lets every origin in: it stands alone")
    return entries


_List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]

Networks = Annotated[_List, _each(_is_network, _NETWORK)]
Hosts = Annotated[_List, _each(is_host, _HOST)]
Origins = Annotated[
    _List,
    _each(lambda entry: entry == "*" or is_origin(entry), _ORIGIN),
    AfterValidator(_are_origins),
]
