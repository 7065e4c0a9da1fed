"""The program `chatbot`: the command line, which ends quietly if it is interrupted while it starts."""

import sys

INTERRUPTED = 130
"""The exit code of a program that SIGINT (2) has ended, as shells report it: 128 + 2."""


def main(arguments: list[str] | None = None) -> None:
    """Import the command line, which takes a while, and run a command."""
    try:
        from chatbot.entrypoints.commands.cli import main as run  # noqa: PLC0415 - slow

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
