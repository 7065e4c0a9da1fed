"""The last session of each terminal, in files beside the store."""

import hashlib
import os
import sys
from pathlib import Path

from chatbot.adapters.filesystem.atomic import make_durable_folder, put
from chatbot.adapters.filesystem.files import Files
from chatbot.domain.chat import SessionId, is_session_id


class TerminalSessions:
    """Remembers the session of this terminal for the next command in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self) -> SessionId | None:
        """Returns the saved session, or None."""
        path = self._path()
        raw = path.read_bytes().decode("ascii", "replace").strip() if path.exists() else ""
        return SessionId(raw) if is_session_id(raw) else None

    def save(self, session_id: SessionId) -> None:
        """Saves the session of this terminal."""
        files = Files()
        make_durable_folder(files, self._folder)
        put(files, self._path(), session_id.encode())

    def _path(self) -> Path:
        return self._folder / hashlib.sha256(terminal_id().encode()).hexdigest()[:16]


def terminal_id() -> str:
    """Return an id that is the same for all commands started in this terminal.

    Commands without a terminal, such as cron's, share one id per account. On Windows, the parent
    process is a launcher and does not identify the terminal; all old console windows share one id.
    """
    if sys.platform == "win32":
        return os.environ.get("WT_SESSION", "console")
    try:
        return f"{os.ttyname(sys.stdin.fileno())} {os.getsid(0)}"
    except (AttributeError, OSError, ValueError):  # stdin is closed or not a terminal
        if not _has_terminal():
            return f"no terminal, account {os.getuid()}"
        return f"none {os.getsid(0)}"


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, even if stdin is redirected."""
    if sys.platform == "win32":
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True
