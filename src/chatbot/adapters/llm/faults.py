"""Classifies failures of provider calls: one table over foreign errors.

Genkit, the openai SDK, httpx2 and aiohttp wrap each other's errors, so each function follows the
whole chain of causes.
"""

import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import httpx2
import openai
from aiohttp.http_exceptions import ContentEncodingError
from genkit import GenkitError

from chatbot.adapters.llm.refusals import Refusal, RequestRefused, in_band_refusal, refusal_of


class Fault(StrEnum):
    """What failed, from this machine to the provider's answer."""

    NAME = "name"  # DNS does not know it
    CONNECTION = "connection"  # refused, or no route
    CONNECT_TIMEOUT = "connect-timeout"
    PROXY = "proxy"  # it cannot be reached
    PROXY_LOGIN = "proxy-login"  # 407
    PROXY_REFUSAL = "proxy-refusal"
    ISSUER = "issuer"  # of a certificate, not trusted here
    HOST_NAME = "host-name"  # not the certificate's
    EXPIRED = "expired"  # or not yet valid
    TLS = "tls"  # any other fault of TLS
    KEY = "key"  # 401, 403
    ADDRESS = "address"  # 404
    MOVED = "moved"  # 3xx
    REQUEST = "request"  # any other 4xx
    BUSY = "busy"  # or failing by itself
    SLOW = "slow"
    HANG_UP = "hang-up"  # before the first byte of an answer
    CUT = "cut"  # in the middle of an answer
    ANSWER = "answer"  # malformed HTTP, an unknown content coding, or not an OpenAI-compatible API


# X509_V_ERR_*, <https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/>. Windows and macOS
# have codes of their own: those are TLS.
_OF_CERTIFICATE = {
    **dict.fromkeys((2, 18, 19, 20, 21), Fault.ISSUER),
    **dict.fromkeys((62, 64), Fault.HOST_NAME),
    **dict.fromkeys((9, 10), Fault.EXPIRED),
}
_OF_STATUS: dict[int, Fault] = {
    HTTPStatus.UNAUTHORIZED: Fault.KEY,
    HTTPStatus.FORBIDDEN: Fault.KEY,
    HTTPStatus.NOT_FOUND: Fault.ADDRESS,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Fault.PROXY_LOGIN,
    HTTPStatus.REQUEST_TIMEOUT: Fault.BUSY,  # "try again", as the next two: RFC 9110, 8470, 6585
    HTTPStatus.TOO_EARLY: Fault.BUSY,
    HTTPStatus.TOO_MANY_REQUESTS: Fault.BUSY,
}
_UNREACHED = (Fault.NAME, Fault.CONNECTION, Fault.CONNECT_TIMEOUT)


def fault_of(error: BaseException, *, proxied: bool = False) -> Fault:
    """Classify an error; behind a proxy, connection failures are the proxy's."""
    causes = list(causes_of(error))
    fault = next(filter(None, map(_of_status, causes)), None)
    fault = fault or next(filter(None, map(_of_socket, reversed(causes))), None)
    fault = fault or next(filter(None, map(_of_connection, causes)), Fault.ANSWER)
    return Fault.PROXY if proxied and fault in _UNREACHED else fault


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first.

    Without a cause, follows the context: httpcore2 leaves socket errors there.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        genkit_cause = cause.cause if isinstance(cause, GenkitError) else None
        cause = genkit_cause or cause.__cause__ or cause.__context__


def _of_status(cause: BaseException) -> Fault | None:
    """Classify by status, the provider's or the proxy's."""
    if status := proxy_status(cause):
        is_login = status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        return Fault.PROXY_LOGIN if is_login else Fault.PROXY_REFUSAL
    refusal = refusal_in(cause)
    if refusal is None:
        return None
    if refusal.is_in_band:
        return Fault.ANSWER
    other = Fault.MOVED if refusal.status < 400 else Fault.REQUEST
    return _OF_STATUS.get(refusal.status) or (Fault.BUSY if refusal.status >= 500 else other)


def _of_socket(cause: BaseException) -> Fault | None:
    """Classify errors of the operating system and OpenSSL; the innermost is most specific."""
    match cause:
        case ssl.SSLCertVerificationError():
            return _OF_CERTIFICATE.get(getattr(cause, "verify_code", 0), Fault.TLS)
        case ssl.SSLError() if not isinstance(cause, ssl.SSLWantReadError):  # that one waits
            return Fault.TLS
        case socket.gaierror():
            return Fault.NAME
        case _:
            return None


def _of_connection(cause: BaseException) -> Fault | None:  # noqa: PLR0911 (it is a table)
    """Classify errors of the HTTP clients."""
    match cause:
        case aiohttp.ConnectionTimeoutError() | httpx2.ConnectTimeout():
            return Fault.CONNECT_TIMEOUT
        case TimeoutError() | httpx2.TimeoutException():
            return Fault.SLOW
        case aiohttp.ClientConnectorError() | httpx2.ConnectError():
            return Fault.CONNECTION
        case aiohttp.ClientPayloadError() if not isinstance(cause.__cause__, ContentEncodingError):
            return Fault.CUT
        case httpx2.RemoteProtocolError():
            return _of_protocol_error(str(cause))
        case aiohttp.ClientConnectionError() | httpx2.NetworkError():
            return Fault.HANG_UP
        case _:
            return None


def _of_protocol_error(words: str) -> Fault:
    """httpx2 has one class for three errors; the text is h11's and httpcore2's, not the provider's."""
    if "complete message body" in words:
        return Fault.CUT
    return Fault.HANG_UP if "disconnected" in words else Fault.ANSWER


def proxy_status(cause: BaseException | None) -> int | None:
    """The status with which a proxy refused to open a tunnel, or None."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    if isinstance(cause, httpx2.ProxyError) and str(cause)[:3].isdigit():
        return int(str(cause)[:3])
    return None


def refusal_behind(error: BaseException) -> Refusal | None:
    """The provider's error response behind this error, or None."""
    return next(filter(None, map(refusal_in, causes_of(error))), None)


def refusal_in(cause: BaseException) -> Refusal | None:
    """The provider's error, by status or in band, if this exception carries one.

    aiohttp's own ClientResponseError does not: it reports malformed HTTP as an invented 400.
    """
    match cause:
        case RequestRefused():
            return cause.refusal
        case openai.APIStatusError():
            after = cause.response.headers.get("Retry-After")
            return refusal_of(cause.status_code, cause.response.content, retry_after=after)
        case openai.APIError() if cause.body:
            return in_band_refusal(cause.body)
        case _:
            return None
