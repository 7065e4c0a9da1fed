"""What the commands of several modules share."""

import structlog

from chatbot.entrypoints import logs
from chatbot.entrypoints.settings import Settings, ignored_names, load_settings
from chatbot.entrypoints.storage_url import StorageKind

logger = structlog.get_logger("chatbot.settings")


class Refused(Exception):
    """The command will not do it; the message says why."""


def command_settings(**given: object) -> Settings:
    """Read the settings, `given` ones first, and configure the log by them.

    Raises:
        SettingsError: something is missing or wrong.
    """
    settings = load_settings(**given)
    logs.configure(settings.log_level, settings.log_format, with_pid=settings.workers > 1)
    for line in ignored_names():
        logger.warning(line)
    return settings


def lasting(settings: Settings) -> Settings:
    """Return the settings if what a command writes stays.

    Raises:
        Refused: the store is the memory of a process.
    """
    if settings.storage_url.kind is StorageKind.MEMORY:
        raise Refused("STORAGE_URL=memory: forgets what a command writes. Use json:DIR.")
    return settings
