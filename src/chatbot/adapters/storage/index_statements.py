"""Statements on the tables of the search index that SQLite and Postgres both know.

A statement gets many scopes as one value, a JSON list, so that its text is the same for any number.
"""

import json
import secrets
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

_ID_BITS = 62


class Dialect(NamedTuple):
    """How a column is compared with the elements of a JSON list."""

    texts: str
    numbers: str


SQLITE = Dialect(
    texts="IN (SELECT value FROM json_each(:{}))",
    numbers="IN (SELECT value FROM json_each(:{}))",
)
POSTGRES = Dialect(
    texts="= ANY(ARRAY(SELECT json_array_elements_text(CAST(:{} AS json))))",
    numbers="= ANY(ARRAY(SELECT CAST(json_array_elements_text(CAST(:{} AS json)) AS bigint)))",
)


class Statements(Protocol):
    """Executes statements with named values, all in one transaction."""

    @abstractmethod
    def read(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Return the rows."""

    @abstractmethod
    def write(self, statement: str, *rows: Mapping[str, object]) -> None:
        """Execute the statement with the values of each row."""

    @abstractmethod
    def lock(self, name: str) -> None:
        """Exclude other transactions that lock this name, until the end."""


class IndexStatements:
    """The statements of one transaction. `{scopes}`, `{atoms}` and `{ids}` in them are lists."""

    def __init__(self, sql: Statements, dialect: Dialect) -> None:
        self._sql, self._dialect = sql, dialect

    def _read(
        self,
        query: str,
        values: Mapping[str, object] | None = None,
        **lists: Collection[str] | Collection[int],
    ) -> Sequence[Any]:
        """The rows of a query whose lists have elements; otherwise nothing is asked."""
        if not all(lists.values()):
            return []
        all_values = {**(values or {}), **{name: as_list(each) for name, each in lists.items()}}
        return self._sql.read(self._text(query), all_values)

    def _text(self, query: str) -> str:
        return _text(query, self._dialect)


@cache
def _text(query: str, dialect: Dialect) -> str:
    texts = {name: dialect.texts.format(name) for name in ("scopes", "atoms")}
    return query.format(**texts, ids=dialect.numbers.format("ids"))


def as_list(elements: Iterable[str] | Iterable[int]) -> str:
    """Returns a list as one value."""
    return json.dumps([*elements])


def new_id() -> int:
    """Returns an id that is never used again, not in a new file either."""
    return secrets.randbits(_ID_BITS)
