"""Log-in, and who is calling."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from argon2.low_level import Type, verify_secret

from chatbot.adapters.security import argon2_hasher
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.argon2_parameters import Argon2Parameters
from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import authentication
from chatbot.application.authentication import Authentication
from chatbot.application.token_pairs import TokenPair
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import (
    ChatbotError,
    InvalidCredentials,
    InvalidToken,
    RateLimited,
    ShuttingDown,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.identity import Client, ClientId, User, UserId
from chatbot.domain.permissions import DEFAULT_ROLES, Permission
from chatbot.domain.repositories.users import USERS
from chatbot.domain.sign_in import RefreshFamily
from chatbot.domain.throttling import account_throttle, address_throttle
from sign_in import audit_queue, auditing, calling_from, signed_in, token_pairs

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PASSWORD = "el niño comió piñones"
CHEAP = Argon2Parameters(memory_kib=64, time_cost=2, parallelism=1)
WEAKER = Argon2Parameters(memory_kib=64, time_cost=1, parallelism=1)
ALL = frozenset(Permission)
CHAT = frozenset({Permission.CHAT})
CALLER = of_client(Client(id=ClientId("default"), permissions=CHAT, user_permissions=CHAT))
EVERYTHING = of_client(Client(id=ClientId("all"), permissions=ALL, user_permissions=ALL))


class Service:
    """The use case with real adapters, and the parts that tests inspect."""

    def __init__(self) -> None:
        self.storage = InMemoryStorage()
        self.hasher = Argon2Hasher(CHEAP, below_minimum_for_tests=True)
        self.tokens = JoseTokens("s" * 32, ttl_s=60, clock=lambda: NOW)
        self.now = NOW
        self.pairs = token_pairs(self.storage, self.tokens, clock=lambda: self.now)
        self.authentication = self.another_process()

    def another_process(self, *, processes: int = 1) -> Authentication:
        return Authentication(
            self.storage,
            self.hasher,
            self.tokens,
            self.pairs,
            auditing(clock=lambda: self.now),
            queue=audit_queue(self.storage, clock=lambda: self.now),
            clock=lambda: self.now,
            processes=processes,
        )

    async def login(self, email: str, password: str, *, client_ip: str = "192.0.2.1") -> TokenPair:
        return await self.authentication.login(calling_from(client_ip), email, password)

    async def add(self, email: str, password_hash: str, *, is_active: bool = True) -> User:
        user = User(
            id=UserId(email.partition("@")[0]),
            email=email,
            password_hash=password_hash,
            roles=("employee",),
            department="Ventas",
            created_at=NOW,
            is_active=is_active,
            token_version=7,
        )
        await self.storage.transact(lambda tx: tx.users.add(user))
        return user

    async def stored(self, user: User) -> User:
        found = await self.storage.transact(lambda tx: tx.users.by_id(user.id))
        assert found is not None
        return found

    def replace(self, user: User) -> None:
        """Replace the stored user, as a manual edit does."""
        self.remove(user)
        self.storage._transaction.users._records.put(USERS, user, expected=None)

    def remove(self, user: User) -> None:
        self.storage._transaction.users._records.remove(USERS, user.id)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    yield made
    await made.hasher.aclose()


@pytest.fixture
async def ana(service: Service) -> User:
    return await service.add("ana@acme.es", await service.hasher.hash(PASSWORD))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The parameters of every Argon2 check that is computed."""
    parameters: list[bytes] = []

    def noting(stored: bytes, secret: bytes, variant: Type) -> bool:
        parameters.append(stored.rsplit(b"$", 2)[0])
        return verify_secret(stored, secret, variant)

    monkeypatch.setattr(argon2_hasher, "verify_secret", noting)
    return parameters


async def refusal(
    service: Service, email: str, password: str, *, client_ip: str = "192.0.2.1"
) -> str:
    with pytest.raises(InvalidCredentials) as refused:
        await service.login(email, password, client_ip=client_ip)
    return str(refused.value)


async def test_the_right_password_gives_a_token_for_the_user(service: Service, ana: User) -> None:
    token = await service.login(" Ana@ACME.es", PASSWORD)
    assert token.expires_in == 60
    claims = service.tokens.read(token.access_token)
    assert (claims.user_id, claims.token_stamp) == (ana.id, ana.token_stamp)


async def test_a_token_does_not_show_in_a_repr() -> None:
    pair = TokenPair(access_token="raw", expires_in=1, refresh_token="raw", refresh_expires_in=1)
    assert "raw" not in repr(pair)


async def test_a_password_typed_with_combining_accents_is_the_same(
    service: Service, ana: User
) -> None:
    await service.login(ana.email, unicodedata.normalize("NFD", PASSWORD))


