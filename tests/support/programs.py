"""Programs of the system that tests run for real, and what becomes of a test without them."""

import os
import shutil
from typing import NoReturn

import pytest


def program(*names: str) -> str:
    """Where the program is, by the first of its names that is there."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return found or unavailable(f"there is no {names[0]}: `apt install {names[0]}`")


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or let it fail in CI, where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
