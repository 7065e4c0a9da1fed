"""`chatbot migrate`, `import`, `backup` and `restore`: everything of a store, to somewhere else.

Each shows a bar on a terminal, names what was left as it is on stderr, and ends with one line.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, takewhile
from pathlib import Path
from typing import TypeVar

import typer

from chatbot.adapters.storage.backup_file import BackupFile, fits, write_backup
from chatbot.adapters.storage.mvp_files import MvpFiles, mvp_files, session_id_of
from chatbot.application.moving import ItemKind, Moving, Outcome, Step, name_of, step_of
from chatbot.domain.errors import ChatbotError, NotFound, StorageFailure, StorageUnavailable
from chatbot.domain.identity import DEFAULT_ROLES, Owner, User, normalise_email
from chatbot.domain.ports.archive import (
    Archive,
    Conversation,
    Item,
    Unreadable,
    WritableArchive,
)
from chatbot.entrypoints.console import say
from chatbot.entrypoints.container import DEFAULT_PRINCIPAL, build_archive, utc_now
from chatbot.entrypoints.settings import SettingsError
from chatbot.entrypoints.storage_url import StorageKind, StorageUrl, parse_storage_url

Thing = TypeVar("Thing")
_DONE = frozenset(Outcome) - {
    *(Outcome.AHEAD, Outcome.DIFFERENT, Outcome.REFUSED, Outcome.UNREADABLE)
}


def migrate(source: str, target: str, *, delete_others: bool, dry_run: bool) -> bool:
    """Copy a store to another one; return whether all of it is there now.

    Raises:
        SettingsError: an address is none, or there is no store.
    """
    from_url, to_url = _store_at("--from", source), _store_at("--to", target)
    if (from_url.path or from_url.raw) == (to_url.path or to_url.raw):
        raise SettingsError("--to: this is the store that --from names. Name another one.")
    with (
        _on_the_way(from_url, to_url),
        _to_read("--from", from_url) as found,
        _to_write("--to", to_url) as there,
    ):
        moving = Moving(found, there, dry_run=dry_run)
        steps = _followed(moving.steps(), total=len(found.session_keys()))
        if delete_others:
            steps = chain(steps, moving.remove_others())
        is_done = _told(steps, fine=_DONE, dry_run=dry_run)
        others = len(moving.others())
        if others and not delete_others:
            say(
                f"sessions in the target only: {others}, its own or deleted in the source since "
                "an earlier run. --delete-others deletes them."
            )
        return is_done


def import_files(url: StorageUrl, folder: Path, email: str | None) -> bool:
    """Import the sessions of the first version; return whether all of them are there now.

    Raises:
        SettingsError: there is no folder, or no store.
        NotFound: nobody has this e-mail address.
    """
    if not folder.is_dir():
        raise SettingsError(f"DIR: there is no folder {folder}.")
    files = mvp_files(folder)
    with _on_the_way(folder, url), _to_write("STORAGE_URL", url) as there:
        owner = DEFAULT_PRINCIPAL.owner if email is None else _owner(there, email)
        steps = Moving(MvpFiles(folder, owner), there).steps()
        is_done = _told(_followed(steps, total=len(files)), fine=_DONE | {Outcome.AHEAD})
    if files:
        say("The files were left as they are; move them away once you have looked.")
    return is_done


def back_up(url: StorageUrl, file: Path) -> bool:
    """Write everything into a new file; return whether all of it could be read.

    Raises:
        SettingsError: there is no store, or no folder for the file.
        Conflict: there is such a file.
    """
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"FILE: there is no folder {file.absolute().parent}.")
    steps: list[Step] = []
    with _on_the_way(url, file), _to_read("STORAGE_URL", url) as found:
        items = _followed(found.items(), total=len(found.session_keys()))
        write_backup(file, _readable(items, steps), made_at=utc_now())
    return _told(steps, fine=_DONE)


def restore(url: StorageUrl, file: Path, *, dry_run: bool) -> bool:
    """Bring back what a backup holds; return whether all of it is there now.

    Raises:
        SettingsError: there is no file, or the store cannot be had.
        ChatbotError: the file is not as it was written, and nothing was restored; or a store failed.
    """
    if not file.is_file():
        raise SettingsError(f"FILE: there is no file {file}.")
    backup = BackupFile(file, is_lenient=True)
    with _on_the_way(file, url), _to_write("STORAGE_URL", url) as there:
        total = backup.verify()
        steps = _followed(Moving(backup, there, dry_run=dry_run).steps(), total=total)
        return _told(steps, fine=_DONE, dry_run=dry_run)


def waiting_files(url: StorageUrl) -> int:
    """How many files of the first version lie beside the store and are not imported yet."""
    files = mvp_files(url.local_folder)
    if not files or url.kind is StorageKind.MEMORY:
        return 0
    with build_archive(url) as archive:
        there = {session_id for _, session_id in archive.session_keys()}
    return sum(session_id_of(file) not in there for file in files)


@contextmanager
def _on_the_way(source: object, target: object) -> Iterator[None]:
    """Say between what it was that a store failed.

    Raises:
        ChatbotError: one did; what was copied before is there.
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
    if url.kind is StorageKind.MEMORY:
        raise SettingsError(f"{name}: memory: is gone with its process. Name a store that lasts.")
    return url