async def test_unknown_disabled_and_wrong_password_get_the_same_response_for_the_same_work(
    service: Service, ana: User, computed: list[bytes]
) -> None:
    await service.add("off@acme.es", ana.password_hash, is_active=False)
    answers = set()
    for email in (ana.email, "off@acme.es", "nobody@acme.es", "no address", ""):
        answers.add(await refusal(service, email, "wrong"))
    answers.add(await refusal(service, "off@acme.es", PASSWORD))
    assert answers == {"The e-mail address or the password is wrong."}
    assert computed == [b"$argon2id$v=19$m=64,t=2,p=1"] * 6


@pytest.mark.parametrize("password", ["x" * 129, "x" * 10**6, "\ud800", "e" + "\u0301" * 600])
async def test_impossible_password_is_wrong_for_every_account_and_not_hashed(
    service: Service, ana: User, computed: list[bytes], password: str
) -> None:
    answers = {await refusal(service, e, password) for e in (ana.email, "nobody@acme.es")}
    assert answers == {await refusal(service, ana.email, "wrong")}
    assert len(computed) == 1


async def test_login_costs_the_same_work_for_every_account(
    service: Service, ana: User, computed: list[bytes]
) -> None:
    """Including accounts that have not logged in since startup: older, costlier hash, disabled."""
    dear = Argon2Hasher(
        Argon2Parameters(memory_kib=128, time_cost=3, parallelism=4), below_minimum_for_tests=True
    )
    old = await service.add("old@acme.es", await dear.hash(PASSWORD))
    await service.add("off@acme.es", old.password_hash, is_active=False)
    await dear.aclose()
    works = []
    for email in ("nobody@acme.es", "off@acme.es", ana.email, old.email):
        computed.clear()
        await refusal(service, email, "wrong")
        works.append(list(computed))
    assert works == [works[0]] * 4
    assert sorted(works[0]) == [b"$argon2id$v=19$m=128,t=3,p=4", b"$argon2id$v=19$m=64,t=2,p=1"]


async def test_existing_password_that_has_become_common_still_logs_in(service: Service) -> None:
    user = await service.add("old@acme.es", await service.hasher.hash("password"))
    await service.login(user.email, "password")


async def test_a_user_without_a_readable_hash_cannot_log_in(service: Service) -> None:
    user = await service.add("made@up.es", "not a hash")
    for password in ("", "not a hash"):
        await refusal(service, user.email, password)


async def weak_hash() -> str:
    weaker = Argon2Hasher(WEAKER, below_minimum_for_tests=True)
    password_hash = await weaker.hash(PASSWORD)
    await weaker.aclose()
    return password_hash


async def test_a_weaker_hash_is_replaced_at_login(service: Service) -> None:
    user = await service.add("eva@acme.es", await weak_hash())
    await service.login(user.email, PASSWORD)
    stored = await service.stored(user)
    assert stored.password_hash.startswith("$argon2id$v=19$m=64,t=2,p=1$")
    assert stored == replace(user, password_hash=stored.password_hash, token_version=8)
    await service.login(user.email, PASSWORD)
    assert await service.stored(user) == stored


async def test_token_of_a_login_that_replaced_the_hash_is_valid(service: Service) -> None:
    user = await service.add("eva@acme.es", await weak_hash())
    tokens = await asyncio.gather(*(service.login(user.email, PASSWORD) for _ in range(3)))
    for token in tokens:
        principal = await service.authentication.identify(CALLER, token.access_token)
        assert principal.user is not None


async def test_a_wrong_password_replaces_nothing(service: Service) -> None:
    user = await service.add("eva@acme.es", await weak_hash())
    await refusal(service, user.email, "wrong")
    assert await service.stored(user) == user


async def test_a_stronger_hash_is_never_replaced(service: Service) -> None:
    stronger = Argon2Hasher(
        Argon2Parameters(memory_kib=128, time_cost=2, parallelism=1), below_minimum_for_tests=True
    )
    user = await service.add("eva@acme.es", await stronger.hash(PASSWORD))
    await stronger.aclose()
    await service.login(user.email, PASSWORD)
    assert await service.stored(user) == user


@pytest.mark.parametrize(
    "failure", [RateLimited("x", retry_after_s=1), StorageFull("x"), StorageUnavailable("x")]
)
async def test_a_login_does_not_fail_because_its_hash_could_not_be_replaced(
    service: Service, monkeypatch: pytest.MonkeyPatch, failure: ChatbotError
) -> None:
    user = await service.add("eva@acme.es", await weak_hash())

    async def fail(password: str) -> str:
        raise failure

    monkeypatch.setattr(service.hasher, "hash", fail)
    await service.login(user.email, PASSWORD)
    assert await service.stored(user) == user


