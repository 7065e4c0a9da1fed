"""`chatbot migrate`, `import`, `backup` and `restore`: copy all data of a store.

Each shows a progress bar on a terminal, lists skipped items on stderr, and ends with a summary
line.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, takewhile
from pathlib import Path

from chatbot.application.transfer import BLOB, ENTRY, SESSION, Outcome, Step, StoreCopy, step_of
from chatbot.domain.audit import AUDIT, Action, Stage, object_id_of
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.errors import ChatbotError, NotFound, StorageFailure, StorageUnavailable
from chatbot.domain.identity import Owner, User
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.ports.backend import StorageUrl
from chatbot.domain.ports.export import (
    Conversation,
    ExportTarget,
    Item,
    StoreExport,
    Unreadable,
    name_of,
)
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.transaction import KINDS
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.progress import with_bar
from chatbot.entrypoints.container.parts import (
    DEFAULT_PRINCIPAL,
    build_backup,
    build_legacy_sessions,
    utc_now,
)
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url

_ERASED = Action.USER_ERASE.value
_DONE = frozenset(Outcome) - {
    *(Outcome.TARGET_NEWER, Outcome.CONFLICT, Outcome.REFUSED, Outcome.UNREADABLE)
}


def migrate(source: str, target: str, *, delete_others: bool, dry_run: bool) -> bool:
    """Copy a store to another one; returns whether the target is complete now.

    Raises:
        SettingsError: a storage URL is invalid, or names no store.
    """
    from_url, to_url = _store_at("--from", source), _store_at("--to", target)
    if (from_url.path or from_url.raw) == (to_url.path or to_url.raw):
        raise SettingsError("--to: names the same store as --from. Name another one.")
    with (
        _naming_stores(from_url, to_url),
        _to_read("--from", from_url) as found,
        _to_write("--to", to_url) as there,
    ):
        copy = StoreCopy(found, there, dry_run=dry_run)
        steps = with_bar(copy.steps(), total=len(found.session_keys()))
        if delete_others:
            steps = chain(steps, copy.remove_others())
        is_done = _report(steps, fine=_DONE, dry_run=dry_run)
        others = len(copy.others())
        if others and not delete_others:
            say(
                f"sessions only in the target: {others}, created there or deleted in the "
                "source since an earlier run. To delete them, use --delete-others."
            )
        return is_done


def import_files(url: StorageUrl, folder: Path, email: str | None) -> bool:
    """Import legacy sessions; returns whether all of them are in the store now.

    Raises:
        SettingsError: the folder or the store does not exist.
        NotFound: no user has this e-mail address.
    """
    if not folder.is_dir():
        raise SettingsError(f"DIR: the folder {folder} does not exist.")
    with _naming_stores(folder, url), _to_write("STORAGE_URL", url) as there:
        owner = DEFAULT_PRINCIPAL.owner if email is None else _owner(there, email)
        legacy = build_legacy_sessions(folder, owner)
        steps, total = StoreCopy(legacy, there).steps(), len(legacy.ids())
        is_done = _report(with_bar(steps, total=total), fine=_DONE | {Outcome.TARGET_NEWER})
    if total:
        say("The files were not changed. Move them away once you have checked the result.")
    return is_done


def back_up(url: StorageUrl, file: Path) -> bool:
    """Write all data into a new file; returns whether all of it could be read.

    Raises:
        SettingsError: the store, or the folder for the file, does not exist.
        Conflict: the file already exists.
    """
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"FILE: the folder {file.absolute().parent} does not exist.")
    steps: list[Step] = []
    backup = build_backup(file)
    with _naming_stores(url, file), _to_read("STORAGE_URL", url) as found:
        items = with_bar(found.items(), total=len(found.session_keys()))
        backup.write(_storable(items, backup.fits, steps), made_at=utc_now())
    return _report(steps, fine=_DONE)


def restore(url: StorageUrl, file: Path, *, dry_run: bool) -> bool:
    """Restore a backup; returns whether everything is there now.

    Raises:
        SettingsError: the file does not exist, or the store is unavailable.
        ChatbotError: the file was truncated or modified, and nothing was restored; or a store
            failed.
    """
    if not file.is_file():
        raise SettingsError(f"FILE: {file} does not exist.")
    backup = build_backup(file)
    with _naming_stores(file, url), _to_write("STORAGE_URL", url) as there:
        total = backup.verify()
        steps = with_bar(StoreCopy(backup, there, dry_run=dry_run).steps(), total=total)
        is_done = _report(steps, fine=_DONE, dry_run=dry_run)
        for email in () if dry_run else _erased_people(there):
            say(
                f"chatbot: {email} had been erased and is back. Fix: chatbot user delete {email}",
                err=True,
            )
        return is_done


def waiting_sessions(url: StorageUrl) -> int:
    """Returns how many legacy sessions are beside the store and not imported yet."""
    ids = build_legacy_sessions(url.local_folder).ids()
    if not ids or not url.is_persistent:
        return 0
    with backend_of(url).export(url) as export:
        there = {session_id for _, session_id in export.session_keys()}
    return sum(session_id not in there for session_id in ids)


@contextmanager
def _naming_stores(source: object, target: object) -> Iterator[None]:
    """Name source and target in the error when a store fails.

    Raises:
        ChatbotError: a store failed; what was copied before stays.
    """
    try:
        yield
    except StorageFailure as error:
        raise ChatbotError(f"{source} to {target}: {error}") from error


def _store_at(name: str, raw: str) -> StorageUrl:
    try:
        url = parse_storage_url(raw)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}.") from None
    if not url.is_persistent:
        raise SettingsError(
            f"{name}: {url.raw} is lost when its process ends. Name a persistent store."
        )
    return url


def _to_read(name: str, url: StorageUrl) -> StoreExport:
    """Returns the export after checking that it can be read."""
    if url.path is not None and not url.path.exists():
        raise SettingsError(f"{name}: {url.path} does not exist.")
    backend = backend_of(url)
    if not backend.has_store(url):
        raise SettingsError(f"{name}: {url.path} does not contain a store.")
    export = backend.export(url)
    try:
        with closing(export.items()) as items:
            next(items, None)
    except StorageUnavailable as error:
        raise SettingsError(f"{name}: {error}") from error
    return export


def _to_write(name: str, url: StorageUrl) -> ExportTarget:
    """Returns the export after checking that it is reachable."""
    export = backend_of(url).export(url)
    try:
        with export:
            export.find(DEFAULT_ROLES["admin"])
    except StorageUnavailable as error:
        raise SettingsError(f"{name}: {error}") from error
    return export


def _owner(export: StoreExport, email: str) -> Owner:
    wanted = normalise_email(email)
    with closing(export.items()) as items:
        people = takewhile(lambda item: not isinstance(item, Conversation), items)
        for person in people:
            if isinstance(person, User) and person.email == wanted:
                return Owner(kind="user", id=person.id)
    raise NotFound(
        "--owner: no user has this e-mail address. Create one with `chatbot user create`."
    )


def _erased_people(export: ExportTarget) -> list[str]:
    """Returns the addresses of users of the store whose erasure is in its audit."""
    entries = (each for each in export.entries(AUDIT) if isinstance(each, JournalEntry))
    contents = [each.content for each in entries if each.content.get("action") == _ERASED]
    erased = {object_id_of(each) for each in contents if each.get("stage") == Stage.DONE}
    if not erased:
        return []
    with closing(export.items()) as items:
        records = takewhile(lambda item: not isinstance(item, Conversation), items)
        return [each.email for each in records if isinstance(each, User) and each.id in erased]


def _storable(
    items: Iterable[Item | Unreadable], fits: Callable[[Item], bool], steps: list[Step]
) -> Iterator[Item]:
    """Yields the items that can be read and are not too large, and appends a step for each item."""
    for item in items:
        if not isinstance(item, Unreadable) and not fits(item):
            steps.append(step_of(Unreadable(name=name_of(item), reason="too large for a backup")))
            continue
        if not isinstance(item, Unreadable):
            yield item
        steps.append(step_of(item))


def _report(steps: Iterable[Step], *, fine: frozenset[Outcome], dry_run: bool = False) -> bool:
    """Print the result of the steps; returns whether all of them succeeded."""
    counts: dict[Outcome, Counter[str | None]] = {}
    failed = []
    for step in steps:
        counts.setdefault(step.outcome, Counter())[step.kind] += 1
        if step.outcome not in fine:
            failed.append(step)
    for step in failed:
        say(f"chatbot: {step}", err=True)
    sums = ", ".join(
        f"{counts[outcome].total()} {outcome}{_kinds(counts[outcome])}"
        for outcome in Outcome
        if outcome in counts
    )
    say(("dry run, nothing was written: " if dry_run else "") + (sums or "no items"))
    return not failed


def _kinds(counts: Counter[str | None]) -> str:
    """Returns the counts by kind, such as ` (2 roles, 1 user)`."""
    words = [*(kind.singular for kind in KINDS), BLOB, SESSION, ENTRY]
    named = ", ".join(
        f"{counts[word]} {_plural(word) if counts[word] > 1 else word}"
        for word in words
        if counts[word]
    )
    return f" ({named})" if named else ""


def _plural(word: str) -> str:
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
