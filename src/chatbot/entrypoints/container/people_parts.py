"""Builds the use cases of people, roles and erasure."""

import secrets
import sys
from functools import partial

from chatbot.application.auditing import Auditing
from chatbot.application.erasure import Erasures
from chatbot.application.limit_counters import LimitChecks
from chatbot.application.people import People
from chatbot.application.roles import RoleEditor
from chatbot.application.user_passwords import UserPasswords
from chatbot.application.user_writer import UserWriter
from chatbot.domain.passwords import ONE_TIME_ALPHABET, ONE_TIME_CHARS
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.settings import Settings

GENKIT_MODEL = "chatbot.adapters.llm.genkit_model"


def one_time_password() -> str:
    """Returns 120 random bits as 24 characters that are easy to read out."""
    return "".join(secrets.choice(ONE_TIME_ALPHABET) for _ in range(ONE_TIME_CHARS))


def build_user_writer(storage: Storage, auditing: Auditing) -> UserWriter:
    return UserWriter(storage, auditing, clock=utc_now, new_id=random_id)


def build_people(
    storage: Storage, hasher: PasswordHasher, writer: UserWriter, erasures: Erasures
) -> People:
    return People(storage, hasher, writer, erasures, clock=utc_now, new_password=one_time_password)


def build_user_passwords(hasher: PasswordHasher, writer: UserWriter) -> UserPasswords:
    return UserPasswords(hasher, writer, clock=utc_now, new_password=one_time_password)


def build_roles(storage: Storage, auditing: Auditing) -> RoleEditor:
    return RoleEditor(storage, auditing, utc_now)


def build_erasures(
    settings: Settings, storage: Storage, auditing: Auditing, checks: LimitChecks | None
) -> Erasures:
    return Erasures(
        storage,
        auditing,
        key=settings.auth.raw_audit_key.encode(),
        clock=utc_now,
        new_id=random_id,
        forget=partial(_forget_texts, storage),
        erase_limits=None if checks is None else checks.erase,
    )


def _forget_texts(storage: Storage) -> None:
    """Drop the conversations that this process keeps in memory."""
    storage.forget()
    if GENKIT_MODEL in sys.modules:
        from chatbot.adapters.llm.genkit_model import forget_messages  # noqa: PLC0415 - slow

        forget_messages()
