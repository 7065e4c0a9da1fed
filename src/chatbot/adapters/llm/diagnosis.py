"""What went wrong on the way to the model's provider: one table over foreign errors.

Genkit, the openai SDK, httpx2 and aiohttp wrap each other's errors, so each function looks along
the whole chain of causes. `model_failure` gives the domain's error, `explanation` the sentence for
the person who has to fix it. Neither repeats what the provider said: error bodies quote prompts
and parts of keys.
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
from yarl import URL

from chatbot.adapters.llm.network import NoWay, proxy_for
from chatbot.adapters.llm.refusals import Refusal, RequestRefused, in_band_refusal, refusal_of
from chatbot.domain.errors import (
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    cause_of,
)

UNUSABLE = "The language model gave no usable answer."
CUT = "The language model's answer broke off."


class Fault(StrEnum):
    """The part at fault, from this machine to the provider's answer."""

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
    """The fault behind an error; with a proxy, it is the proxy that is connected to."""
    causes = list(causes_of(error))
    fault = next(filter(None, map(_of_status, causes)), None)
    fault = fault or next(filter(None, map(_of_socket, reversed(causes))), None)
    fault = fault or next(filter(None, map(_of_connection, causes)), Fault.ANSWER)
    return Fault.PROXY if proxied and fault in _UNREACHED else fault


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first.

    The context counts where there is no cause: httpcore2 hides what happened on its sockets there.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        genkit_cause = cause.cause if isinstance(cause, GenkitError) else None
        cause = genkit_cause or cause.__cause__ or cause.__context__


def _of_status(cause: BaseException) -> Fault | None:
    """What a status says: the provider's, or the proxy's."""
    if status := _proxy_status(cause):
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
    """What the operating system and OpenSSL say; the innermost knows most."""
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
    """What the HTTP clients say, where nothing below them says it better."""
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
    """httpx2 has one class for three things; the words are h11's and httpcore2's, not the provider's."""
    if "complete message body" in words:
        return Fault.CUT
    return Fault.HANG_UP if "disconnected" in words else Fault.ANSWER


def _proxy_status(cause: BaseException | None) -> int | None:
    """The status with which a proxy refused to open a tunnel, if that is what happened."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    if isinstance(cause, httpx2.ProxyError) and str(cause)[:3].isdigit():
        return int(str(cause)[:3])
    return None


def refusal_behind(error: BaseException) -> Refusal | None:
    """What the provider said, if that led to this error."""
    return next(filter(None, map(refusal_in, causes_of(error))), None)


def refusal_in(cause: BaseException) -> Refusal | None:
    """What the provider said with an error status or inside an answer, if this error is that.

    aiohttp's own ClientResponseError is not: it reports malformed HTTP with an invented 400.
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


# --- for the service ----------------------------------------------------------------------------

_REFUSED_REQUEST = "The model provider refused the request."
_MESSAGES = {
    Fault.KEY: "The model provider refused our key or our right to use the model.",
    Fault.ADDRESS: "The model provider does not know the model or the address: see GENKIT_MODEL.",
    Fault.MOVED: "The model provider answers with a redirect: see OPENAI_BASE_URL.",
    Fault.PROXY_LOGIN: "The proxy in front of the model provider asks for credentials: see HTTPS_PROXY.",
    Fault.PROXY_REFUSAL: "The proxy in front of the model provider refuses the way: see HTTPS_PROXY.",
    Fault.CUT: CUT,
    Fault.ANSWER: UNUSABLE,
}


def model_failure(error: BaseException) -> ModelFailure:
    """Return the domain error that stands for a foreign one; raise it `from` the foreign one."""
    causes = list(causes_of(error))
    if ours := next((cause for cause in causes if isinstance(cause, ModelFailure)), None):
        return ours
    fault = fault_of(error)
    if refusal := refusal_behind(error):
        return refusal.about_the_prompt() or _of_refusal(fault, refusal)
    is_failing = any((_proxy_status(cause) or 0) >= 500 for cause in causes)
    match fault:
        case Fault.SLOW | Fault.CONNECT_TIMEOUT:
            return ModelTimeout()
        case _ if fault in _MESSAGES and not is_failing:
            return ModelError(_MESSAGES[fault])
        case _:
            return ModelUnavailable()


def unknown_model(name: str) -> ModelError:
    """The error for a Genkit name behind which there is no model."""
    return ModelError(f"There is no model named {name}: see GENKIT_MODEL.")


