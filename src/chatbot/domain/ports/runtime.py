"""Time and ids are injected as callables, so that tests can control them."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the current time, aware, in UTC."""

NewId = Callable[[], str]
"""Returns a new unguessable id of 32 lower-case hexadecimal digits (128 bits)."""
