"""Which part of the way to the provider is at fault: for a person who has to mend it."""

import socket
import ssl
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import httpx2
import openai

from chatbot.adapters.llm.provider_errors import causes_of, proxy_status


class Fault(StrEnum):
    """The parts, from this machine to the provider's answer."""

    NAME = "name"  # DNS does not know it
    CONNECTION = "connection"  # nobody there, or no route
    PROXY = "proxy"  # nobody there under its address
    PROXY_LOGIN = "proxy-login"  # 407
    PROXY_REFUSAL = "proxy-refusal"
    ISSUER = "issuer"  # of a certificate, unknown here
    HOST_NAME = "host-name"  # not the certificate's
    EXPIRED = "expired"  # or not yet valid
    TLS = "tls"  # anything else about it
    KEY = "key"
    ADDRESS = "address"  # 404
    MOVED = "moved"  # 3xx
    BUSY = "busy"  # or failing by itself
    SLOW = "slow"
    ANSWER = "answer"  # not what an OpenAI-compatible provider says


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
    HTTPStatus.REQUEST_TIMEOUT: Fault.BUSY,
    HTTPStatus.TOO_MANY_REQUESTS: Fault.BUSY,
}
_UNREACHED = (Fault.NAME, Fault.CONNECTION)


def fault_of(error: BaseException, *, proxied: bool) -> Fault:
    """The fault behind an error of the model; with a proxy, it is the proxy that is connected to."""
    causes = list(causes_of(error))
    fault = next(filter(None, map(_of_answer, causes)), None)
    fault = fault or next(filter(None, map(_of_socket, reversed(causes))), None)
    fault = fault or next(filter(None, map(_of_connection, causes)), Fault.ANSWER)
    return Fault.PROXY if proxied and fault in _UNREACHED else fault


def _of_answer(cause: BaseException) -> Fault | None:
    """What a status says: the provider's, or the proxy's."""
    if refusal := proxy_status(cause):
        is_login = refusal == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        return Fault.PROXY_LOGIN if is_login else Fault.PROXY_REFUSAL
    match cause:
        case openai.APIStatusError(status_code=status) | aiohttp.ClientResponseError(status=status):
            other = Fault.MOVED if status < 400 else Fault.ANSWER
            return _OF_STATUS.get(status) or (Fault.BUSY if status >= 500 else other)
        case _:
            return None


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


def _of_connection(cause: BaseException) -> Fault | None:
    """What the HTTP clients say, where nothing below them says it better."""
    match cause:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return Fault.CONNECTION
        case httpx2.ConnectTimeout() | httpx2.ConnectError():
            return Fault.CONNECTION
        case TimeoutError() | httpx2.TimeoutException():
            return Fault.SLOW
        case _:
            return None
