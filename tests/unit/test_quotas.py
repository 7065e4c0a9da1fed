"""The windows of quotas."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.domain.quotas import Period, window_of

MADRID = ZoneInfo("Europe/Madrid")
ZONES = (UTC, MADRID, ZoneInfo("America/Havana"), ZoneInfo("Asia/Kathmandu"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("period", "name", "begins_at", "seconds"),
    [
        (Period.MINUTE, "2026-03-15T10:42", "2026-03-15T10:42:00+00:00", 60),
        (Period.HOUR, "2026-03-15T10", "2026-03-15T10:00:00+00:00", 3600),
        (Period.DAY, "2026-03-15", "2026-03-14T23:00:00+00:00", 24 * 3600),
        (Period.MONTH, "2026-03", "2026-02-28T23:00:00+00:00", 31 * 24 * 3600 - 3600),
    ],
)
def test_window_begins_with_its_minute_hour_day_or_month(
    period: Period, name: str, begins_at: str, seconds: int
) -> None:
    window = window_of(period, at("2026-03-15T10:42:07.5+00:00"), MADRID)
    assert (window.name, window.begins_at, window.seconds) == (name, at(begins_at), seconds)


def test_day_and_month_are_those_of_the_time_zone() -> None:
    late = at("2025-12-31T23:30:00+00:00")
    assert window_of(Period.DAY, late, MADRID).name == "2026-01-01"
    assert window_of(Period.MONTH, late, MADRID).name == "2026-01"
    assert window_of(Period.MONTH, late, UTC).name == "2025-12"


def test_day_on_which_the_clock_changes_has_23_or_25_hours() -> None:
    spring, autumn = at("2026-03-29T12:00:00+00:00"), at("2026-10-25T12:00:00+00:00")
    assert window_of(Period.DAY, spring, MADRID).seconds == 23 * 3600
    assert window_of(Period.DAY, autumn, MADRID).seconds == 25 * 3600


@given(
    st.sampled_from(Period),
    st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 # bounds are naive
    st.sampled_from(ZONES),
)
def test_windows_follow_each_other_without_a_gap(
    period: Period, now: datetime, zone: ZoneInfo
) -> None:
    windows = [window_of(period, now, zone)]
    assert windows[0].begins_at <= now < windows[0].ends_at
    for _ in range(3):
        windows.append(window_of(period, windows[-1].ends_at, zone))
    for one, following in pairwise(windows):
        assert following.begins_at == one.ends_at
        assert following.name != one.name
        last = one.ends_at - timedelta(microseconds=1)
        assert window_of(period, last, zone) == one
