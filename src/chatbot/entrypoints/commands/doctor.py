"""`chatbot doctor`: settings, storage, model, proxy and TLS; each line `ok`, or `FAIL` and its fix."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatbot.domain.audit import AUDIT
from chatbot.domain.audit_walk import Macs
from chatbot.domain.errors import ChatbotError, ModelUnavailable, StorageFailure, cause_of
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.commands.administrators import may_have_no_users, people_problem
from chatbot.entrypoints.commands.model_check import describe_model
from chatbot.entrypoints.commands.tls_check import describe_tls
from chatbot.entrypoints.commands.vector_check import vectors_problem
from chatbot.entrypoints.container.document_parts import build_document_repair
from chatbot.entrypoints.container.embedding_parts import describe_embedder
from chatbot.entrypoints.container.extraction_parts import describe_extraction
from chatbot.entrypoints.container.limit_parts import build_limit_counters
from chatbot.entrypoints.container.model_parts import build_provider
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.container.retention_parts import build_reindexing
from chatbot.entrypoints.container.telemetry_parts import describe_collector
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ENV_FILE, ignored_names, load_settings
from chatbot.entrypoints.settings.rotation import missing_secrets
from chatbot.entrypoints.settings.subject import SettingsError

GENKIT_FOLDER = Path(".genkit")
"""Genkit's developer mode writes traces there, which contain prompts and answers."""

