"""How long conversations are kept, and when the clock is doubted."""

from datetime import UTC, datetime, timedelta

import pytest

from chatbot.domain.retention import ONLY_RUN, RetentionRule, RetentionRun, days_of, first_run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = [
    RetentionRule(role="auditor", days=0),
    RetentionRule(role="employee", days=90),
    RetentionRule(role="temp", days=30),
    RetentionRule(role=None, days=365),
]


@pytest.mark.parametrize(
    ("roles", "days"),
    [
        (["employee"], 90),
        (["employee", "temp"], 30),
        (["auditor"], 0),
        (["auditor", "employee"], 90),
        (["other"], 365),
        ([], 365),
    ],
)
def test_shortest_time_of_the_roles_holds_else_that_for_everyone(
    roles: list[str], days: int
) -> None:
    assert days_of(roles, RULES, default=7) == days


def test_default_holds_without_rules() -> None:
    assert days_of(["employee"], [], default=7) == 7


def test_run_is_due_an_hour_after_the_last_one_and_not_while_the_clock_is_behind() -> None:
    last = RetentionRun(id=ONLY_RUN, claimed_at=NOW)
    assert not last.is_due(NOW + HOUR - timedelta(seconds=1))
    assert last.is_due(NOW + HOUR)
    assert not last.is_due(NOW - 10 * DAY)


def test_clock_that_jumps_is_doubted_for_a_day_of_hourly_runs() -> None:
    run = RetentionRun(id=ONLY_RUN, claimed_at=NOW).claimed(NOW + 365 * DAY)
    assert run.doubted_since == NOW + 365 * DAY
    for hour in range(1, 24):
        run = run.claimed(NOW + 365 * DAY + hour * HOUR)
        assert run.doubted_since is not None
    assert run.claimed(NOW + 366 * DAY).doubted_since is None


def test_new_store_has_nothing_that_confirms_the_clock() -> None:
    run = first_run(NOW)
    assert run.claimed(NOW + HOUR).doubted_since == NOW
    assert run.claimed(NOW + 25 * HOUR).doubted_since is None
