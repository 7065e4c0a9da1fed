"""Bodies of strict JSON."""

from dataclasses import replace

from chatbot.entrypoints.http import strict_json
from chatbot.entrypoints.http.body import BodyFormat
from chatbot.entrypoints.http.errors import BAD_REQUEST, Rejected


def json_body(*, max_bytes: int) -> BodyFormat:
    """Returns the format of strict JSON bodies."""
    return BodyFormat(media_type="application/json", max_bytes=max_bytes, decode=decoded_json)


def decoded_json(body: bytes) -> object:
    """Returns the value of a body.

    Raises:
        Rejected: it is not strict JSON.
    """
    try:
        return strict_json.decode(body)
    except strict_json.NotStrictJson as error:
        raise Rejected(replace(BAD_REQUEST, detail=str(error))) from None
