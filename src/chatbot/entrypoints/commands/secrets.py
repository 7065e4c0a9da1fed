"""`chatbot secrets`: rotates secrets in `.env`; tokens, keys and events of the old ones stay valid."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer

from chatbot.domain.audit import Action, AuditEvent
from chatbot.entrypoints.commands.command_line import (
    command_settings,
    host_principal,
    persistent,
    say,
)
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.env_file import change
from chatbot.entrypoints.settings.loading import ENV_FILE
from chatbot.entrypoints.settings.rotation import NAMES, Secret, rotation, secrets_of

secrets = typer.Typer(help="Rotate the secrets in .env.", no_args_is_help=True)

Which = Annotated[
    Secret, typer.Argument(metavar="jwt|pepper|audit", help="The secret.", show_default=False)
]
_KEPT_FOR = {
    Secret.JWT: "Delete JWT_SECRET_PREVIOUS from .env {days} days from now.",
    Secret.PEPPER: "Keep API_KEY_PEPPER_PREVIOUS until all API keys have been replaced.",
    Secret.AUDIT: "Keep AUDIT_KEY_PREVIOUS for as long as you keep the audit: it verifies older events.",
}


@secrets.command()
def rotate(
    secret: Which,
    *,
    drop_previous: Annotated[
        bool,
        typer.Option(
            "--drop-previous",
            help="For jwt: replace JWT_SECRET_PREVIOUS if it is set. This logs some users out.",
        ),
    ] = False,
) -> None:
    """Replace a secret and keep the old one for verification.

    The old secret still verifies the tokens, API keys or events that were made with it. The
    service uses the new secret after a restart.
    """
    settings = persistent(command_settings())
    changes = rotation(secret, settings, drop_previous=drop_previous)
    asyncio.run(_rotate(settings, secret, changes))
    say(f"replaced {NAMES[secret]} in {ENV_FILE.absolute()}")
    say(f"Restart the service. {_KEPT_FOR[secret].format(days=settings.auth.refresh_ttl_days)}")


async def _rotate(settings: Settings, secret: Secret, changes: Mapping[str, str]) -> None:
    from chatbot.entrypoints.lifecycle import recorded_change  # noqa: PLC0415 - slow

    event = AuditEvent(action=Action.SECRET_ROTATE, object_type="secret", object_id=secret)
    async with recorded_change(settings, host_principal(), event):
        change(ENV_FILE, changes)


@secrets.command()
def show(secret: Which) -> None:
    """Print the current value of a secret.

    Use it to set the secret where it does not come from .env.
    """
    say(secrets_of(command_settings(), NAMES[secret])[0])
