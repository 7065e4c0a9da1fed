"""What the commands share: output, and the settings that they run on."""

import sys

import structlog
import typer

from chatbot.domain.text import visible
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ignored_names, load_settings

logger = structlog.get_logger("chatbot.settings")


class Refused(Exception):
    """The command refuses to run; the message says why."""


def say(text: str, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr; untrusted text in it cannot control the terminal."""
    typer.echo(visible(text), err=err)


def write(text: str) -> None:
    """Print part of a line on stdout, as `say`, and flush it."""
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
        Refused: the store is process memory, so that a command would write in vain.
    """
    if not settings.storage.url.is_persistent:
        raise Refused("STORAGE_URL=memory: would lose what the command writes. Use json:DIR.")
    return settings
