"""Output of the commands. Untrusted text never controls the terminal."""

import sys

import typer

from chatbot.domain.text import visible


def say(text: str, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr."""
    typer.echo(visible(text), err=err)


def write(text: str) -> None:
    """Print part of a line on stdout and flush it."""
    sys.stdout.write(visible(text))
    sys.stdout.flush()
