"""How long an account is throttled after too many wrong passwords."""

from datetime import UTC, datetime, timedelta

import pytest

from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.throttling import (
    LONGEST_WAIT,
    WINDOW,
    Throttle,
    account_throttle,
    address_throttle,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ANA = account_throttle("ana@example.com")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def waits(throttle: Throttle, count: int) -> list[float]:
    """The wait after each attempt, each made as soon as it is allowed."""
    made: list[datetime] = []
    now, found = NOW, []
    for _ in range(count):
        made.append(now)
        wait = throttle.wait(made, now)
        found.append(wait.total_seconds())
        now += wait
    return found


def test_wait_begins_with_the_allowed_number_and_doubles_up_to_five_minutes() -> None:
    assert waits(ANA, 10) == [0] * 4 + [30, 60, 120, 240, 300, 300]
    assert waits(address_throttle("192.0.2.1"), 55) == [0] * 49 + [30, 60, 120, 240, 300, 300]


def test_no_attempts_no_wait() -> None:
    assert ANA.wait([], NOW) == timedelta(0)


def test_wait_counts_from_the_last_attempt_and_ends() -> None:
    made = [ago(40 + n) for n in range(4)]
    assert ANA.wait([ago(10), *made], NOW) == timedelta(seconds=20)
    assert ANA.wait([ago(30), *made], NOW) == timedelta(0)


def test_attempts_older_than_the_window_do_not_count() -> None:
    old = [NOW - WINDOW] * 4
    assert ANA.wait([*old, NOW], NOW) == timedelta(0)
    young = [at + timedelta(microseconds=1) for at in old]
    assert ANA.wait([*young, NOW], NOW) == timedelta(seconds=30)


@pytest.mark.parametrize("count", [5, 9, 20, 5000])
def test_login_wait_never_exceeds_five_minutes(count: int) -> None:
    assert ANA.wait([NOW] * count, NOW) <= LONGEST_WAIT < WINDOW


def test_continuous_guessing_gets_fewer_than_100_guesses_an_hour() -> None:
    made: list[datetime] = []
    now = NOW
    while now < NOW + timedelta(days=1):
        made.append(now)
        now += ANA.wait(made[-99:], now)
    busiest = max(sum(at <= each < at + timedelta(hours=1) for each in made) for at in made)
    assert busiest < 100  # OWASP ASVS 4, 2.2.1
    assert 24 < len(made) < 1000


def test_clock_that_is_set_back_neither_frees_nor_locks_out() -> None:
    made = [NOW] * 5
    assert ANA.wait(made, ago(0.001)) > timedelta(seconds=30), "another thread's clock"
    assert ANA.wait(made, ago(600)) <= WINDOW + LONGEST_WAIT
    assert ANA.wait(made, ago(86_400)) == timedelta(0)


@pytest.mark.parametrize("spelling", ["ana@example.com", " ANA@Example.COM\n", "Ana@example.com"])
def test_account_is_the_same_in_any_spelling_that_logs_in(spelling: str) -> None:
    assert normalise_email(spelling) == "ana@example.com"
    assert account_throttle(spelling) == ANA


def test_throttle_keys_cannot_be_computed_without_the_secret() -> None:
    for throttle in (account_throttle, address_throttle):
        keys = {throttle("192.0.2.1", secret=secret).key for secret in (b"", b"one", b"two")}
        assert len(keys) == 3
        assert throttle("192.0.2.1", secret=b"one") == throttle("192.0.2.1", secret=b"one")


@pytest.mark.parametrize("sent", ["", "no address", "\ud800", "x" * 100_000, "bea@example.com"])
def test_any_text_sent_as_an_account_has_its_own_throttle(sent: str) -> None:
    throttle = account_throttle(sent)
    assert throttle.key != ANA.key
    assert len(throttle.key) == 64
    assert throttle.allowed == ANA.allowed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:DB8:1:2:ffff:ffff:ffff:ffff"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_addresses_of_one_line_are_counted_together(one: str, other: str) -> None:
    assert address_throttle(one) == address_throttle(other)


def test_other_addresses_and_accounts_are_counted_apart() -> None:
    hosts = ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:3::1", "", "a proxy's word"]
    keys = {address_throttle(host).key for host in hosts}
    keys |= {account_throttle(host).key for host in hosts}
    assert len(keys) == 2 * len(hosts)
