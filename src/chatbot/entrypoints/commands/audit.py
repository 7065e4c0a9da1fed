"""`chatbot audit ...`: check, export and prove what was recorded, on every persistent store."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from chatbot.application.audit_trail import AuditFilter, name_of
from chatbot.domain.audit import AUDIT, OPERATIONS, Action, Outcome, event_line
from chatbot.domain.audit_chain import NO_EVENTS, Head, StoredEvent, Verdict
from chatbot.domain.audit_check import verified, with_hidden
from chatbot.domain.erasure import Receipt, is_authentic
from chatbot.domain.identity import Principal
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.journal import JournalKind
from chatbot.domain.text import decode_utf8, moment_of, rfc3339
from chatbot.entrypoints.commands.command_line import Refused, command_settings, persistent, say
from chatbot.entrypoints.commands.management import managed
from chatbot.entrypoints.container.use_cases import Management
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of

audit = typer.Typer(help="Verify and export the audit.", no_args_is_help=True)

_HEAD = re.compile("([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)
_MAX_LINES = 100


@audit.command("verify")
def verify(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HEAD",
            help="A head from `chatbot audit head` or from the service's log: it must still "
            "be part of the chain.",
        ),
    ] = None,
) -> None:
    """Verify that the audit is complete and unchanged.

    Reports events that were edited, removed, inserted, reordered or hidden, and an end that was cut
    off. Exit code 1 if there are any.
    """
    settings = persistent(command_settings())
    expected = None if head is None else _head_of(head)
    verdict = verified(_events(settings, AUDIT), _keys(settings), expected=expected)
    verdict = with_hidden(verdict, _hidden(settings))
    operations = verified(_events(settings, OPERATIONS), _keys(settings))
    for line in _lines(verdict):
        say(line)
    if operations.count:
        for line in _lines(operations):
            say(f"operations: {line}")
    if verdict.findings or operations.findings:
        raise typer.Exit(1)


@audit.command("head")
def show_head() -> None:
    """Show the number and the MAC of the newest event.

    Keep them on another machine, for `chatbot audit verify --head`.
    """
    say(str(managed(lambda use, _: use.audit_trail.head())))


@audit.command("export")
def export(
    *,
    since: Annotated[
        str | None, typer.Option("--from", help="Only events since this date or time.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Only events before this date or time.")
    ] = None,
    action: Annotated[
        Action | None, typer.Option(metavar="ACTION", help="Only events with this action.")
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option(help="Only events caused by this user, client, account or address."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--object", help="Only events about the object with this id.")
    ] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only events with this outcome.")] = None,
    operations: Annotated[
        bool,
        typer.Option(
            "--operations",
            help="Print the operations on the whole store instead: backup, restore, migrate, import "
            "and db upgrade.",
        ),
    ] = False,
) -> None:
    """Print events, one JSON object per line.

    The export is itself recorded in the audit.
    """

    async def print_all(use: Management, account: Principal) -> None:
        trail = use.operations_trail if operations else use.audit_trail
        async for page in await trail.stream(account, wanted):
            for event in page:
                say(event_line(event))

    wanted = AuditFilter(
        since=_moment("--from", since),
        until=_moment("--to", until),
        action=action,
        actor=_name("--actor", actor),
        object=_name("--object", subject),
        outcome=outcome,
    )
    managed(print_all)


@audit.command("receipt")
def check_receipt(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File that contains the response to an erasure.")
    ],
) -> None:
    """Verify that this service issued a receipt of an erasure."""
    receipt = _receipt_in(file)
    if not is_authentic(receipt, _keys(command_settings())):
        raise Refused(f"{file}: the receipt was changed or was not issued by this service.")
    counts = ", ".join(f"{kind} {count}" for kind, count in receipt.erased.items()) or "nothing"
    say(f"valid: receipt {receipt.receipt_id} of {rfc3339(receipt.at)}: {counts}")


def _receipt_in(file: Path) -> Receipt:
    """Returns the receipt, which is the whole of the file or the field `receipt` in it."""
    try:
        found = json.loads(decode_utf8(file.read_bytes()))
        found = found.get("receipt", found)
        return Receipt(
            receipt_id=str(found["receipt_id"]),
            erased={str(kind): int(count) for kind, count in found["erased"].items()},
            at=datetime.fromisoformat(found["at"]),
            mac=str(found["mac"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file}: this is not a receipt.") from error


def _moment(option: str, raw: str | None) -> datetime | None:
    try:
        return None if raw is None else moment_of(raw)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}.") from None


def _name(option: str, raw: str | None) -> str | None:
    try:
        return None if raw is None else name_of(raw)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}.") from None


def _keys(settings: Settings) -> list[bytes]:
    return [key.encode() for key in settings.auth.audit_keys]


def _head_of(raw: str) -> Head:
    found = _HEAD.fullmatch(raw.strip())
    if found is None:
        raise SettingsError("--head: must be NUMBER:MAC, as `chatbot audit head` shows it.")
    return Head(seq=int(found[1]), mac=found[2])


def _events(settings: Settings, journal: JournalKind) -> Iterator[StoredEvent]:
    with backend_of(settings.storage.url).export(settings.storage.url) as export:
        for found in export.entries(journal):
            if isinstance(found, Unreadable):
                yield StoredEvent(seq=found.seq, entry=None)
            else:
                yield StoredEvent(seq=found.seq, entry=found)


def _hidden(settings: Settings) -> Iterator[int]:
    with backend_of(settings.storage.url).export(settings.storage.url) as export:
        yield from export.hidden_entries(AUDIT)


def _lines(verdict: Verdict) -> Iterator[str]:
    shown = verdict.findings[:_MAX_LINES]
    yield from map(str, shown)
    if len(verdict.findings) > len(shown):
        yield f"... and {len(verdict.findings) - len(shown)} more"
    yield from (f"note: {note}" for note in verdict.notes)
    result = f"{len(verdict.findings)} findings" if verdict.findings else "ok"
    head = "no events" if verdict.head == NO_EVENTS else f"head {verdict.head}"
    yield f"{result}: {verdict.count} events, {head}"
