"""Shared by all commands: output and settings."""

import getpass
import os
import sys

import structlog
import typer

from chatbot.domain.authorization import of_host
from chatbot.domain.identity import Principal
from chatbot.domain.text import visible
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ignored_names, load_settings

logger = structlog.get_logger("chatbot.settings")


def host_principal() -> Principal:
    """Returns the caller of a command: the account of the host that runs it."""
    return of_host(_account())


def _account() -> str:
    """Returns the name of the account, ignoring the environment variables that claim it."""
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd  # noqa: PLC0415 # POSIX only

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a user id without a name
        return str(os.getuid())


class Refused(Exception):
    """The command refuses to run; the message says why."""


def say(text: str, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr; untrusted text in it cannot control the terminal."""
    typer.echo(visible(text), err=err)


def write(text: str) -> None:
    """Print part of a line on stdout, like `say`, and flush it."""
    sys.stdout.write(visible(text))
    sys.stdout.flush()


def command_settings(**given: object) -> Settings:
    """Read the settings, with `given` taking precedence, and configure logging.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    settings = load_settings(**given)
    logging_setup.configure(
        settings.log.level, settings.log.format, with_pid=settings.http.workers > 1
    )
    for line in ignored_names():
        logger.warning(line)
    return settings


def persistent(settings: Settings) -> Settings:
    """Returns the settings if the store is persistent.

    Raises:
        Refused: the store is process memory, so anything that a command writes would be lost.
    """
    if not settings.storage.url.is_persistent:
        raise Refused("STORAGE_URL=memory: would lose what the command writes. Use json:DIR.")
    return settings
