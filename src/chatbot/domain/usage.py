"""Usage of callers: payers, counters and reports."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from chatbot.domain.identity import Owner, Principal
from chatbot.domain.ports.counters import PART_SEPARATOR, Addition, CounterKey
from chatbot.domain.ports.model import Usage
from chatbot.domain.quotas import Window

RATE = "rate"
"""The kind of the counters of requests."""
USAGE = "usage"
"""The kind of the counters of usage: one for each day, payer, model and metric."""
USAGE_DAYS = 400
"""How long usage is kept."""

_ESCAPED = {"%": "%25", PART_SEPARATOR: "%7C", ",": "%2C"}
_UNESCAPED = {code: character for character, code in _ESCAPED.items()}
_ESCAPES = str.maketrans(_ESCAPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """The payer of usage: a client, and a person of a department, if any."""

    client: str
    user: str = ""
    department: str = ""
    roles: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        """The person, or the client that calls for itself, as part of a counter's name."""
        return part_of(self.user) if self.user else f"client:{part_of(self.client)}"

    @property
    def owner(self) -> Owner:
        """The owner of what the payer creates, as `Principal.owner`."""
        if self.user:
            return Owner(kind="user", id=self.user)
        return Owner(kind="client", id=self.client)


def payer_of(principal: Principal) -> Payer:
    """Return the payer for this caller."""
    user = principal.user
    if user is None:
        return Payer(client=principal.client.id)
    return Payer(
        client=principal.client.id,
        user=user.id,
        department=user.department,
        roles=tuple(sorted(set(user.roles))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Usage: model requests, turns, and tokens, some of which may be estimated."""

    requests: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Used") -> "Used":
        return Used(**{name: getattr(self, name) + getattr(other, name) for name in _METRICS})

    def with_request(self, usage: Usage) -> "Used":
        """Return it with one more request to the model."""
        tokens = usage.input_tokens + usage.output_tokens
        return self + Used(
            requests=1,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            estimated_tokens=tokens if usage.estimated else 0,
        )


_METRICS = ("requests", "turns", "input_tokens", "output_tokens", "estimated_tokens")


class Dimension(StrEnum):
    """The dimension by which usage is reported."""

    USER = "user"
    DEPARTMENT = "department"
    ROLE = "role"
    CLIENT = "client"
    MODEL = "model"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """The usage of a model by a payer on a day."""

    day: str
    payer: Payer
    model: str
    used: Used

    def keys(self, by: Dimension) -> Sequence[str]:
        """The keys of the report's rows that it is part of: one for each role, else one."""
        match by:
            case Dimension.USER:
                return (self.payer.user,)
            case Dimension.DEPARTMENT:
                return (self.payer.department,)
            case Dimension.ROLE:
                return self.payer.roles or ("",)
            case Dimension.CLIENT:
                return (self.payer.client,)
            case Dimension.MODEL:
                return (self.model,)
            case Dimension.DAY:
                return (self.day,)


def part_of(text: str) -> str:
    """Return the text as a part of a counter's name."""
    return text.translate(_ESCAPES)


def rate_key(owner: Owner, window: str) -> CounterKey:
    """The counter of the requests of an owner in a window."""
    first = f"-{owner.kind}"  # the ids of limits, which are in the same place, begin otherwise
    return CounterKey(RATE, PART_SEPARATOR.join((first, part_of(owner.id), window)))


def usage_additions(day: Window, payer: Payer, model: str, used: Used) -> tuple[Addition, ...]:
    """Return what to add to the counters of usage."""
    roles = ",".join(map(part_of, payer.roles))
    parts = map(part_of, (day.name, payer.user, payer.client, model, payer.department))
    name = PART_SEPARATOR.join((*parts, roles))
    return tuple(
        Addition(
            key=CounterKey(USAGE, f"{name}{PART_SEPARATOR}{metric}"),
            amount=amount,
            expires_at=day.ends_at + timedelta(days=USAGE_DAYS),
        )
        for metric in _METRICS
        if (amount := getattr(used, metric))
    )


def usage_prefix(day: str, user: str = "") -> str:
    """Return the name prefix of the counters of a day, or of a person on a day."""
    whose = f"{part_of(user)}{PART_SEPARATOR}" if user else ""
    return f"{day}{PART_SEPARATOR}{whose}"


def usage_rows(totals: Mapping[str, int]) -> Iterator[UsageRow]:
    """Read counters of usage by their names."""
    amounts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, amount in totals.items():
        row, _, metric = name.rpartition(PART_SEPARATOR)
        if metric in _METRICS:
            amounts[row][metric] = amount
    for name, found in amounts.items():
        day, user, client, model, department, roles = name.split(PART_SEPARATOR)
        payer = Payer(
            client=_text_of(client),
            user=_text_of(user),
            department=_text_of(department),
            roles=tuple(map(_text_of, roles.split(","))) if roles else (),
        )
        yield UsageRow(day=day, payer=payer, model=_text_of(model), used=Used(**found))


def summed(rows: Sequence[UsageRow], by: Dimension) -> Mapping[str, Used]:
    """Add up rows by a dimension, in the order of the keys."""
    totals: defaultdict[str, Used] = defaultdict(Used)
    for row in rows:
        for key in row.keys(by):  # a method with an argument
            totals[key] += row.used
    return {key: totals[key] for key in sorted(totals)}


def _text_of(part: str) -> str:
    for code in ("%7C", "%2C", "%25"):
        part = part.replace(code, _UNESCAPED[code])
    return part
