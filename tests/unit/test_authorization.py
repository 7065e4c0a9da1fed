"""Which permission an action needs."""

import pytest

from chatbot.domain.authorization import of_client, require
from chatbot.domain.errors import Forbidden
from chatbot.domain.identity import Client, ClientId, Principal
from chatbot.domain.permissions import Permission


def caller(*permissions: Permission) -> Principal:
    granted = frozenset(permissions)
    return of_client(Client(id=ClientId("c"), permissions=granted, user_permissions=granted))


@pytest.mark.parametrize("permission", Permission)
def test_only_the_required_permission_is_needed(permission: Permission) -> None:
    require(caller(permission), permission)
    with pytest.raises(Forbidden):
        require(caller(*(set(Permission) - {permission})), permission)


@pytest.mark.parametrize("permission", Permission)
def test_caller_without_permissions_is_refused(permission: Permission) -> None:
    with pytest.raises(Forbidden):
        require(caller(), permission)
