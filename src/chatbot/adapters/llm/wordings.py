"""The patterns of `wordings.toml`: how providers phrase errors and finish reasons."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

Table = Literal[
    "prompt_too_long",
    "prompt_filtered",
    "parameter",
    "finish_stop",
    "finish_failed",
    "finish_blocked",
    "finish_length",
]


@cache
def wording(table: Table, key: str) -> re.Pattern[str]:
    """One pattern for everything that a table lists under a key."""
    tables = tomllib.loads(files(__package__).joinpath("wordings.toml").read_text("utf-8"))
    return re.compile("|".join(tables[table][key]), re.IGNORECASE)
