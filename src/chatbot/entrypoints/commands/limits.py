"""`chatbot limit list|set|delete` and `chatbot usage`, also while the service is running."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated

import typer

from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.quotas import Period
from chatbot.domain.usage import Dimension, Used
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.management import AsJson, managed, table

limit = typer.Typer(help="Manage limits on what callers may use.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the limit.")]
_DAY = ["%Y-%m-%d"]


@limit.command("list")
def list_limits(*, as_json: AsJson = False) -> None:
    """List the limits."""
    found = managed(lambda use, account: use.limits.all(account))
    if as_json:
        say(json.dumps({"limits": [_to_json(each) for each in found]}, indent=2))
        return
    header = ["id", "applies to", "limit", "model"]
    for line in table(header, [_cells(each) for each in found]) if found else ["no limits"]:
        say(line)


@limit.command("set")
def set_limit(
    limit_id: Id,
    *,
    kind: Annotated[LimitKind, typer.Option(help="What is limited.")],
    amount: Annotated[int, typer.Option("--limit", min=0, help="The maximum.")],
    subject: Annotated[Subject, typer.Option(help="Who the limit applies to.")] = Subject.EVERYONE,
    name: Annotated[
        str,
        typer.Option(help="Name of the role, department or client, or e-mail address of the user."),
    ] = "",
    per: Annotated[Period | None, typer.Option(help="Period, for requests and tokens.")] = None,
    model: Annotated[
        str | None, typer.Option(help="For tokens: count only those of this model.")
    ] = None,
) -> None:
    """Create or change a limit.

    A running service applies it within 5 s.
    """
    new = Limit(
        id=limit_id, subject=subject, name=name, kind=kind, per=per, limit=amount, model=model
    )
    _, is_new = managed(lambda use, account: use.limits.put(account, new))
    say(f"{'created' if is_new else 'changed'}: {limit_id}")


@limit.command("delete")
def delete_limit(limit_id: Id) -> None:
    """Delete a limit."""
    managed(lambda use, account: use.limits.remove(account, limit_id))
    say(f"deleted: {limit_id}")


def show_usage(
    *,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=_DAY, help="First day.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last day.")] = None,
    by: Annotated[Dimension, typer.Option(help="What the rows are grouped by.")] = Dimension.DAY,
    as_json: AsJson = False,
) -> None:
    """Show the usage: model requests, turns and tokens.

    Default: this month, by day.
    """
    report = managed(lambda use, account: use.usage.all(account, _day(since), _day(until), by))
    if as_json:
        rows = [{"key": key, **_row(used)} for key, used in report.rows.items()]
        period = {"from": report.since.isoformat(), "to": report.until.isoformat()}
        say(json.dumps({**period, "by": by.value, "rows": rows}, indent=2))
        return
    cells = [[key or "-", *map(_cell, _row(used).values())] for key, used in report.rows.items()]
    for line in table([by.value, *_row(Used())], cells):
        say(line)


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def _cell(value: int | bool) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


def _row(used: Used) -> Mapping[str, int | bool]:
    return {
        "requests": used.requests,
        "turns": used.turns,
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "estimated": used.estimated_tokens > 0,
    }


def _cells(each: Limit) -> list[str]:
    whose = f"{each.subject.value} {each.name}".strip()
    per = f" per {each.per.value}" if each.per else ""
    return [each.id, whose, f"{each.limit} {each.kind.value}{per}", each.model or "-"]


def _to_json(each: Limit) -> dict[str, object]:
    return {
        "id": each.id,
        "subject": each.subject.value,
        "name": each.name,
        "kind": each.kind.value,
        "per": None if each.per is None else each.per.value,
        "limit": each.limit,
        "model": each.model,
    }