async def test_a_login_during_shutdown_is_refused_with_the_reason(
    service: Service, ana: User
) -> None:
    await service.hasher.aclose()
    with pytest.raises(ShuttingDown):
        await service.login(ana.email, PASSWORD)


async def token_of(service: Service, user: User) -> str:
    return (await service.login(user.email, PASSWORD)).access_token


async def test_without_a_token_the_client_calls_for_itself(service: Service) -> None:
    principal = await service.authentication.identify(CALLER, None)
    assert (principal.user, principal.permissions) == (None, CALLER.permissions)
    assert principal.owner.kind == "client"


async def test_with_a_token_the_user_calls_with_the_rights_that_both_have(
    service: Service, ana: User
) -> None:
    token = await token_of(service, ana)
    principal = await service.authentication.identify(CALLER, token)
    assert principal.user == ana
    assert principal.permissions == {Permission.CHAT}
    principal = await service.authentication.identify(EVERYTHING, token)
    assert principal.permissions == DEFAULT_ROLES["employee"].permissions


async def test_rights_come_from_storage_and_never_from_the_token(
    service: Service, ana: User
) -> None:
    family_id = await signed_in(service.storage, ana, lambda: NOW)
    lying = replace(ana, roles=("admin",), department="Dirección")
    token = service.tokens.issue(lying, family_id=family_id, token_id="1", at=NOW)
    principal = await service.authentication.identify(EVERYTHING, token)
    assert Permission.USERS_MANAGE not in principal.permissions
    assert principal.user == ana


@pytest.mark.parametrize(
    "change",
    ["removed", "disabled", "password", "version raised", "version lowered", "garbage", "empty"],
)
async def test_every_invalid_token_gets_the_same_error(
    service: Service, ana: User, change: str
) -> None:
    token = await token_of(service, ana)
    await service.authentication.identify(CALLER, token)
    match change:
        case "removed":
            service.remove(ana)
        case "disabled":
            service.replace(replace(ana, is_active=False))
        case "password":
            service.replace(replace(ana, password_hash=f"{ana.password_hash}x"))
        case "version raised":
            service.replace(replace(ana, token_version=8))
        case "version lowered":
            service.replace(replace(ana, token_version=6))
        case _:
            token = "garbage" if change == "garbage" else ""
    with pytest.raises(InvalidToken) as refused:
        await service.authentication.identify(CALLER, token)
    assert str(refused.value) == "The token is invalid or has expired: log in again."


WAIT = "Too many failed log-ins. Try again later."


async def throttled(service: Service, email: str, password: str = PASSWORD) -> float:
    """Seconds until the next attempt."""
    with pytest.raises(RateLimited, match=WAIT) as refused:
        await service.login(email, password, client_ip="192.0.2.1")
    return refused.value.retry_after_s


async def guess(service: Service, email: str, times: int) -> None:
    for _ in range(times):
        await refusal(service, email, "wrong")


@pytest.mark.parametrize("who", ["known", "unknown", "disabled", "no address"])
async def test_sixth_attempt_after_five_failures_waits_for_every_account(
    service: Service, ana: User, computed: list[bytes], who: str
) -> None:
    await service.add("off@acme.es", ana.password_hash, is_active=False)
    email = {"known": ana.email, "disabled": "off@acme.es", "unknown": "x@acme.es"}.get(who, who)
    await guess(service, email, 5)
    assert await throttled(service, email) == 30
    assert await throttled(service, f" {email.upper()} ", "wrong") == 30
    assert len(computed) == 5, "what is throttled is not hashed"


async def test_correct_password_logs_in_after_the_wait_and_throttled_attempts_are_not_counted(
    service: Service, ana: User
) -> None:
    await guess(service, ana.email, 5)
    for second in range(30):
        service.now = NOW + timedelta(seconds=second)
        assert await throttled(service, ana.email) == 30 - second
    service.now = NOW + timedelta(seconds=30)
    await service.login(ana.email, PASSWORD)


async def test_each_further_failure_doubles_the_wait(service: Service, ana: User) -> None:
    await guess(service, ana.email, 5)
    for wait in (30, 60, 120, 240):
        assert await throttled(service, ana.email) == wait
        service.now += timedelta(seconds=wait)
        await guess(service, ana.email, 1)
    assert await throttled(service, ana.email) == 300


async def test_success_clears_the_account(service: Service, ana: User) -> None:
    for _ in range(3):
        await guess(service, ana.email, 4)
        await service.login(ana.email, PASSWORD)


