"""The format of an answer, chosen by the header Accept (RFC 9110, section 12.5.1)."""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request

from chatbot.domain.errors import NotAcceptable
from chatbot.entrypoints.http.documented import documented


def one_of(*offered: str) -> Callable[[Request], Awaitable[str]]:
    """Returns a dependency: the media type that the client prefers, of equal ones the first."""

    @documented(NotAcceptable)
    async def chosen(request: Request) -> str:
        return preferred(",".join(request.headers.getlist("accept")), offered)

    return chosen


def preferred(header: str, offered: Sequence[str]) -> str:
    """Returns the media type that a header asks for; the first one if it is empty.

    Raises:
        NotAcceptable: it excludes all of them.
    """
    if not header.strip():
        return offered[0]
    ranges = [_range(part) for part in header.split(",") if part.strip()]
    weights = {media_type: _weight(media_type, ranges) for media_type in offered}
    best = max(offered, key=weights.__getitem__)
    if not weights[best]:
        raise NotAcceptable(
            "The response is not available in a format of the header Accept. Available: "
            f"{', '.join(offered)}."
        )
    return best


def _range(part: str) -> tuple[str, float]:
    """Returns a media range and its weight; one that cannot be read counts as 0."""
    name, *parameters = (each.strip().lower() for each in part.split(";"))
    raw = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        weight = float(raw)
    except ValueError:
        weight = 0.0
    return name, weight if 0 <= weight <= 1 else 0.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Returns the weight of the most specific range that contains the media type."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        found = [weight for each, weight in ranges if each == name]
        if found:
            return max(found)
    return 0.0
