"""`chatbot key create|list|rotate|revoke`, for every store, also while the service is running.

A new key works immediately, and a revoked one stops working within 5 seconds.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer

from chatbot.application.api_keys import MadeKey
from chatbot.application.new_keys import MAX_OVERLAP, NewKey
from chatbot.domain.credentials import KeyLine
from chatbot.domain.identity import KeyId, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.text import decode_utf8, rfc3339
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.management import AsJson, managed, say_once, table
from chatbot.entrypoints.container.use_cases import Management

key = typer.Typer(help="Manage the API keys of applications.", no_args_is_help=True)

UserSecretStdin = Annotated[
    bool,
    typer.Option(
        "--user-secret-stdin",
        help="For the scope act_for_users: read the assertion secret from standard input instead of "
        "generating one.",
    ),
]
KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")]
_PAGE = 200


@key.command("create")
def create_key(
    client: Annotated[
        str, typer.Option(help="Name of the application, such as `intranet`. Created if it is new.")
    ],
    scope: Annotated[
        list[Permission],
        typer.Option(
            metavar="SCOPE",
            help=f"What the key allows. Repeatable. One of: {', '.join(sorted(Permission))}.",
        ),
    ],
    label: Annotated[str, typer.Option(help="A note, shown in the list of keys.")] = "",
    expires_in_days: Annotated[
        int | None,
        typer.Option(min=1, max=3660, help="Number of days after which the key expires."),
    ] = None,
    *,
    user_secret_stdin: UserSecretStdin = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be shown again."""
    from chatbot.entrypoints.container.parts import utc_now  # noqa: PLC0415 - slow

    ends = None if expires_in_days is None else utc_now() + timedelta(days=expires_in_days)
    wanted = NewKey(
        client=client,
        scopes=frozenset(scope),
        label=label,
        expires_at=ends,
        user_secret=_user_secret(from_stdin=user_secret_stdin),
    )
    made = managed(lambda use, account: use.api_keys.create(account, wanted))
    _show(made, as_json=as_json)


@key.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List all keys."""
    lines = managed(_all_lines)
    if as_json:
        say(json.dumps({"keys": [_to_json(each) for each in lines]}, indent=2))
        return
    empty = ["no keys: create one with `chatbot key create --client NAME --scope chat`"]
    for line in _table(lines) if lines else empty:
        say(line)


@key.command("rotate")
def rotate_key(
    key_id: KeyArgument,
    overlap_hours: Annotated[
        int,
        typer.Option(
            min=0,
            max=int(MAX_OVERLAP.total_seconds()) // 3600,
            help="Hours for which the old key stays valid.",
        ),
    ] = 24,
    *,
    user_secret_stdin: UserSecretStdin = False,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one.

    The new key has the same client and scopes. It is printed once and cannot be shown again.
    """
    overlap = timedelta(hours=overlap_hours)
    secret = _user_secret(from_stdin=user_secret_stdin)
    made = managed(
        lambda use, account: use.api_keys.rotate(
            account, KeyId(key_id), overlap=overlap, user_secret=secret
        )
    )
    _show(made, as_json=as_json)


@key.command("revoke")
def revoke_key(key_id: KeyArgument) -> None:
    """Revoke a key immediately and permanently.

    Also stops its running answers.
    """
    line = managed(lambda use, account: use.api_keys.revoke(account, KeyId(key_id)))
    say(f"revoked: {line.id} of {line.client}")


def _user_secret(*, from_stdin: bool) -> str | None:
    return decode_utf8(sys.stdin.buffer.readline()).rstrip("\r\n") if from_stdin else None


def _show(made: MadeKey, *, as_json: bool) -> None:
    secrets = {"key": made.raw_key, "assertion_secret": made.assertion_secret}
    shown = {name: secret for name, secret in secrets.items() if secret is not None}
    if as_json:
        say(json.dumps({**_to_json(made.line), **shown}, indent=2))
        return
    for name, secret in shown.items():
        say_once(name.replace("_", " "), secret)


async def _all_lines(use: Management, account: Principal) -> list[KeyLine]:
    page = await use.api_keys.page(account, limit=_PAGE, after=None)
    lines = [*page.keys]
    while page.next is not None:
        page = await use.api_keys.page(account, limit=_PAGE, after=page.next)
        lines += page.keys
    return lines


def _to_json(line: KeyLine) -> dict[str, object]:
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in asdict(line).items()
    }


def _table(lines: Sequence[KeyLine]) -> list[str]:
    rows = [
        [
            line.id,
            line.client,
            line.state,
            "-" if line.expires_at is None else rfc3339(line.expires_at)[:16] + "Z",
            line.last_used_on or "-",
            ",".join(line.scopes),
            line.label,
        ]
        for line in lines
    ]
    return table(["id", "client", "state", "expires", "last used", "scopes", "label"], rows)
