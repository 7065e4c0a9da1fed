"""The changes to `.env` when a secret is added or replaced."""

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum

from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ENV_FILE, HOW_TO_MAKE_ONE, env_file
from chatbot.entrypoints.settings.secret_strength import random_secret
from chatbot.entrypoints.settings.subject import SettingsError

_DERIVED = ("API_KEY_PEPPER", "AUDIT_KEY")


class Secret(StrEnum):
    """A secret that can be rotated while everything made with it stays valid."""

    JWT = "jwt"
    PEPPER = "pepper"
    AUDIT = "audit"


NAMES = {
    Secret.JWT: "JWT_SECRET",
    Secret.PEPPER: "API_KEY_PEPPER",
    Secret.AUDIT: "AUDIT_KEY",
}
_WORDS = {name: secret.value for secret, name in NAMES.items()}


def missing_secrets(settings: Settings) -> Mapping[str, str]:
    """Return the secrets that are derived from JWT_SECRET, by the names of their settings.

    Once they are in `.env`, they stay the same when JWT_SECRET changes.
    """
    found: dict[str, str] = {}
    for name in _DERIVED:
        if getattr(settings.auth, name.lower()) is None:
            newest, *older = secrets_of(settings, name)
            found |= {name: newest, **_previous(name, older)}
    return found


def rotation(secret: Secret, settings: Settings, *, drop_previous: bool) -> Mapping[str, str]:
    """Return the settings after a rotation, in which the old secret only verifies.

    Raises:
        SettingsError: the secret is not in `.env`, or an older JWT_SECRET would be dropped.
    """
    name = NAMES[secret]
    pinned = missing_secrets(settings)
    _require_in_env_file(name, also=pinned)
    newest, *older = secrets_of(settings, name)
    if secret is Secret.JWT:
        if older and not drop_previous:
            raise SettingsError(
                "JWT_SECRET_PREVIOUS is set. Users who have not refreshed their tokens since that "
                f"rotation would be logged out. Fix: remove it {settings.auth.refresh_ttl_days} days "
                "after the rotation, or use --drop-previous."
            )
        older = []
    return {**pinned, name: random_secret(), **_previous(name, [newest, *older])}


def secrets_of(settings: Settings, name: str) -> tuple[str, ...]:
    """Return the secrets of a setting: the one that is used, and those that only verify."""
    auth = settings.auth
    by_name = {
        "JWT_SECRET": auth.jwt_secrets,
        "API_KEY_PEPPER": auth.api_key_peppers,
        "AUDIT_KEY": auth.audit_keys,
    }
    return by_name[name]


def _previous(name: str, secrets: list[str]) -> Mapping[str, str]:
    return {f"{name}_PREVIOUS": ",".join(secrets)} if secrets else {}


def _require_in_env_file(name: str, *, also: Iterable[str]) -> None:
    """Check that these settings are, or would be, in `.env` alone.

    Raises:
        SettingsError: one comes from elsewhere; the message says how to rotate by hand.
    """
    place = next(filter(None, (_elsewhere(each) for each in (name, f"{name}_PREVIOUS", *also))), "")
    if not ENV_FILE.exists():
        place = "There is no .env here."
    if not place:
        return
    pin = "".join(
        f"set {each} to what `chatbot secrets show {_WORDS[each]}` prints; "
        for each in also
        if each in _WORDS and each != name
    )
    raise SettingsError(
        f"{name}: {place} Only .env can be changed by this command. Fix: where it is set, {pin}set "
        f"{name}_PREVIOUS to the value of {name}, and {name} to a new one; {HOW_TO_MAKE_ONE}"
    )


def _elsewhere(name: str) -> str | None:
    """Return a sentence if the setting does not come from `.env`.

    An empty variable of the environment, too, takes the place of what is in `.env`.
    """
    environment = {each.upper(): value for each, value in os.environ.items()}
    if environment.get(f"{name}_FILE") or env_file().get(f"{name}_FILE".lower()):
        return f"{name}_FILE is set."
    return f"{name} is set in the environment." if name in environment else None
