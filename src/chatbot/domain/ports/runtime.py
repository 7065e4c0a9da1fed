"""Time, ids and randomness arrive as callables, so that tests can say what they are."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""The present moment, aware, in UTC."""

NewId = Callable[[], str]
"""A fresh unguessable id of 32 lower-case hexadecimal digits (128 bits)."""
