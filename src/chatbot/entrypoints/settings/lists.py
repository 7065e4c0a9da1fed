"""Settings that are lists: hosts, origins and networks, each entry in its one valid form.

An entry in another form would silently match nothing, or everything. The error names the entry
by its number and the required form, and never repeats the value.
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_NETWORK = "an address or a network, such as 10.0.0.2 or 10.0.0.0/24"
_HOST = "a name or an address without scheme and port, such as chat.example.com or [::1]"
_ORIGIN = (
    "http:// or https:// with a lower-case host, without the scheme's default port and "
    "without a path, such as https://intranet.example.com; or * alone"
)


def _words(raw: object) -> object:
    return tuple(raw.replace(",", " ").split()) if isinstance(raw, str) else raw


def _each(is_valid: Callable[[str], bool], form: str) -> AfterValidator:
    """Returns a validator for each entry."""

    def checked(entries: tuple[str, ...]) -> tuple[str, ...]:
        for number, entry in enumerate(entries, 1):
            if not is_valid(entry):
                raise ValueError(f"entry {number} of {len(entries)} must be {form}")
        return entries

    return AfterValidator(checked)


def _is_network(entry: str) -> bool:
    """Rejects `*`: uvicorn would trust everyone."""
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True


def is_host(entry: str) -> bool:
    """Whether a Host header without its port can have this value."""
    if entry.startswith("[") and entry.endswith("]"):
        try:
            IPv6Address(entry[1:-1])
        except ValueError:
            return False
        return "%" not in entry
    return len(entry) <= 253 and _HOST_NAME.fullmatch(entry) is not None


def is_origin(entry: str) -> bool:
    """Whether a browser can send this as Origin (RFC 6454, section 6.2); `null` could be anyone."""
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
        raise ValueError("* allows every origin and must be the only entry")
    return entries


_List = Annotated[tuple[str, ...], BeforeValidator(_words)]

Networks = Annotated[_List, _each(_is_network, _NETWORK)]
Hosts = Annotated[_List, _each(is_host, _HOST)]
Origins = Annotated[
    _List,
    _each(lambda entry: entry == "*" or is_origin(entry), _ORIGIN),
    AfterValidator(_are_origins),
]
