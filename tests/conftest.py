"""Fixtures of several files, and Hypothesis without a clock: a slow machine is no finding.

Under CI Hypothesis draws the same each time.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from postgres import new_database, postgres_url

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a Postgres that all tests share: each makes databases of its own."""
    with postgres_url() as url:
        yield url


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """The address of a new, empty database."""
    with new_database(postgres) as url:
        yield url
