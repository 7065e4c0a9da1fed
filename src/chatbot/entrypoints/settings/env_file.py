"""Changes settings in `.env`, and leaves every other line unchanged."""

import codecs
import io
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from chatbot.domain.text import decode_utf8
from chatbot.entrypoints.settings.subject import SettingsError

_UP_TO_VALUE = re.compile(r"\s*(?:export[^\S\r\n]+)?[^=]*=")
_SAFE = re.compile(r"[A-Za-z0-9_.~+/=,-]+")


def change(path: Path, changes: Mapping[str, str]) -> None:
    """Set these settings in the file, with mode 0600: all of them, or none if the process is killed.

    Raises:
        SettingsError: the file cannot be replaced, or would not be read as intended.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    try:
        raw = path.read_bytes()
        text = changed(decode_utf8(raw), changes)
        mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
        _replace(path, mark + text.encode(), as_read=raw)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be changed ({error.strerror}).") from error


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Return the text of `.env` with these settings, replaced in place or appended.

    Raises:
        SettingsError: the result would not be read as intended.
    """
    missing = dict(changes)
    parts = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        name = _name(binding)
        if name in changes:
            missing.pop(name, None)
            parts.append(_with_value(binding, changes[name]))
        else:
            parts.append(binding.original.string)
    line_end = "\r\n" if "\r\n" in text else "\n"
    found = "".join(parts)
    if missing and found and not found.endswith(("\r", "\n")):
        found += line_end
    found += "".join(f"{name}={_quoted(value)}{line_end}" for name, value in missing.items())
    if _values(found) != _values(text) | {name.lower(): changes[name] for name in changes}:
        raise SettingsError(
            ".env: a secret cannot be added without changing how other lines are read: an open "
            "quotation mark, or a secret with ${...}. Fix: write it there by hand."
        )
    return found


def _name(binding: Binding) -> str:
    return (binding.key or "").upper()


def _with_value(binding: Binding, value: str) -> str:
    line = binding.original.string
    before = _UP_TO_VALUE.match(line) if binding.value is not None else None
    name = before[0] if before else f"{binding.key}="
    end = line[len(line.rstrip("\r\n")) :]
    return f"{name}{_quoted(value)}{end}"


def _quoted(value: str) -> str:
    if _SAFE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _values(text: str) -> dict[str, str | None]:
    return {name.lower(): value for name, value in dotenv_values(stream=io.StringIO(text)).items()}


def _replace(path: Path, content: bytes, *, as_read: bytes) -> None:
    status = path.stat()
    new = path.with_name(f"{path.name}.new")
    handle = _create(new)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            _give_rights(handle, status)
            os.fsync(handle)
        _require(path, as_read)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _require(path: Path, as_read: bytes) -> None:
    if path.read_bytes() != as_read:
        raise SettingsError(f"{path}: was changed in the meantime. Try again.")


def _create(new: Path) -> int:
    """Create the file that is to replace another; it also keeps other commands from doing the same."""
    try:
        return os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(
            f"{new} exists: another command is changing the file, or was killed. Fix: if none is "
            "running, delete it."
        ) from None


def _give_rights(handle: int, old: os.stat_result) -> None:
    """Keep the owner. Mode 0600, or 0640 for a service that reads it by its group alone."""
    if sys.platform == "win32":
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(handle, old.st_uid, old.st_gid)
    is_for_group = bool(old.st_mode & stat.S_IRGRP) and not old.st_mode & stat.S_IRWXO
    os.fchmod(handle, 0o640 if is_for_group else 0o600)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
