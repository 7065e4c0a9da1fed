"""The headers that every response carries."""

from collections.abc import Sequence

RawHeaders = list[tuple[bytes, bytes]]

_ALWAYS: RawHeaders = [  # OWASP Secure Headers Project, for a JSON API
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
_OVER_TLS: RawHeaders = [
    *_ALWAYS,
    (b"strict-transport-security", b"max-age=31536000"),  # a year: RFC 6797, section 6.1.1
]


def add_security_headers(
    headers: Sequence[tuple[bytes, bytes]], request_id: str, *, is_tls: bool
) -> RawHeaders:
    """Returns the headers of an answer with the request id and the security headers added.

    A header that the answer sets itself stays. `is_tls` says that the service speaks TLS itself;
    behind a proxy that does, `Strict-Transport-Security` is the proxy's.
    """
    given = {name for name, _ in headers}
    added = [pair for pair in (_OVER_TLS if is_tls else _ALWAYS) if pair[0] not in given]
    return [*headers, (b"x-request-id", request_id.encode()), *added]
