"""Copies and backups of sign-ins: none that has ended is revived where its end is stored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.application.transfer import Outcome, StoreCopy
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.sign_in import RefreshFamily
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from filled import filled
from samples import T0, fill

LIVE = filled(RefreshFamily, number=3)
LIVE = replace(LIVE, ended_at=None)
RENEWED, ENDED = replace(LIVE, number=4), replace(LIVE, ended_at=T0)


@pytest.fixture(params=["json", "sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExportTarget]:
    match request.param:
        case "json":
            url = f"json:{tmp_path / 'data'}"
        case "sqlite":
            url = f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case _:
            url = request.getfixturevalue("postgres_store")
    parsed = parse_storage_url(url)
    with backend_of(parsed).export(parsed) as export:
        yield export


@pytest.mark.parametrize(
    ("stored", "copied", "outcome"),
    [
        (ENDED, LIVE, Outcome.TARGET_NEWER),
        (ENDED, RENEWED, Outcome.TARGET_NEWER),
        (RENEWED, LIVE, Outcome.TARGET_NEWER),
        (LIVE, RENEWED, Outcome.UPDATED),
        (RENEWED, ENDED, Outcome.UPDATED),
        (LIVE, LIVE, Outcome.SAME),
    ],
)
def test_later_state_of_a_sign_in_stays(
    target: ExportTarget,
    tmp_path: Path,
    stored: RefreshFamily,
    copied: RefreshFamily,
    outcome: Outcome,
) -> None:
    fill(target, [stored])
    backup = BackupFile(tmp_path / "b.gz")
    backup.write([copied], made_at=T0)
    [step] = list(StoreCopy(backup, target).steps())
    assert step.outcome is outcome
    assert target.find(stored) == (copied if outcome is Outcome.UPDATED else stored)
