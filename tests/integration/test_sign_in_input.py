"""Bad input of every kind for refresh and log-out, and `REQUIRE_USER`."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from access_table import CALLS
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.domain.errors import StorageFull
from chatbot.domain.identity import FamilyId
from service import JWT_SECRET, PASSWORD, Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMAIL = "luis@example.com"
TOKENS = HmacRefreshTokens(JWT_SECRET)
Pair = dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncGenerator[Service]:
    async with serving() as made:
        await made.add_user(EMAIL)
        yield made


async def log_in(service: Service) -> Pair:
    body = {"email": EMAIL, "password": PASSWORD}
    answer = await service.client.post("/auth/login", json=body)
    found: Pair = answer.raise_for_status().json()
    return found


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout"])
@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        "x",
        "." * 10_000,
        "0" * 32 + ".1." + "A" * 43,
        TOKENS.issue(FamilyId("0" * 32), 1).upper(),
        TOKENS.issue(FamilyId("0" * 32), 1) + "\n",
        HmacRefreshTokens("x" * 40).issue(FamilyId("0" * 32), 1),
        "\u202e\u0661",
    ],
)
async def test_text_that_is_no_token_of_ours_is_invalid(
    service: Service, path: str, token: str
) -> None:
    answer = await service.client.post(path, json={"refresh_token": token})
    assert code_of(answer) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_token_of_a_sign_in_that_is_not_stored_is_invalid(service: Service) -> None:
    body = {"refresh_token": TOKENS.issue(FamilyId("0" * 32), 1)}
    answer = await service.client.post("/auth/refresh", json=body)
    assert code_of(answer) == (401, "invalid_token")
    answer = await service.client.post("/auth/logout", json=body)
    assert answer.json() == {"logged_out": True}, "it is what the caller wants"


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout"])
@pytest.mark.parametrize(
    "body",
    [
        {"refresh_token": 1},
        {"refresh_token": True},
        {"refresh_token": ["x"]},
        {"refresh_token": {"a": "x"}},
        {"refresh_token": "x", "extra": "canary"},
        {"refreshToken": "canary"},
        [],
        "canary",
    ],
)
async def test_body_of_another_form_is_refused_and_not_repeated(
    service: Service, path: str, body: object
) -> None:
    answer = await service.client.post(path, json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("content", "media_type", "expected"),
    [
        (b"", "application/json", (422, "invalid_request")),
        (b"null", "application/json", (422, "invalid_request")),
        (b"{}", "application/json", (422, "invalid_request")),
        (b'{"refresh_token": null}', "application/json", (422, "invalid_request")),
        (b"{", "application/json", (400, "bad_request")),
        (b'{"refresh_token": "a", "refresh_token": "b"}', "application/json", (400, "bad_request")),
        (b'{"refresh_token": "\\u0000"}', "application/json", (400, "bad_request")),
        (b'{"refresh_token": "\\ud800"}', "application/json", (400, "bad_request")),
        (b"refresh_token=x", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (
            b'{"refresh_token": "' + b"x" * 70_000 + b'"}',
            "application/json",
            (413, "body_too_large"),
        ),
    ],
)
async def test_refresh_refuses_odd_bodies(
    service: Service, content: bytes, media_type: str, expected: tuple[int, str]
) -> None:
    answer = await service.client.post(
        "/auth/refresh", content=content, headers={"Content-Type": media_type}
    )
    assert code_of(answer) == expected


@pytest.mark.parametrize("body", [None, {}, {"refresh_token": None}])
async def test_log_out_needs_no_body(service: Service, body: object) -> None:
    pair = await log_in(service)
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    answer = await service.client.post("/auth/logout", json=body, headers=headers)
    assert answer.json() == {"logged_out": True}


async def test_one_kind_of_token_does_not_stand_in_for_the_other(service: Service) -> None:
    pair = await log_in(service)
    for path in ("/auth/refresh", "/auth/logout"):
        answer = await service.client.post(path, json={"refresh_token": pair["access_token"]})
        assert code_of(answer) == (401, "invalid_token")
    headers = {"Authorization": f"Bearer {pair['refresh_token']}"}
    assert code_of(await service.client.get("/me", headers=headers)) == (401, "invalid_token")


async def test_tokens_in_the_query_or_a_cookie_do_not_count(service: Service) -> None:
    pair = await log_in(service)
    query = f"?refresh_token={pair['refresh_token']}&access_token={pair['access_token']}"
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in pair.items())}
    for path in (f"/auth/logout{query}", f"/auth/logout-all{query}"):
        answer = await service.client.post(path, headers=cookie)
        assert code_of(answer) == (401, "unauthenticated")


async def test_bad_access_token_is_not_made_good_by_a_refresh_token(service: Service) -> None:
    pair = await log_in(service)
    body = {"refresh_token": pair["refresh_token"]}
    headers = {"Authorization": "Bearer x"}
    answer = await service.client.post("/auth/logout", json=body, headers=headers)
    assert code_of(answer) == (401, "invalid_token")
    assert (await service.client.post("/auth/refresh", json=body)).status_code == 200


async def test_no_sign_in_while_the_audit_cannot_be_written(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await log_in(service)

    def full(*_: object, **__: object) -> None:
        raise StorageFull

    journal = await service.use.storage.transact(lambda tx: type(tx.journal))
    monkeypatch.setattr(journal, "extend", full)
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    for path, body in (
        ("/auth/login", {"email": EMAIL, "password": PASSWORD}),
        ("/auth/login", {"email": EMAIL, "password": "not the password"}),
        ("/auth/logout", {}),
        ("/auth/logout-all", {}),
    ):
        answer = await service.client.post(path, json=body, headers=bearer)
        assert code_of(answer) == (503, "audit_unavailable"), path
        assert "Retry-After" in answer.headers
    answer = await service.client.post(
        "/auth/refresh", json={"refresh_token": pair["refresh_token"]}
    )
    assert answer.status_code == 200, "it is not recorded"


async def test_required_user_refuses_the_key_alone_everywhere_but_for_signing_in() -> None:
    settings = settings_for_tests(require_user=True, mem_structured_enable=False)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        await service.add_user(EMAIL)
        pair = await log_in(service)
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        for row in CALLS:
            method, path = row.route.replace("{session_id}", "0" * 32).split(" ")
            body: dict[str, Any] = {"prompt": "Hi"} if path == "/chat" else {}
            answer = await service.client.request(method, path, json=body or None)
            if row.is_public:
                assert answer.status_code in {200, 307}, row.cell
            elif path in {"/auth/login", "/auth/refresh"}:
                assert answer.status_code == 422, row.cell
            else:
                assert code_of(answer) == (401, "unauthenticated"), row.cell
        chat = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
        assert chat.status_code == 200
        body = {"refresh_token": pair["refresh_token"]}
        renewed = (await service.client.post("/auth/refresh", json=body)).json()
        body = {"refresh_token": renewed["refresh_token"]}
        assert (await service.client.post("/auth/logout", json=body)).status_code == 200
