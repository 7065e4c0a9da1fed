"""The domain's error for what went wrong on the way to the provider, and a sentence for its fix.

`model_failure` is for the service, `explanation` for the person who has to fix it. Neither repeats
what the provider said: error bodies quote prompts and parts of keys.
"""

from yarl import URL

from chatbot.adapters.llm.faults import Fault, causes_of, fault_of, proxy_status, refusal_behind
from chatbot.adapters.llm.network import NoWay, proxy_for
from chatbot.adapters.llm.refusals import Refusal
from chatbot.domain.errors import (
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    cause_of,
)

UNUSABLE = "The language model gave no usable answer."
CUT = "The language model's answer broke off."


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
    is_failing = any((proxy_status(cause) or 0) >= 500 for cause in causes)
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
