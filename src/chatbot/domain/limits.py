"""Limits that administrators set, to whom they apply, and what they count."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from chatbot.domain.errors import InvalidInput
from chatbot.domain.names import department_key
from chatbot.domain.ports.counters import PART_SEPARATOR, Addition, CounterKey
from chatbot.domain.quotas import Period, Quota, Unit, Window, window_of
from chatbot.domain.usage import RATE, Payer, part_of

BUDGET, STREAMS = "budget", "streams"
"""The kinds of the counters of tokens and of simultaneous answers."""

MAX_LIMIT = 10**15
MAX_NAME_CHARS = 254
MAX_LIMITS = 1000
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Subject(StrEnum):
    """Who a limit applies to."""

    USER = "user"
    ROLE = "role"
    DEPARTMENT = "department"
    CLIENT = "client"
    EVERYONE = "everyone"


class LimitKind(StrEnum):
    """What is limited."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    STREAMS = "streams"
    """Simultaneous answers."""
    RETENTION = "retention"
    """The days after which a session is deleted."""


def checked_id(raw: str) -> str:
    """Return the id of a limit.

    Raises:
        InvalidInput: it is not a valid id.
    """
    if not _ID.fullmatch(raw):
        raise InvalidInput(
            "The id of a limit must have 1 to 64 lower-case letters, digits, dots, hyphens and "
            "underscores, and begins with a letter or a digit.",
            where=("id",),
        )
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit. A caller is subject to all limits that match.

    `name` is that of the role, department or client, or the id of the person. A limit of a department
    or client is shared by all its callers; a limit of a role or of everyone applies to each person
    separately.
    """

    id: str
    subject: Subject
    name: str = ""
    kind: LimitKind
    per: Period | None = None
    limit: int
    model: str | None = None

    def __str__(self) -> str:
        amount = f"{self.limit} {self.kind}" + ("" if self.per is None else f" per {self.per}")
        of_model = "" if self.model is None else f" of {self.model}"
        return f"{amount}{of_model} for {self.subject} {self.name}".rstrip()

    def require_sensible(self) -> None:
        """Check that the fields of the limit fit together.

        Raises:
            InvalidInput: they do not; `where` names the field.
        """
        if (self.subject is Subject.EVERYONE) == bool(self.name):
            which = "must not have a name" if self.name else "must have a name"
            raise InvalidInput(f"A limit for {self._whose} {which}.", where=("name",))
        is_windowed = self.kind in {LimitKind.REQUESTS, LimitKind.TOKENS}
        if is_windowed == (self.per is None):
            which = "must have `per`" if is_windowed else "must not have `per`"
            raise InvalidInput(f"A limit of the kind `{self.kind}` {which}.", where=("per",))
        if self.model is not None and self.kind is not LimitKind.TOKENS:
            raise InvalidInput(
                "Only a limit of the kind `tokens` can be for one model.", where=("model",)
            )
        if not self.limit and self.kind in {LimitKind.REQUESTS, LimitKind.STREAMS}:
            raise InvalidInput(
                f"A limit of 0 {self.kind} would lock out {self._whose}.",
                where=("limit",),
            )
        if self.kind is LimitKind.RETENTION and self.subject not in {
            Subject.ROLE,
            Subject.EVERYONE,
        }:
            raise InvalidInput(
                "Retention can only be set for a role or for everyone.", where=("subject",)
            )

    @property
    def _whose(self) -> str:
        return "everyone" if self.subject is Subject.EVERYONE else f"a {self.subject}"

    @property
    def scope(self) -> tuple[object, ...]:
        """The key that two limits must not share, because one of them would have no effect."""
        return self.subject, self._name_key, self.kind, self.per, self.model

    @property
    def _name_key(self) -> str:
        """The name as it is compared: a department's, however it is spelled."""
        return department_key(self.name) if self.subject is Subject.DEPARTMENT else self.name

    def applies_to(self, payer: Payer, model: str | None = None) -> bool:
        """Whether usage of the model by this payer counts against it."""
        if self.model is not None and self.model != model:
            return False
        match self.subject:
            case Subject.USER:
                return bool(payer.user) and payer.user == self.name
            case Subject.ROLE:
                return self.name in payer.roles
            case Subject.DEPARTMENT:
                return bool(payer.department) and department_key(payer.department) == self._name_key
            case Subject.CLIENT:
                return payer.client == self.name
            case Subject.EVERYONE:
                return True

    def charge(self, payer: Payer, now: datetime, zone: tzinfo) -> "Charge":
        """Return the counter of this limit for the payer at this moment."""
        window = None if self.per is None else window_of(self.per, now, zone)
        is_shared = self.subject in {Subject.DEPARTMENT, Subject.CLIENT}
        whose = "" if is_shared else payer.who
        name = PART_SEPARATOR.join((part_of(self.id), whose, window.name if window else ""))
        return Charge(limit=self, key=CounterKey(_COUNTERS[self.kind], name), window=window)


_COUNTERS = {
    LimitKind.REQUESTS: RATE,
    LimitKind.TOKENS: BUDGET,
    LimitKind.STREAMS: STREAMS,
}
_UNITS = {
    LimitKind.REQUESTS: Unit.REQUESTS,
    LimitKind.TOKENS: Unit.TOKENS,
    LimitKind.STREAMS: Unit.STREAMS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A counter for the usage of a payer; `window` is None for simultaneous answers."""

    limit: Limit
    key: CounterKey
    window: Window | None

    def requested(self) -> Addition:
        """A request to count, if the limit allows it."""
        return self._addition(1, self._end, limit=self.limit.limit)

    def reserved(self, tokens: int, until: datetime) -> Addition:
        """What to reserve for an answer with this many tokens, if the limit allows it."""
        amount = tokens if self.limit.kind is LimitKind.TOKENS else 1
        return self._addition(amount, until, limit=self.limit.limit)

    def used(self, tokens: int) -> Iterator[Addition]:
        """What to count when the answer has ended with this many tokens."""
        if self.limit.kind is LimitKind.TOKENS and tokens:
            yield self._addition(tokens, self._end)

    def quota(self, now: datetime) -> Quota:
        """Describe the limit, which is used up."""
        reset_s = None if self.window is None else (self.window.ends_at - now).total_seconds()
        return Quota(
            name=self.limit.id,
            unit=_UNITS[self.limit.kind],
            amount=self.limit.limit,
            window=self.window,
            reset_s=reset_s,
        )

    @property
    def _end(self) -> datetime:
        if self.window is None:
            raise ValueError("A limit without a window counts nothing for good.")
        return self.window.ends_at

    def _addition(self, amount: int, expires_at: datetime, limit: int | None = None) -> Addition:
        return Addition(key=self.key, amount=amount, expires_at=expires_at, limit=limit)


def charges(
    limits: Sequence[Limit],
    kinds: frozenset[LimitKind],
    payer: Payer,
    *,
    model: str | None = None,
    now: datetime,
    zone: tzinfo,
) -> tuple[Charge, ...]:
    """Return the counters of the limits of these kinds that apply to the payer."""
    return tuple(
        each.charge(payer, now, zone)
        for each in limits
        if each.kind in kinds and each.applies_to(payer, model)
    )
