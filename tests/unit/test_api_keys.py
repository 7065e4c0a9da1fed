"""The API key of the settings."""

import secrets

import pytest

from chatbot.adapters.security.api_keys import identify_by_setting
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission

KEY = secrets.token_urlsafe(32)


def test_the_key_of_the_settings_is_the_client_default() -> None:
    client = identify_by_setting(KEY)(KEY)
    assert client is not None
    assert client.id == "default"
    assert client.permissions == {Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ}
    assert client.user_permissions == ROLE_PERMISSIONS


@pytest.mark.parametrize("raw_key", ["", " ", KEY + " ", KEY[:-1], KEY.swapcase(), "ñ", "\ud800"])
def test_unknown_key_belongs_to_no_client(raw_key: str) -> None:
    assert identify_by_setting(KEY)(raw_key) is None


def test_the_key_is_not_kept() -> None:
    identify = identify_by_setting(KEY)
    kept = [cell.cell_contents for cell in getattr(identify, "__closure__", ())]
    assert len(kept) == 2
    assert KEY not in repr((identify, vars(identify), kept))
    assert KEY.encode() not in kept