async def test_counter_keys_cannot_be_made_to_collide(service: Service, ana: User) -> None:
    await guess(service, ana.email, 1)
    tables = service.storage._transaction.counters._tables  # type: ignore[attr-defined] # what is stored
    kept = set(tables["attempts"].amounts)
    assert len(kept) == 2
    assert not kept & {account_throttle(ana.email).key, address_throttle("192.0.2.1").key}


async def test_other_accounts_do_not_wait(service: Service, ana: User) -> None:
    await guess(service, "nobody@acme.es", 5)
    await service.login(ana.email, PASSWORD)


async def test_successes_do_not_count_for_an_account_or_its_address(
    service: Service, ana: User
) -> None:
    for _ in range(60):
        await service.login(ana.email, PASSWORD)


async def test_concurrent_correct_passwords_do_not_count_as_guesses(
    service: Service, ana: User
) -> None:
    await asyncio.gather(*(service.login(ana.email, PASSWORD) for _ in range(20)))


@pytest.mark.parametrize("processes", [1, 4])
async def test_concurrent_correct_passwords_of_many_users_do_not_count_as_guesses(
    service: Service, ana: User, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    each = [service.another_process(processes=processes) for _ in range(processes)]
    everybody = [await service.add(f"user{n}@acme.es", ana.password_hash) for n in range(120)]

    async def verify(password: str, password_hash: str | None) -> bool:
        await asyncio.sleep(0)  # the others come meanwhile
        return True

    monkeypatch.setattr(service.hasher, "verify", verify)
    await asyncio.gather(
        *(
            each[number % processes].login(CALLER, user.email, PASSWORD)
            for number, user in enumerate(everybody)
        )
    )


async def test_of_fifty_concurrent_guesses_five_are_hashed(
    service: Service, ana: User, computed: list[bytes]
) -> None:
    guesses = (service.login(ana.email, f"wrong {n}") for n in range(50))
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(answer, InvalidCredentials) for answer in answers) == 5
    assert sum(isinstance(answer, RateLimited) for answer in answers) == 45
    assert len(computed) == 5


async def test_queued_login_that_times_out_gets_a_retry_after(
    service: Service, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "TURN_WAIT_S", 0.01)
    is_checking, may_end = asyncio.Event(), asyncio.Event()

    async def verify(password: str, password_hash: str | None) -> bool:
        is_checking.set()
        await may_end.wait()
        return True

    monkeypatch.setattr(service.hasher, "verify", verify)
    first = asyncio.create_task(service.login(ana.email, PASSWORD))
    await is_checking.wait()
    with pytest.raises(RateLimited, match="at once"):
        await service.login(ana.email, PASSWORD)
    may_end.set()
    await first
    await service.login(ana.email, PASSWORD)


async def test_fifty_failures_from_an_address_make_it_wait_but_no_other(
    service: Service, ana: User, computed: list[bytes]
) -> None:
    for n in range(50):
        await refusal(service, f"user{n}@acme.es", "wrong")
    assert await throttled(service, ana.email) == 30
    assert len(computed) == 50
    await service.login(ana.email, PASSWORD, client_ip="192.0.2.2")
    assert await throttled(service, ana.email) == 30
    service.now += timedelta(seconds=30)
    await service.login(ana.email, PASSWORD)
    await refusal(service, "one.more@acme.es", "wrong")
    assert await throttled(service, ana.email) == 60, "a success takes only itself back"


async def test_account_throttling_does_not_count_against_the_address(
    service: Service, ana: User
) -> None:
    await guess(service, ana.email, 5)
    for _ in range(50):
        await throttled(service, ana.email)
    await refusal(service, "nobody@acme.es", "wrong")


@pytest.mark.parametrize("failure", [RateLimited("x", retry_after_s=1), ShuttingDown("x")])
async def test_password_that_was_not_checked_does_not_count(
    service: Service, ana: User, monkeypatch: pytest.MonkeyPatch, failure: ChatbotError
) -> None:
    async def refuse(password: str, password_hash: str | None) -> bool:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(service.hasher, "verify", refuse)
        for _ in range(60):
            with pytest.raises(type(failure), match="x"):
                await service.login(ana.email, PASSWORD)
    await guess(service, ana.email, 5)


async def test_impossible_password_does_not_count_as_an_attempt(
    service: Service, ana: User
) -> None:
    for _ in range(60):
        await refusal(service, ana.email, "x" * 129)
    await service.login(ana.email, PASSWORD)


async def test_no_sign_in_without_room_for_it(
    service: Service, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(family: RefreshFamily) -> None:
        raise StorageFull("full")

    monkeypatch.setattr(service.storage._transaction.refresh_families, "add", fail)
    with pytest.raises(StorageFull):
        await service.login(ana.email, PASSWORD)
