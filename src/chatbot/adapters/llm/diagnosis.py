"""Turns a failed provider call into a domain error, and into one line that names the fix.

`model_failure` is for the service, `explanation` for the person who fixes it. Neither quotes the
provider: error bodies contain prompts and parts of keys.
"""

from yarl import URL

from chatbot.adapters.llm.faults import Fault, causes_of, fault_of, proxy_status, refusal_behind
from chatbot.adapters.llm.network import ProxyConfigurationError, proxy_for
from chatbot.adapters.llm.refusals import Refusal
from chatbot.domain.errors import (
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    cause_of,
)

UNUSABLE = "The language model returned no usable answer."
CUT = "The language model's answer was cut off."


# --- for the service ----------------------------------------------------------------------------

_REFUSED_REQUEST = "The model provider rejected the request."
_MESSAGES = {
    Fault.KEY: "The model provider rejected the API key, or the key may not use this model.",
    Fault.ADDRESS: "The model provider does not know this model or URL: check GENKIT_MODEL and "
    "OPENAI_BASE_URL.",
    Fault.MOVED: "The model provider redirects to another URL: check OPENAI_BASE_URL.",
    Fault.PROXY_LOGIN: "The proxy to the model provider requires credentials: check HTTPS_PROXY.",
    Fault.PROXY_REFUSAL: "The proxy refused to connect to the model provider: check HTTPS_PROXY.",
    Fault.CUT: CUT,
    Fault.ANSWER: UNUSABLE,
}


def model_failure(error: BaseException) -> ModelFailure:
    """Return the domain error for a foreign one; raise it `from` the foreign one."""
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
    """The error for a Genkit name that resolves to no model."""
    return ModelError(f"There is no model named {name}: check GENKIT_MODEL.")


def _of_refusal(fault: Fault, refusal: Refusal) -> ModelFailure:
    status, code, param = refusal.status, refusal.code, refusal.param
    if fault is Fault.BUSY:
        wait_s = refusal.retry_after_s
        return ModelUnavailable(retry_after_s=wait_s, status=status, code=code, param=param)
    message = _MESSAGES.get(fault, _REFUSED_REQUEST)
    return ModelError(message, status=status, code=code, param=param)


# --- for a person -------------------------------------------------------------------------------

_NOT_REACHED = (
    "cannot connect to {host}:{port}. Fix: check OPENAI_BASE_URL and that the provider is "
    "running; if this network needs a proxy, set HTTPS_PROXY."
)
_EXPLANATIONS = {
    Fault.NAME: "DNS cannot resolve {host}. Fix: check OPENAI_BASE_URL; if only a proxy can resolve "
    "external names, set HTTPS_PROXY.",
    Fault.CONNECTION: _NOT_REACHED,
    Fault.CONNECT_TIMEOUT: _NOT_REACHED,
    Fault.PROXY: "cannot connect to the proxy {proxy}. Fix: check {variable}, or bypass the proxy with "
    "NO_PROXY={host}.",
    Fault.PROXY_LOGIN: "the proxy {proxy} requires a user name and password, or rejects the ones it got "
    "(407). Fix: put them into {variable} as http://USER:PASSWORD@HOST:PORT, with special "
    "characters as %XX.",
    Fault.PROXY_REFUSAL: "the proxy {proxy} refuses to connect to {host}:{port}. Fix: have the address allowed "
    "in the proxy, or bypass the proxy with NO_PROXY={host}.",
    Fault.ISSUER: "the certificate of {host} is signed by an authority that this machine does not "
    "trust. Fix: install the company's CA in the system, or put its PEM file in "
    "SSL_CERT_FILE.",
    Fault.HOST_NAME: "the certificate of {host} is for another host name. Fix: use the name in the "
    "certificate in OPENAI_BASE_URL.",
    Fault.EXPIRED: "the certificate of {host} has expired or is not valid yet. Fix: have it renewed, and "
    "check this machine's clock.",
    Fault.TLS: "the TLS handshake with {host}:{port} failed ({cause}). Fix: check https:// and the "
    "port in OPENAI_BASE_URL; for a private CA, set SSL_CERT_FILE.",
    Fault.KEY: "{host} rejects the API key ({identifiers}). Fix: check OPENAI_API_KEY and its permissions.",
    Fault.ADDRESS: "{host} does not know this path or model ({identifiers}). Fix: check the path of "
    "OPENAI_BASE_URL, usually /v1, and GENKIT_MODEL.",
    Fault.MOVED: "{host} redirects to another URL ({identifiers}), which is not followed. Fix: set "
    "OPENAI_BASE_URL to the final URL.",
    Fault.REQUEST: "{host} rejects the request ({identifiers}). Fix: look the code up in the provider's "
    "documentation; docs/providers.md lists the settings that can help.",
    Fault.BUSY: "{host} is overloaded or failing ({identifiers}). Fix: try again later, or ask the provider.",
    Fault.SLOW: "{host}:{port} does not answer in time. Fix: check OPENAI_BASE_URL and the network.",
    Fault.HANG_UP: "{host}:{port} closed the connection without an answer. Fix: check OPENAI_BASE_URL, "
    "including http:// or https://, and the provider's log.",
    Fault.CUT: "the answer of {host}:{port} was cut off. Fix: check the provider's log.",
    Fault.ANSWER: "the server at {host}:{port} is not an OpenAI-compatible API. Fix: check "
    "OPENAI_BASE_URL, including http:// or https://.",
}


def explanation(error: ModelFailure, base_url: str) -> str:
    """One line: what failed between here and the provider at `base_url`, and the fix."""
    if isinstance(error, ProxyConfigurationError):
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
        identifiers=error.identifiers,
    )
