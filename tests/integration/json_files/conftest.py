"""The folder of a store, of its sample owner, and the log of its sample session."""

from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.paths import folder_name
from json_store import ANA, ONE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "memory" / folder_name(ANA)


@pytest.fixture
def log(folder: Path) -> Path:
    return folder / f"{ONE}.log"
