"""The headers `RateLimit` and `RateLimit-Policy` of a response with status 429.

They are lists of structured fields: see draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from collections.abc import Mapping, Sequence

from chatbot.domain.quotas import Quota, Unit

_QUOTA_UNITS = {
    Unit.REQUESTS: "",  # the draft's default
    Unit.TOKENS: ';qu="tokens"',  # not in its registry, which has no unit for them
    Unit.STREAMS: ';qu="concurrent-requests"',
}


def rate_limit_headers(quotas: Sequence[Quota]) -> Mapping[str, str]:
    """Return the headers for quotas that are used up."""
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(map(_policy, quotas)),
        "RateLimit": ", ".join(map(_service_limit, quotas)),
    }


def _policy(quota: Quota) -> str:
    window = "" if quota.window is None else f";w={quota.window.seconds}"
    return f'"{quota.name}";q={quota.amount}{_QUOTA_UNITS[quota.unit]}{window}'


def _service_limit(quota: Quota) -> str:
    reset = "" if quota.reset_s is None else f";t={math.ceil(quota.reset_s)}"
    return f'"{quota.name}";r=0{reset}'
