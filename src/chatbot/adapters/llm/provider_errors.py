"""The one table from foreign errors (Genkit, the openai SDK, httpx2, aiohttp) to the domain's.

Genkit wraps whatever a model raises in a `GenkitError`, so the table looks along the chain of
causes, outermost first. No message repeats what the provider said: error bodies of providers quote
prompts and parts of keys.
"""

from collections.abc import Iterator
from http import HTTPStatus

import aiohttp
import httpx2
import openai
from genkit import GenkitError

from chatbot.adapters.llm.provider_http import RefusedRequest
from chatbot.adapters.llm.refusals import Refusal, refusal_of
from chatbot.domain.errors import ModelError, ModelFailure, ModelTimeout, ModelUnavailable

UNUSABLE = "The language model gave no usable answer."
CUT = "The language model's answer broke off."
_REFUSED_KEY = "The model provider refused our key or our right to use the model."
_REFUSED_REQUEST = "The model provider refused the request."
_UNKNOWN = "The model provider does not know the model or the address: see GENKIT_MODEL."
_MOVED = "The model provider answers with a redirect: see OPENAI_BASE_URL."
_PROXY = "The proxy in front of the model provider asks for credentials: see HTTPS_PROXY."
_PROXY_REFUSES = "The proxy in front of the model provider refuses the way: see HTTPS_PROXY."

_STATUS_MESSAGES = {401: _REFUSED_KEY, 403: _REFUSED_KEY, 404: _UNKNOWN, 407: _PROXY}
_TRANSIENT_STATUSES = frozenset({408, 425, 429})  # "try again", by RFC 9110, 8470 and 6585

# The SDK reports an answer that was cut inside its body as a connection error; the words are h11's.
_CUT_BODY = "complete message body"


def model_failure(error: BaseException) -> ModelFailure:
    """Return the domain error that stands for a foreign one; raise it `from` the foreign one."""
    for cause in causes_of(error):
        failure = _known(cause, _retry_after_s(error))
        if failure is not None:
            return failure
    return ModelError(UNUSABLE)


def unknown_model(name: str) -> ModelError:
    """The error for a Genkit name behind which there is no model."""
    return ModelError(f"There is no model named {name}: see GENKIT_MODEL.")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first.

    The context counts where there is no cause: httpcore2 hides what happened on its sockets there.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        genkit_cause = cause.cause if isinstance(cause, GenkitError) else None
        cause = genkit_cause or cause.__cause__ or cause.__context__


def proxy_status(cause: BaseException | None) -> int | None:
    """The status with which a proxy refused to open a tunnel, if that is what happened."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    if isinstance(cause, httpx2.ProxyError) and str(cause)[:3].isdigit():
        return int(str(cause)[:3])
    return None


def refusal_in(cause: BaseException) -> Refusal | None:
    """What the provider said with an error status, if that is what this error is."""
    match cause:
        case RefusedRequest():
            return cause.refusal
        case openai.APIStatusError():
            return refusal_of(cause.status_code, cause.response.content)
        case aiohttp.ClientResponseError():
            return Refusal(status=cause.status)
        case _:
            return None


def _known(  # noqa: PLR0911 (it is a table)
    cause: BaseException, retry_after_s: float | None
) -> ModelFailure | None:
    match cause:
        case ModelFailure():
            return cause
        case aiohttp.ClientHttpProxyError():
            return _of_proxy(cause.status)
        case openai.APIConnectionError() if status := proxy_status(cause.__cause__):
            return _of_proxy(status)
        case openai.APIStatusError() | aiohttp.ClientResponseError() if found := refusal_in(cause):
            return _of_refusal(found, retry_after_s)
        case openai.APITimeoutError() | TimeoutError():
            return ModelTimeout()
        case openai.APIConnectionError() if _CUT_BODY in str(cause.__cause__):
            return ModelError(CUT)
        case openai.APIConnectionError() | aiohttp.ClientConnectionError():
            return ModelUnavailable()
        case aiohttp.ClientPayloadError():
            return ModelError(CUT)
        case _:
            return None


def _of_refusal(refusal: Refusal, retry_after_s: float | None) -> ModelFailure:
    if about_the_prompt := refusal.about_the_prompt():
        return about_the_prompt
    status, code, param = refusal.status, refusal.code, refusal.param
    if status >= 500 or status in _TRANSIENT_STATUSES:
        return ModelUnavailable(retry_after_s=retry_after_s, status=status, code=code, param=param)
    other = _MOVED if status < 400 else _REFUSED_REQUEST
    message = _STATUS_MESSAGES.get(status, other)
    return ModelError(message, status=status, code=code, param=param)


def _of_proxy(status: int) -> ModelFailure:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return ModelError(_PROXY)
    if status >= 500:
        return ModelUnavailable()
    return ModelError(_PROXY_REFUSES)


def _retry_after_s(error: BaseException) -> float | None:
    metadata = error.response_metadata if isinstance(error, GenkitError) else None
    milliseconds = (metadata or {}).get("retry_after_ms")
    return None if milliseconds is None else milliseconds / 1000
