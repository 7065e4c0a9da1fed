"""The settings of limits: what one caller may use, and where it is counted."""

import re
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PlainValidator

from chatbot.entrypoints.settings.subject import File, Subject

_FORM = re.compile(
    r"rediss?://([^\s@/?#]*@)?(\[[^\s\[\]@/?#]+\]|[^\s\[\]@/?#:]+)(:[0-9]+)?(/[0-9]*)?"
    r"(\?(&?ssl_(ca_certs|ca_path|cert_reqs|certfile|check_hostname|keyfile)=[^\s#&]*)+)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsUrl:
    """A valid LIMITS_URL; `shown` is the part that may be displayed."""

    raw: str = field(repr=False)
    shown: str
    password: str = field(repr=False)


def parse_limits_url(raw: object) -> LimitsUrl:
    """Parses the URL of a Redis.

    Raises:
        ValueError: it is invalid; the message repeats nothing of it.
    """
    text = str(raw).strip()
    try:
        parts = urlsplit(text)
        is_valid = _FORM.fullmatch(text) is not None and parts.port != 0
    except ValueError:  # an unclosed bracket, or an invalid port
        is_valid = False
    if not is_valid:
        raise ValueError(
            "must be redis://USER:PASSWORD@HOST:PORT/DB, or rediss://... for TLS (in a password, "
            "write @ as %40, / as %2F, ? as %3F and # as %23)"
        )
    port = f":{parts.port}" if parts.port else ""
    shown = f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
    return LimitsUrl(raw=text, shown=shown, password=unquote(parts.password or ""))


def parse_time_zone(raw: object) -> ZoneInfo:
    """Returns the time zone with this name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(str(raw))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            "must be the name of a time zone that this system knows, such as Europe/Madrid"
        ) from error


class LimitsSettings(Subject):
    """LIMITS_..., RATE_LIMIT_PER_MINUTE, MAX_STREAMS_PER_USER and MAX_SESSIONS_PER_USER."""

    url: Annotated[LimitsUrl | None, PlainValidator(parse_limits_url)] = Field(
        default=None, alias="limits_url"
    )
    url_file: File | None = Field(default=None, alias="limits_url_file")
    timezone: Annotated[ZoneInfo, PlainValidator(parse_time_zone)] = Field(
        default="UTC", validate_default=True, alias="limits_timezone"
    )
    rate_limit_per_minute: int = Field(default=120, ge=0, le=1_000_000)
    max_streams_per_user: int = Field(default=5, ge=1, le=1_000_000)
    max_sessions_per_user: int = Field(default=10_000, ge=1, le=1_000_000)
