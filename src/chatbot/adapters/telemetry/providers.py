"""The provider of a model, as the conventions name it."""

from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from chatbot.adapters.telemetry import names

EMBEDDED = "chatbot"
_OPENAI = "openai"
_HOSTS = {  # the conventions' well-known names
    "*.openai.azure.com": "azure.ai.openai",
    "*.services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "bedrock-runtime.*.amazonaws.com": "aws.bedrock",
    "api.cohere.*": "cohere",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "*aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.*": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
_PORTS = {"http": 80, "https": 443}


def labels_of(base_url: str | None) -> dict[str, str | int]:
    """The provider at a base URL and its address; None is the embedded model, which has none.

    Other servers of OpenAI's API have its name: it stands for the form of the requests.
    """
    if base_url is None:
        return {names.PROVIDER: EMBEDDED}
    url = urlsplit(base_url)
    host = url.hostname or ""
    known = (name for pattern, name in _HOSTS.items() if fnmatchcase(host, pattern))
    return {
        names.PROVIDER: next(known, _OPENAI),
        names.SERVER_ADDRESS: host,
        names.SERVER_PORT: url.port or _PORTS[url.scheme],
    }
