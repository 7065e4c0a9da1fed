"""The people of docs/access.md, and their tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.application.user_changes import UserChange
from chatbot.domain.identity import User
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import random_id, utc_now
from service import ADMIN_EMAIL, API_KEY, HOST, JWT_SECRET, Service
from sign_in import signed_in

Headers = dict[str, str]
KEY = {"X-API-Key": API_KEY}
OWNER = "luis@example.com"
ONE_TIME = "new@example.com"
DISABLED, EXPIRED = "gone@example.com", "temp@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person of the company."""

    email: str
    roles: Sequence[str] = ("employee",)
    department: str = "sales"


_LEADS = ("department_admin", "employee")
STAFF: Mapping[str, Sequence[Member]] = {
    "owner": [Member(email=OWNER)],
    "colleague": [
        Member(email="eva@example.com"),
        Member(email="noa@example.com", department="legal"),
    ],
    "admin": [Member(email=ADMIN_EMAIL, roles=["admin"], department="")],
    "department admin": [Member(email="dora@example.com", roles=_LEADS)],
    "other department": [Member(email="iris@example.com", roles=_LEADS, department="legal")],
    "auditor": [Member(email="otto@example.com", roles=["auditor"])],
    "data protection": [Member(email="petra@example.com", roles=["data_protection"])],
    "one-time": [Member(email=ONE_TIME)],
    "disabled": [Member(email=DISABLED), Member(email=EXPIRED)],
}
"""By kind of caller; all people of a kind must get the same response."""


async def hire(service: Service) -> None:
    """Create all callers."""
    await service.add_admin()
    for member in (one for members in STAFF.values() for one in members):
        if member.email != ADMIN_EMAIL:
            await service.add_user(member.email, *member.roles, department=member.department)


async def signed_in_staff(service: Service, *, but: str = "") -> dict[str, list[Headers]]:
    """The headers of all callers except those of the kind `but`."""
    await _require_a_new_password(service)
    return {
        caller: [KEY | await service.bearer(member.email) for member in members]
        for caller, members in STAFF.items()
        if caller != but
    }


async def user_of(service: Service, email: str) -> User:
    user = await service.use.storage.transact(lambda tx: tx.users.by_email(email))
    assert user is not None
    return user


async def _require_a_new_password(service: Service) -> None:
    """Let the password be a one-time password, as if an administrator had made it."""
    user = await user_of(service, ONE_TIME)
    changed = replace(user, one_time_until=utc_now() + timedelta(days=7))

    def work(tx: Transaction) -> None:
        tx.users.lock()
        tx.users.replace(changed, old=user, roles=tx.roles.all())

    await service.use.storage.transact(work)


async def dismiss(service: Service) -> list[User]:
    """Disable one person and let another expire, who have signed in before."""
    gone, temp = [await user_of(service, email) for email in (DISABLED, EXPIRED)]
    await service.use.people.change(HOST, gone.id, UserChange(is_active=False))
    ended = utc_now() - timedelta(seconds=1)
    await service.use.people.change(HOST, temp.id, UserChange(expires_at=ended))
    return [gone, temp]


async def bad_tokens(service: Service) -> list[Headers]:
    """Tokens that are expired, forged, malformed, or stale: of a sign-in that was ended."""
    user = await user_of(service, OWNER)
    family_id = await signed_in(service.use.storage, user, utc_now)

    def issued(secret: str, *, hours_ago: int) -> str:
        tokens = JoseTokens(secret, ttl_s=3600, clock=utc_now)
        at = utc_now() - timedelta(hours=hours_ago)
        return tokens.issue(user, family_id=family_id, token_id=random_id(), at=at)

    good, expired, forged = (
        issued(JWT_SECRET, hours_ago=0),
        issued(JWT_SECRET, hours_ago=2),
        issued(JWT_SECRET[::-1], hours_ago=0),
    )
    answer = await service.client.get("/me", headers={"Authorization": f"Bearer {good}"})
    assert answer.status_code == 200, "the others differ only in what their names say"
    bearers = [{"Authorization": f"Bearer {token}"} for token in (expired, forged, "x")]
    return [KEY | bearer for bearer in [*bearers, *await _stale(service)]]


async def _stale(service: Service) -> list[Headers]:
    """A token whose user has logged out, and one whose user got another password."""
    logged_out = await service.bearer(OWNER)
    (await service.client.post("/auth/logout", headers=logged_out)).raise_for_status()
    user = await service.add_user("reset@example.com")
    reset = await service.bearer(user.email)
    await service.use.user_passwords.reset(HOST, user.id)
    return [logged_out, reset]
