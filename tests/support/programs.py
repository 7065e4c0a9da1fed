"""System programs that tests run, and skipping tests where they are missing."""

import os
import shutil
from typing import NoReturn

import pytest


def program(*names: str) -> str:
    """The path of the program, found by the first of its names that exists."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return found or unavailable(f"there is no {names[0]}: `apt install {names[0]}`")


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where every program must be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
