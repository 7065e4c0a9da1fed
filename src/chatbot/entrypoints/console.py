"""What commands print. Text of models, providers, callers and files never commands the terminal."""

import sys

import typer

from chatbot.domain.text import visible


def say(text: str, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr."""
    typer.echo(visible(text), err=err)


def write(text: str) -> None:
    """Print a part of a line on stdout, at once."""
    sys.stdout.write(visible(text))
    sys.stdout.flush()