def _to_read(name: str, url: StorageUrl) -> Archive:
    """The archive, once it is sure that it can be read."""
    if url.path is not None and not url.path.exists():
        raise SettingsError(f"{name}: there is no {url.path}.")
    parts = [url.local_folder / name for name in ("memory", "auth")]
    if url.kind is StorageKind.JSON and not any(part.is_dir() for part in parts):
        raise SettingsError(f"{name}: {url.path} holds no store.")
    archive = build_archive(url)
    try:
        with closing(archive.items()) as items:
            next(items, None)
    except StorageUnavailable as error:
        raise SettingsError(f"{name}: {error}") from error
    return archive


def _to_write(name: str, url: StorageUrl) -> WritableArchive:
    """The archive, once it is sure that it can be reached."""
    archive = build_archive(url)
    try:
        with archive:
            archive.find(DEFAULT_ROLES["admin"])
    except StorageUnavailable as error:
        raise SettingsError(f"{name}: {error}") from error
    return archive


def _owner(archive: Archive, email: str) -> Owner:
    wanted = normalise_email(email)
    with closing(archive.items()) as items:
        people = takewhile(lambda item: not isinstance(item, Conversation), items)
        for person in people:
            if isinstance(person, User) and person.email == wanted:
                return Owner(kind="user", id=person.id)
    raise NotFound("--owner: nobody has this e-mail address. `chatbot user create` makes a user.")


def _readable(items: Iterable[Item | Unreadable], steps: list[Step]) -> Iterator[Item]:
    """The items that can be read, while the steps are noted."""
    for item in items:
        if not isinstance(item, Unreadable) and not fits(item):
            steps.append(step_of(Unreadable(name=name_of(item), reason="too large for a backup")))
            continue
        if not isinstance(item, Unreadable):
            yield item
        steps.append(step_of(item))


def _followed(things: Iterable[Thing], *, total: int) -> Iterator[Thing]:
    """The same, while a bar grows; where there is no terminal, there is none.

    People need not count in `total`: they are few.
    """
    is_hidden = not sys.stderr.isatty()
    with typer.progressbar(length=total, file=sys.stderr, hidden=is_hidden) as bar:
        for thing in things:
            yield thing
            bar.update(1)


def _told(steps: Iterable[Step], *, fine: frozenset[Outcome], dry_run: bool = False) -> bool:
    """Tell what came of the steps, and return whether all of it is fine."""
    counts: dict[Outcome, Counter[ItemKind | None]] = {}
    odd = []
    for step in steps:
        counts.setdefault(step.outcome, Counter())[step.kind] += 1
        if step.outcome not in fine:
            odd.append(step)
    for step in odd:
        say(f"chatbot: {step}", err=True)
    sums = ", ".join(
        f"{counts[outcome].total()} {outcome}{_kinds(counts[outcome])}"
        for outcome in Outcome
        if outcome in counts
    )
    say(("dry run, nothing was written: " if dry_run else "") + (sums or "nothing there"))
    return not odd


def _kinds(counts: Counter[ItemKind | None]) -> str:
    """What was counted, as in ` (2 roles, 1 user)`."""
    kinds = [(counts[kind], kind.value) for kind in ItemKind if counts[kind]]
    named = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in kinds)
    return f" ({named})" if named else ""
