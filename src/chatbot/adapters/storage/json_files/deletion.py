"""Removes the files of a session, so that the next deletion completes one that was interrupted.

A deletion first moves the log into the work folder under a marker name: from then on the session is
gone. The other files follow, the marker last. If the process dies in between, the marker is still
there, and the owner's next new session or deletion completes the removal.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chatbot.adapters.filesystem.atomic import WORK, exists, make_durable_folder
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.paths import DELETED, SessionPaths
from chatbot.domain.chat import SessionId, is_session_id

Forget = Callable[[SessionPaths], None]
"""Removes the other files of a session whose log has just been removed."""


def delete_files(files: Files, paths: SessionPaths, forget: Forget) -> None:
    """Delete a session, damaged or not.

    Raises:
        FileNotFoundError: the session does not exist.
    """
    make_durable_folder(files, paths.work)
    files.replace(paths.log, paths.deleted)
    files.fsync_folder(paths.work)
    files.fsync_folder(paths.folder)
    finish_deletions(files, paths, forget)


def finish_deletions(files: Files, near: SessionPaths, forget: Forget) -> None:
    """Remove the remains of all deleted sessions in this folder."""
    for name in files.listdir(near.work) if exists(files, near.work) else []:
        session_id = name.removesuffix(DELETED)
        if name.endswith(DELETED) and is_session_id(session_id):
            paths = replace(near, session_id=SessionId(session_id))
            remove_rest(files, paths)
            forget(paths)
            files.remove_locked(paths.lock)
            files.fsync_folder(paths.folder)
            files.remove(paths.deleted)


def remove_leftovers(files: Files, folder: Path) -> None:
    """Remove all files of an owner who has no sessions, such as unfinished ones."""
    for each in (folder / WORK, folder):
        for name in files.listdir(each) if exists(files, each) else []:
            if not files.status_of(each / name).is_folder:
                files.remove(each / name)
                files.fsync_folder(each)


def remove_rest(files: Files, paths: SessionPaths) -> None:
    """Remove the session's memory, fields, unfinished and quarantined files: all except the log."""
    files.remove(paths.memory)
    files.remove(paths.fields)
    remove_work(files, paths)


def remove_work(files: Files, paths: SessionPaths) -> None:
    """Remove the session's unfinished and quarantined files."""
    for name in files.listdir(paths.work) if exists(files, paths.work) else []:
        if name.startswith(f"{paths.session_id}.") and not name.endswith(DELETED):
            files.remove(paths.work / name)
