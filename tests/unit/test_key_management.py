"""Making, listing, rotating and revoking API keys: within which bounds, and the record."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatbot.application.auditing import Auditing
from chatbot.domain.credentials import KeyState
from chatbot.domain.errors import (
    AuditUnavailable,
    Conflict,
    InvalidInput,
    NotFound,
)
from chatbot.domain.identity import KeyId
from key_world import CHAT, DAY, ROOT, WANTED, World


@pytest.fixture
def world() -> World:
    return World()


async def test_new_key_identifies_its_client_with_its_scopes(world: World) -> None:
    made = await world.keys.create(
        ROOT, replace(WANTED, label=" Widget ", expires_at=world.now + DAY)
    )
    known = await world.identification.look_up(made.raw_key)
    assert known is not None
    key = known.key
    assert (key.client, key.scopes, key.label) == ("partner", CHAT, "Widget")
    assert made.line.created_by == "cli:root"
    assert made.raw_key not in repr((made, known))
    assert made.raw_key.split("_")[2] not in repr(vars(world.storage))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client": client}, "client")
        for client in (
            "",
            "Partner",
            "a b",
            "ñ",
            "=cmd",
            "-x",
            "a/b",
            "a" * 64,
            "a\u202eb",
            "default",
            "host",
        )
    ]
    + [
        ({"label": label}, "label")
        for label in ("x" * 101, "a\nb", "a\x1b[2J", "a\u202eb", "\u200b", "\ud800")
    ]
    + [({"scopes": frozenset()}, "scopes")]
    + [({"expires_at": datetime(2030, 1, 1, tzinfo=UTC)}, "expires_at")],
)
async def test_unacceptable_value_is_refused_by_the_name_of_its_field(
    world: World, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.keys.create(ROOT, replace(WANTED, **change))
    assert refused.value.where == (field,)
    assert await world.events() == []


async def test_label_may_look_like_a_formula_since_it_is_never_exported_as_a_table(
    world: World,
) -> None:
    made = await world.keys.create(ROOT, replace(WANTED, label="=1+1"))
    assert made.line.label == "=1+1"


async def test_client_has_at_most_two_keys_that_can_be_used(world: World) -> None:
    first = await world.keys.create(ROOT, WANTED)
    await world.keys.create(ROOT, WANTED)
    with pytest.raises(Conflict, match="two usable keys"):
        await world.keys.create(ROOT, WANTED)
    with pytest.raises(Conflict, match="two usable keys"):
        await world.keys.rotate(ROOT, first.line.id, overlap=DAY)
    await world.keys.create(ROOT, replace(WANTED, client="other"))
    await world.keys.revoke(ROOT, first.line.id)
    await world.keys.create(ROOT, WANTED)


async def test_rotated_key_works_until_the_overlap_is_over(world: World) -> None:
    old = await world.keys.create(ROOT, replace(WANTED, label="Widget"))
    new = await world.keys.rotate(ROOT, old.line.id, overlap=DAY)
    assert (new.line.client, new.line.label, new.line.scopes) == ("partner", "Widget", ("chat",))
    assert new.line.expires_at is None
    assert await world.states() == [KeyState.ACTIVE, KeyState.EXPIRING]
    assert await world.works(old.raw_key)
    assert await world.works(new.raw_key)
    world.now += DAY
    assert await world.states() == [KeyState.ACTIVE, KeyState.EXPIRED]
    assert not await world.works(old.raw_key)
    assert await world.works(new.raw_key)


async def test_rotation_without_overlap_ends_the_old_key_at_once(world: World) -> None:
    old = await world.keys.create(ROOT, WANTED)
    await world.keys.create(ROOT, WANTED)  # there are two afterwards, too
    new = await world.keys.rotate(ROOT, old.line.id, overlap=timedelta(0))
    assert not await world.works(old.raw_key)
    assert await world.works(new.raw_key)


async def test_rotation_prolongs_no_key(world: World) -> None:
    ends_at = world.now + timedelta(hours=1)
    old = await world.keys.create(ROOT, replace(WANTED, expires_at=ends_at))
    new = await world.keys.rotate(ROOT, old.line.id, overlap=DAY)
    assert new.line.expires_at == ends_at
    page = await world.keys.page(ROOT, limit=9, after=None)
    assert {line.expires_at for line in page.keys} == {ends_at}


async def test_key_that_has_ended_is_not_rotated(world: World) -> None:
    made = await world.keys.create(ROOT, replace(WANTED, expires_at=world.now + DAY))
    world.now += DAY
    with pytest.raises(Conflict, match="has expired or was revoked"):
        await world.keys.rotate(ROOT, made.line.id, overlap=DAY)
    revoked = await world.keys.create(ROOT, WANTED)
    await world.keys.revoke(ROOT, revoked.line.id)
    with pytest.raises(Conflict, match="has expired or was revoked"):
        await world.keys.rotate(ROOT, revoked.line.id, overlap=DAY)


async def test_fifty_rotations_at_once_never_leave_more_than_two_keys(world: World) -> None:
    made = await world.keys.create(ROOT, WANTED)
    tried = await asyncio.gather(
        *(world.keys.rotate(ROOT, made.line.id, overlap=DAY) for _ in range(50)),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, Conflict) for each in tried) == 1
    assert await world.states() == [KeyState.ACTIVE, KeyState.EXPIRING]


async def test_revocation_is_permanent_and_recorded_once(world: World) -> None:
    made = await world.keys.create(ROOT, WANTED)
    for _ in range(2):
        assert (await world.keys.revoke(ROOT, made.line.id)).state is KeyState.REVOKED
    assert not await world.works(made.raw_key)
    recorded = [each["action"] for each in await world.events() if each.get("stage") == "done"]
    assert recorded == ["key.create", "key.revoke"]


async def test_change_is_recorded_with_who_made_it_and_without_secrets(world: World) -> None:
    made = await world.keys.create(ROOT, WANTED)
    new = await world.keys.rotate(ROOT, made.line.id, overlap=DAY)
    done = [each for each in await world.events() if each.get("stage") == "done"]
    assert [(each["action"], each["object"]["id"]) for each in done] == [
        ("key.create", made.line.id),
        ("key.create", new.line.id),
        ("key.rotate", made.line.id),
    ]
    assert {each["actor"]["cli_user"] for each in done} == {"root"}
    scopes = ", ".join(sorted(WANTED.scopes))
    assert [each.get("reason") for each in done] == [
        *[f"client: {WANTED.client}; given: {scopes}"] * 2,
        None,
    ]
    assert done[2]["before"] == done[0]["after"] != done[2]["after"]
    assert made.raw_key not in str(done)


async def test_no_key_is_made_or_changed_while_the_audit_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.keys.create(ROOT, WANTED)

    def unavailable(*_: object) -> None:
        raise AuditUnavailable

    monkeypatch.setattr(Auditing, "note", unavailable)
    for call in (
        world.keys.create(ROOT, replace(WANTED, client="other")),
        world.keys.rotate(ROOT, made.line.id, overlap=DAY),
        world.keys.revoke(ROOT, made.line.id),
    ):
        with pytest.raises(AuditUnavailable):
            await call
    assert await world.states() == [KeyState.ACTIVE]


@pytest.mark.parametrize("key_id", ["22222222", "", "x", "a\0b", "2" * 500, "ñ" * 8])
async def test_unknown_id_is_not_found(world: World, key_id: str) -> None:
    for call in (
        world.keys.rotate(ROOT, KeyId(key_id), overlap=DAY),
        world.keys.revoke(ROOT, KeyId(key_id)),
    ):
        with pytest.raises(NotFound, match="key"):
            await call


async def test_pages_hold_each_key_once(world: World) -> None:
    made = [
        await world.keys.create(ROOT, replace(WANTED, client=f"app-{number}"))
        for number in range(7)
    ]
    found, after = [], None
    for size in (3, 3, 1):
        page = await world.keys.page(ROOT, limit=3, after=after)
        assert len(page.keys) == size
        found += [line.id for line in page.keys]
        after = page.next
    assert after is None
    assert found == sorted(each.line.id for each in made)


async def test_wrong_checksum_never_reaches_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.keys.create(ROOT, WANTED)
    typed = made.raw_key[:-1] + ("0" if made.raw_key[-1] != "0" else "1")

    async def unreachable(_: object) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(world.storage, "transact", unreachable)
    for raw_key in (typed, "", "x", "cb_", "\ud800", made.raw_key + " "):
        assert await world.identification.look_up(raw_key) is None
    with pytest.raises(AssertionError):
        await world.identification.look_up(made.raw_key)