_FIXES = {  # used where the text names no fix of its own
    "settings": "correct the setting in .env or in the environment; .env.example explains each one",
    "storage": "check STORAGE_URL",
    "search": "run `chatbot reindex`",
    "vectors": "run `chatbot reindex`",
    "audit": "add the AUDIT_KEY that was in use to AUDIT_KEY_PREVIOUS; `chatbot audit verify` "
    "names the events",
    "limits": "check LIMITS_URL",
    "telemetry": "check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS",
    "people": "create what is missing with `chatbot init` and `chatbot admin create`",
    "model": "check OPENAI_BASE_URL, OPENAI_API_KEY and GENKIT_MODEL",
    "embeddings": "check EMBEDDING_MODEL, EMBEDDING_BASE_URL and EMBEDDING_API_KEY",
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
        text = self.text
        if "Fix: " not in text:
            end = "" if text.endswith(("?", ".")) else "."
            text = f"{text}{end} Fix: {_FIXES[self.subject]}"
        return f"FAIL  {self.subject}: {text}"


def _passed(subject: str, text: str) -> Finding:
    return Finding(subject=subject, ok=True, text=text)


def _failed(subject: str, text: str) -> Finding:
    return Finding(subject=subject, ok=False, text=text)


def examine() -> Iterator[Finding]:
    """Runs all checks. Changes nothing, except that the folders of a new store are created."""
    try:
        settings = load_settings()
    except SettingsError as error:
        yield from (_failed("settings", line) for line in str(error).splitlines())
        return
    ignored = [_failed("settings", line) for line in ignored_names()]
    yield from ignored or [_passed("settings", _completeness(settings))]
    yield from asyncio.run(_storage(settings))
    yield asyncio.run(_limits(settings))
    yield _finding("documents", describe_extraction, settings)
    yield _finding("model", describe_model, settings)
    yield _finding("embeddings", describe_embedder, settings)
    yield _finding("proxy", _proxy, settings)
    yield _finding("tls", describe_tls, settings)
    yield _finding("telemetry", describe_collector, settings)
    exposed = [
        _failed(
            "files", f"{path}: every account on this machine can read it. Fix: chmod go-rwx {path}"
        )
        for path in _world_readable(settings)
    ]
    yield from exposed or [_passed("files", "only this account can read the secrets")]


def _completeness(settings: Settings) -> str:
    derived = " and ".join(name for name in missing_secrets(settings) if "_PREVIOUS" not in name)
    if not derived:
        return "complete"
    return f"complete; derived from JWT_SECRET: {derived} (docs/operations.md, Secrets)"


def _finding(subject: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return _passed(subject, check(settings))
    except (SettingsError, ModelUnavailable) as error:
        return _failed(subject, str(error))


async def _storage(settings: Settings) -> list[Finding]:
    url = settings.storage.url
    try:
        async with build_storage(settings) as storage:
            await storage.check()
            found = await storage.inspect()
            others = [
                *await _people(storage, settings),
                *await _audit(storage, settings),
                *await _search(storage),
                *await _vectors(storage, settings),
            ]
    except ChatbotError as error:
        text = f"STORAGE_URL: {error}"  # the message is ours and may name the fix
        if "Fix: " not in text and (error.__cause__ or error.__context__):
            cause = cause_of(error).rstrip(".")
            text = f"{cause}. Fix: check STORAGE_URL and the permissions on {url}"
        return [_failed("storage", text)]
    findings = [_failed("storage", one) for one in found]
    return [*(findings or [_passed("storage", str(url))]), *others]


async def _people(storage: Storage, settings: Settings) -> list[Finding]:
    """Checks for an active administrator; empty if the storage check already failed."""
    if not settings.storage.url.is_persistent:
        return [_passed("people", "none, because memory: does not store users")]
    try:
        problem = await people_problem(storage, settings)
        is_fine = problem is None or await may_have_no_users(storage, settings)
    except StorageFailure:
        return []
    text = problem or "at least one active administrator"
    return [Finding(subject="people", ok=is_fine, text=text)]


async def _audit(storage: Storage, settings: Settings) -> list[Finding]:
    """Checks the key by the newest event; empty if the storage check already failed."""
    try:
        last = await storage.transact(lambda tx: tx.journal.last(AUDIT))
    except StorageFailure:
        return []
    if last is None:
        return [_passed("audit", "no events yet")]
    keys = [key.encode() for key in settings.auth.audit_keys]
    if Macs(keys).among(last, (last.seq,)) is None:
        text = f"the newest event, {last.seq}, does not match AUDIT_KEY or AUDIT_KEY_PREVIOUS"
        return [_failed("audit", text)]
    return [_passed("audit", f"the newest event, {last.seq}, matches AUDIT_KEY")]


async def _search(storage: Storage) -> list[Finding]:
    """Compares the index with messages and documents; empty if the storage check already failed."""
    reindexing = build_reindexing(storage)
    try:
        found = [
            (owner, len(differing))
            for owner in await reindexing.owners()
            if (differing := await reindexing.differing(owner))
        ]
        documents = await build_document_repair(storage).differing()
    except StorageFailure:
        return []
    texts = [f"{count} sessions of {who.kind} {who.id}" for who, count in found]
    texts += [f"{documents} documents"] if documents else []
    failed = [_failed("search", f"the index differs for {text}") for text in texts]
    return failed or [_passed("search", "the index matches the stored messages and documents")]


async def _vectors(storage: Storage, settings: Settings) -> list[Finding]:
    """Counts what has no vector; empty without a model, or if the storage check already failed."""
    try:
        found = await vectors_problem(storage, settings)
    except StorageFailure:
        return []
    return [] if found is None else [Finding(subject="vectors", ok=found[0], text=found[1])]


async def _limits(settings: Settings) -> Finding:
    try:
        counters = build_limit_counters(settings)
        if counters is None or settings.limits.url is None:
            return _passed("limits", "counters are in the store")
        try:
            await counters.check()
        finally:
            await counters.aclose()
    except SettingsError as error:
        return _failed("limits", str(error))
    except StorageFailure as error:
        return _failed("limits", f"LIMITS_URL: {error}")
    return _passed("limits", settings.limits.url.shown)


def _proxy(settings: Settings) -> str:
    if not settings.model.has_provider:
        return "not needed, because no provider is used"
    return build_provider(settings).proxy() or "none is used"


def _world_readable(settings: Settings) -> Iterator[Path]:
    """Yields each private file or folder that every account can read; none on Windows."""
    for path in _private_paths(settings):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # absent or not accessible: the code that needs the file reports that
        is_open = sys.platform != "win32" and mode & (stat.S_IROTH | stat.S_IWOTH)
        if is_open and not _is_read_only(path) and not _is_enclosed(path):
            yield path


def _private_paths(settings: Settings) -> list[Path]:
    """Returns the paths of secrets and conversations outside of the store."""
    auth, model = settings.auth, settings.model
    files = (
        *(auth.api_key_file, auth.jwt_secret_file, model.api_key_file),
        settings.embedding.api_key_file,
        *(settings.storage.url_file, settings.limits.url_file, settings.http.tls_key_file),
    )
    named = [file for file in files if file is not None]
    return [ENV_FILE.absolute(), GENKIT_FOLDER.absolute(), *named]


def _is_enclosed(path: Path) -> bool:
    """Whether a folder above the file, such as one with the mode 0700, keeps other accounts out."""
    return not all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _is_read_only(path: Path) -> bool:
    """Whether the file is on a read-only mount, as secrets in a container are."""
    if sys.platform == "win32":
        return False
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
