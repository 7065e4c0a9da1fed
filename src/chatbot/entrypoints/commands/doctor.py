"""`chatbot doctor`: settings, storage, model, proxy and TLS; each line `ok`, or `FAIL` and its fix."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from chatbot.domain.errors import ChatbotError, ModelUnavailable, StorageFailure, cause_of
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.commands.administrators import may_have_no_users, people_problem
from chatbot.entrypoints.commands.file_modes import world_readable
from chatbot.entrypoints.commands.model_check import describe_model
from chatbot.entrypoints.container.parts import build_provider, build_storage
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ignored_names, load_settings
from chatbot.entrypoints.settings.subject import SettingsError

_FIXES = {  # used where the text names no fix of its own
    "settings": "correct it in .env or in the environment; .env.example explains each setting",
    "storage": "check STORAGE_URL",
    "people": "create what is missing with `chatbot init` and `chatbot admin create`",
    "model": "check OPENAI_BASE_URL, OPENAI_API_KEY and GENKIT_MODEL",
    "proxy": "correct the variable, or unset it",
    "tls": "check TLS_CERT_FILE and TLS_KEY_FILE",
    "files": "make the service's account the owner, and let no other account read it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check; `text` includes the fix if the check failed."""

    subject: str
    ok: bool
    text: str

    def __str__(self) -> str:
        if self.ok:
            return f"ok    {self.subject}: {self.text.replace('. Fix: ', ': ')}"
        fix = "" if "Fix: " in self.text else f". Fix: {_FIXES[self.subject]}"
        return f"FAIL  {self.subject}: {self.text.rstrip('.') if fix else self.text}{fix}"


def examine() -> Iterator[Finding]:
    """Runs all checks. Changes nothing, except that the folders of a new store are created."""
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            yield Finding(subject="settings", ok=False, text=line)
        return
    ignored = [Finding(subject="settings", ok=False, text=line) for line in ignored_names()]
    yield from ignored or [Finding(subject="settings", ok=True, text="complete")]
    yield from asyncio.run(_storage(settings))
    yield _model(settings)
    yield _proxy(settings)
    yield _tls(settings)
    yield from _file_modes(settings)


async def _storage(settings: Settings) -> list[Finding]:
    url = settings.storage.url
    try:
        async with build_storage(settings) as storage:
            await storage.check()
            found = await storage.inspect()
            people = await _people(storage, settings)
    except ChatbotError as error:
        text = f"STORAGE_URL: {error}"  # the message is ours and may name the fix
        if "Fix: " not in text and (error.__cause__ or error.__context__):
            text = (
                f"{cause_of(error).rstrip('.')}. Fix: check STORAGE_URL and the permissions on "
                f"{url}"
            )
        return [Finding(subject="storage", ok=False, text=text)]
    findings = [Finding(subject="storage", ok=False, text=one) for one in found]
    return [*(findings or [Finding(subject="storage", ok=True, text=str(url))]), *people]


async def _people(storage: Storage, settings: Settings) -> list[Finding]:
    """Checks for an active administrator; empty if the storage check already failed."""
    if not settings.storage.url.is_persistent:
        text = "none: memory: does not store users"
        return [Finding(subject="people", ok=True, text=text)]
    try:
        problem = await people_problem(storage, settings)
        is_fine = problem is None or await may_have_no_users(storage, settings)
    except StorageFailure:
        return []
    text = problem or "at least one active administrator"
    return [Finding(subject="people", ok=is_fine, text=text)]


def _model(settings: Settings) -> Finding:
    try:
        return Finding(subject="model", ok=True, text=describe_model(settings))
    except SettingsError as error:
        return Finding(subject="model", ok=False, text=str(error))


def _proxy(settings: Settings) -> Finding:
    if not settings.model.has_provider:
        return Finding(subject="proxy", ok=True, text="not needed: no provider is used")
    try:
        proxy = build_provider(settings).proxy()
    except ModelUnavailable as error:
        return Finding(subject="proxy", ok=False, text=str(error))
    return Finding(subject="proxy", ok=True, text=proxy or "none is used")


def _tls(settings: Settings) -> Finding:
    if settings.http.tls_cert_file is None or settings.http.tls_key_file is None:
        text = "not configured: the service listens on plain HTTP"
        return Finding(subject="tls", ok=True, text=text)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.http.tls_cert_file, settings.http.tls_key_file)
        context.load_verify_locations(settings.http.tls_cert_file)
    except OSError as error:  # includes ssl.SSLError
        text = f"TLS_CERT_FILE and TLS_KEY_FILE do not work together ({error.strerror or error})"
        return Finding(subject="tls", ok=False, text=text)
    ends = _not_after(context)
    if ends is not None and ends < datetime.now(UTC):
        text = f"TLS_CERT_FILE expired on {ends:%Y-%m-%d}. Fix: renew it"
        return Finding(subject="tls", ok=False, text=text)
    return Finding(subject="tls", ok=True, text=str(settings.http.tls_cert_file))


def _not_after(context: ssl.SSLContext) -> datetime | None:
    """Returns when the first certificate in the file expires, as far as OpenSSL lists it."""
    for certificate in context.get_ca_certs():
        seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        return datetime.fromtimestamp(seconds, UTC)
    return None


def _file_modes(settings: Settings) -> list[Finding]:
    exposed = [
        Finding(
            subject="files",
            ok=False,
            text=f"{path}: every account on this machine can read it. Fix: chmod go-rwx {path}",
        )
        for path in world_readable(settings)
    ]
    private = "only this account can read the secrets"
    return exposed or [Finding(subject="files", ok=True, text=private)]
