"""Which permission an action needs."""

import pytest

from chatbot.domain.authorization import require
from chatbot.domain.errors import Forbidden
from chatbot.domain.identity import Client, ClientId, Permission, Principal, of_client


def caller(*permissions: Permission) -> Principal:
    return of_client(Client(id=ClientId("c"), permissions=frozenset(permissions)))


@pytest.mark.parametrize("permission", Permission)
def test_only_the_required_permission_is_needed(permission: Permission) -> None:
    require(caller(permission), permission)
    with pytest.raises(Forbidden):
        require(caller(*(set(Permission) - {permission})), permission)


@pytest.mark.parametrize("permission", Permission)
def test_caller_without_permissions_is_refused(permission: Permission) -> None:
    with pytest.raises(Forbidden):
        require(caller(), permission)
