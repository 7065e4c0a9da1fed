"""Which permission an action needs: the one place where a use case is allowed or refused."""

from chatbot.domain.errors import Forbidden
from chatbot.domain.identity import Permission, Principal


def require(principal: Principal, permission: Permission) -> None:
    """Return if the caller has the permission.

    Raises:
        Forbidden: the caller's effective permissions lack it.
    """
    if permission not in principal.permissions:
        raise Forbidden("You are not allowed to do this.")
