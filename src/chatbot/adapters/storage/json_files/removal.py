"""Removes the files of a session, so that an interrupted removal is completed by the next one.

A deletion first moves the log into the work folder under a marker name: from then on the session is
gone. The other files follow, the marker last. If the process dies in between, the marker is still
there, and the owner's next new session or deletion completes the removal.
"""

from dataclasses import replace

from chatbot.adapters.filesystem.atomic import exists, make_durable_folder
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.places import DELETED, Place
from chatbot.domain.chat import SessionId, is_session_id


def delete_files(files: Files, place: Place) -> None:
    """Delete a session, damaged or not.

    Raises:
        FileNotFoundError: the session does not exist.
    """
    make_durable_folder(files, place.work)
    files.replace(place.log, place.deleted)
    files.fsync_folder(place.work)
    files.fsync_folder(place.folder)
    finish_deletions(files, place)


def finish_deletions(files: Files, near: Place) -> None:
    """Remove the remains of all deleted sessions in this folder."""
    for name in files.listdir(near.work) if exists(files, near.work) else []:
        session_id = name.removesuffix(DELETED)
        if name.endswith(DELETED) and is_session_id(session_id):
            place = replace(near, session_id=SessionId(session_id))
            remove_rest(files, place)
            files.remove_locked(place.lock)
            files.fsync_folder(place.folder)
            files.remove(place.deleted)


def remove_rest(files: Files, place: Place) -> None:
    """Remove a session's head and its unfinished and set-aside files; everything except the log."""
    files.remove(place.head)
    for name in files.listdir(place.work) if exists(files, place.work) else []:
        if name.startswith(f"{place.session_id}.") and not name.endswith(DELETED):
            files.remove(place.work / name)
