"""What a person is told of a fault on the way to the model's provider: what it is, and its mend."""

from yarl import URL

from chatbot.adapters.llm.network import OPENAI_URL, NoWay, Proxy, proxy_for
from chatbot.adapters.llm.provider_faults import Fault, fault_of
from chatbot.domain.errors import ModelFailure, cause_of
from chatbot.entrypoints.settings import Settings

_MENDS = {
    Fault.NAME: "DNS does not know {host}. Fix: check OPENAI_BASE_URL; where only a proxy knows "
    "names of the outside, set HTTPS_PROXY.",
    Fault.CONNECTION: "nobody answers at {host}:{port}. Fix: check OPENAI_BASE_URL and that the "
    "provider runs; where the way out is a proxy, set HTTPS_PROXY.",
    Fault.PROXY: "the proxy {proxy} is not there. Fix: check {variable}, or go around it with "
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
    Fault.KEY: "{host} refuses the key. Fix: check OPENAI_API_KEY and what it may use.",
    Fault.ADDRESS: "{host} does not know this path (404). Fix: check the path of OPENAI_BASE_URL, "
    "mostly /v1.",
    Fault.MOVED: "{host} redirects to another address, which is not followed. Fix: write the "
    "address itself into OPENAI_BASE_URL.",
    Fault.BUSY: "{host} is overloaded or failing. Fix: try again later, or ask who runs it.",
    Fault.SLOW: "{host}:{port} does not answer in time. Fix: check OPENAI_BASE_URL and the way "
    "there.",
    Fault.ANSWER: "what answers at {host}:{port} is no OpenAI-compatible API. Fix: check "
    "OPENAI_BASE_URL, http:// or https:// included.",
}


def mend_of(error: ModelFailure, settings: Settings) -> str:
    """One line: which part of the way to the provider is at fault, and its mend."""
    if isinstance(error, NoWay):
        return str(error)
    address = settings.openai_base_url or OPENAI_URL
    url, proxy = URL(address), proxy_for(address)
    return _MENDS[fault_of(error, proxied=proxy is not None)].format(
        host=url.host,
        port=url.port,
        proxy=proxy and host_and_port(proxy),
        variable=proxy and proxy.variable,
        cause=cause_of(error),
    )


def host_and_port(proxy: Proxy) -> str:
    """A proxy as it may be shown: without what it wants to know of us."""
    return f"{proxy.url.host}:{proxy.url.port}"