def _of_refusal(fault: Fault, refusal: Refusal) -> ModelFailure:
    status, code, param = refusal.status, refusal.code, refusal.param
    if fault is Fault.BUSY:
        wait_s = refusal.retry_after_s
        return ModelUnavailable(retry_after_s=wait_s, status=status, code=code, param=param)
    message = _MESSAGES.get(fault, _REFUSED_REQUEST)
    return ModelError(message, status=status, code=code, param=param)


# --- for a person -------------------------------------------------------------------------------

_NOT_REACHED = (
    "nobody answers at {host}:{port}. Fix: check OPENAI_BASE_URL and that the provider runs; "
    "where the way out is a proxy, set HTTPS_PROXY."
)
_EXPLANATIONS = {
    Fault.NAME: "DNS does not know {host}. Fix: check OPENAI_BASE_URL; where only a proxy resolves "
    "outside names, set HTTPS_PROXY.",
    Fault.CONNECTION: _NOT_REACHED,
    Fault.CONNECT_TIMEOUT: _NOT_REACHED,
    Fault.PROXY: "the proxy {proxy} cannot be reached. Fix: check {variable}, or go around it with "
    "NO_PROXY={host}.",
    Fault.PROXY_LOGIN: "the proxy {proxy} asks for a user and a password, or refuses ours (407). "
    "Fix: write them into {variable} as http://USER:PASSWORD@HOST:PORT, special characters as %XX.",
    Fault.PROXY_REFUSAL: "the proxy {proxy} does not open the way to {host}:{port}. Fix: have it "
    "allowed there, or go around it with NO_PROXY={host}.",
    Fault.ISSUER: "the certificate of {host} is signed by an authority that is not trusted here. "
    "Fix: install the company's CA in the system, or name a PEM file with it in SSL_CERT_FILE.",
    Fault.HOST_NAME: "the certificate at {host} is for another name. Fix: write the name that it "
    "is for into OPENAI_BASE_URL.",
    Fault.EXPIRED: "the certificate of {host} has expired or is not valid yet. Fix: have it "
    "renewed, and check this machine's clock.",
    Fault.TLS: "no TLS with {host}:{port} ({cause}). Fix: check https:// and the port in "
    "OPENAI_BASE_URL; for an own CA see SSL_CERT_FILE.",
    Fault.KEY: "{host} refuses the key ({said}). Fix: check OPENAI_API_KEY and what it may use.",
    Fault.ADDRESS: "{host} does not know this path or the model ({said}). Fix: check the path of "
    "OPENAI_BASE_URL, mostly /v1, and GENKIT_MODEL.",
    Fault.MOVED: "{host} redirects to another address ({said}), which is not followed. Fix: write "
    "the address itself into OPENAI_BASE_URL.",
    Fault.REQUEST: "{host} refuses the request ({said}). Fix: look the code up in the provider's "
    "documentation; docs/providers.md lists what can be set.",
    Fault.BUSY: "{host} is overloaded or failing ({said}). Fix: try again later, or ask who runs it.",
    Fault.SLOW: "{host}:{port} does not answer in time. Fix: check OPENAI_BASE_URL and the way "
    "there.",
    Fault.HANG_UP: "{host}:{port} closes the connection without an answer. Fix: check "
    "OPENAI_BASE_URL, http:// or https:// included, and the provider's own log.",
    Fault.CUT: "the answer of {host}:{port} broke off. Fix: look into the provider's own log.",
    Fault.ANSWER: "what answers at {host}:{port} is not an OpenAI-compatible API. Fix: check "
    "OPENAI_BASE_URL, http:// or https:// included.",
}


def explanation(error: ModelFailure, base_url: str) -> str:
    """One line: which part of the way to the provider at `base_url` is at fault, and its fix."""
    if isinstance(error, NoWay):
        return str(error)
    url, proxy = URL(base_url), proxy_for(base_url)
    fault = fault_of(error, proxied=proxy is not None)
    if fault is Fault.ANSWER and str(error) != UNUSABLE:  # our own, and names a setting
        return str(error)
    return _EXPLANATIONS[fault].format(
        host=url.host,
        port=url.port,
        proxy=proxy and proxy.address,
        variable=proxy and proxy.variable,
        cause=cause_of(error),
        said=error.said,
    )
