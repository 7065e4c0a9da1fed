"""Shared by the commands that read and change the store."""

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer

from chatbot.domain.identity import Principal
from chatbot.domain.passwords import MIN_PASSWORD_CHARS
from chatbot.domain.text import decode_utf8, visible_line
from chatbot.entrypoints.commands.command_line import (
    Refused,
    command_settings,
    host_principal,
    persistent,
    say,
)
from chatbot.entrypoints.container.use_cases import Management

Done = TypeVar("Done")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
OneTime = Annotated[
    bool, typer.Option("--one-time", help="Generate a one-time password and print it.")
]


def managed(work: Callable[[Management, Principal], Awaitable[Done]]) -> Done:
    """Runs `work` on the configured store, as this account of the host.

    Raises:
        SettingsError: the settings are invalid, or the store cannot be opened.
        Refused: the store is process memory.
    """
    from chatbot.entrypoints.lifecycle import opened_management  # noqa: PLC0415 - slow

    async def done() -> Done:
        async with opened_management(settings) as management:
            return await work(management, host_principal())

    settings = persistent(command_settings())
    return asyncio.run(done())


def read_password(*, from_stdin: bool) -> str:
    """Returns a password, typed twice or from standard input.

    Raises:
        Refused: there is no terminal to ask on, or the two differ.
    """
    if from_stdin:
        return decode_utf8(sys.stdin.buffer.readline()).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Refused(
            "Cannot ask for the password without a terminal: use --password-stdin or --one-time."
        )
    password = getpass.getpass(f"Password ({MIN_PASSWORD_CHARS} characters or more): ")
    if getpass.getpass("Again: ") != password:
        raise Refused("The two passwords differ.")
    return password


def say_once(name: str, secret: str) -> None:
    """Print a secret, with a note on stderr, where it is not in the way of a script."""
    say(f"{name}: {secret}")
    say(f"The {name} is shown only this once: store it now.", err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the header and the rows as lines with aligned columns."""
    visible = [[visible_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*visible, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in visible]
