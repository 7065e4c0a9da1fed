"""Progress bars on stderr; without a terminal there is none."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer

from chatbot.domain.ports.backend import Progress

Value = TypeVar("Value")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yield a callable that shows the reported progress as a bar."""
    with typer.progressbar(length=1, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def report(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield report


def with_bar(values: Iterable[Value], *, total: int) -> Iterator[Value]:
    """Yield the same values while a bar advances."""
    with progress_bar() as report:
        for done, value in enumerate(values, start=1):
            yield value
            report(done, total)
