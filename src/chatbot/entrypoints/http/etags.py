"""ETags of stored objects, and `If-Match`: a change only applies to the version that the caller has
read.

An ETag depends on all stored fields of an object, including those that are not shown.
"""

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Response

from chatbot.domain.canonical_json import Dataclass
from chatbot.domain.errors import ChangedMeanwhile, InvalidInput
from chatbot.domain.fingerprints import ANYTHING, Expected, fingerprint
from chatbot.entrypoints.http.documented import documented

_ETAG = re.compile(r'"([^"]*)"')


def tagged(status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Returns what a route that calls `tag` passes as its `responses`."""
    description = "Send it as `If-Match`, so that a change fails if the object has changed since."
    header = {"description": description, "schema": {"type": "string"}}
    return {status: {"headers": {"ETag": header}}}


def tag(response: Response, record: Dataclass) -> None:
    """Adds the header `ETag` for the object."""
    response.headers["ETag"] = f'"{fingerprint(record)}"'


@documented(ChangedMeanwhile, InvalidInput)
async def _expected(
    if_match: Annotated[
        str | None,
        Header(
            max_length=1000,
            description="The `ETag` of the object as last read. If the object has changed since: 412.",
        ),
    ] = None,
) -> Expected:
    """Compares strongly (RFC 9110, section 13.1.1): a weak or malformed tag matches nothing."""
    if if_match is None:
        return ANYTHING
    if if_match.strip() == "*":
        return Expected(is_any=True)
    parts = [part.strip() for part in if_match.split(",")]
    found = [match[1] for match in map(_ETAG.fullmatch, parts) if match]
    return Expected(any_of=frozenset(found))


IfMatch = Annotated[Expected, Depends(_expected)]
"""The version that the object must have for the call to change it."""
