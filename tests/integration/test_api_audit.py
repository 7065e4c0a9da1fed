"""GET /admin/audit: who may read which events, page by page or as a stream."""

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from chatbot.domain.audit import AUDIT, Action, AuditEvent, Outcome
from chatbot.domain.authorization import of_host
from chatbot.domain.identity import Principal
from chatbot.domain.ports.journal import Journal, JournalEntry
from chatbot.domain.text import rfc3339
from chatbot.domain.transaction import Transaction
from service import Service, code_of, serving

AUDITOR = "auditor@example.com"
ROOT = of_host("root")
NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    async with serving() as service:
        yield service


@pytest.fixture
async def auditor(service: Service) -> dict[str, str]:
    await service.add_user(AUDITOR, "auditor")
    return await service.bearer(AUDITOR)


async def note(service: Service, *events: AuditEvent, by: Principal = ROOT) -> None:
    def work(tx: Transaction) -> None:
        for event in events:
            service.use.auditing.note(tx, by, event)

    await service.use.storage.transact(work)


def event(number: int, outcome: Outcome = Outcome.ALLOWED, **more: str) -> AuditEvent:
    return AuditEvent(
        action=Action.ROLE_DELETE,
        object_type="user",
        object_id=f"u{number}",
        outcome=outcome,
        **more,  # type: ignore[arg-type] # texts
    )


async def stored(service: Service) -> list[JournalEntry]:
    return list(await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=999)))


async def numbers(answer: httpx.Response) -> list[str]:
    answer.raise_for_status()
    return [each["object"]["id"] for each in answer.json()["events"]]


async def test_event_is_returned_with_its_place_in_the_chain(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, event(1, reason="moved", before="b", after="a"))
    answer = await service.client.get("/admin/audit?action=role.delete", headers=auditor)
    [found] = answer.json()["events"]
    [entry] = [each for each in await stored(service) if each.content["action"] == "role.delete"]
    assert found == {"seq": entry.seq, "at": found["at"], **entry.content}
    assert datetime.fromisoformat(found["at"]) == entry.at
    assert set(found) == {
        *("seq", "at", "action", "outcome", "actor", "object", "reason", "before", "after"),
        *("prev", "mac"),
    }


async def test_pages_are_complete_although_reading_them_is_recorded(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, *[event(number) for number in range(25)])
    before = [entry.seq for entry in await stored(service)]
    seqs, query = list[int](), "limit=1"
    while True:
        answer = await service.client.get(f"/admin/audit?{query}", headers=auditor)
        page = answer.json()
        seqs += [each["seq"] for each in page["events"]]
        if page["next"] is None:
            break
        query = f"limit=1&after={page['next']}"
    assert seqs == before


async def test_who_reads_is_recorded_with_the_filters(
    service: Service, auditor: dict[str, str]
) -> None:
    query = "from=2026-01-31&to=2099-01-31T01:00:00%2B01:00&actor=u1&object=u2&outcome=refused"
    await service.client.get(f"/admin/audit?{query}", headers=auditor)
    await service.client.get("/admin/audit", headers=auditor | NDJSON)
    me = (await service.client.get("/me", headers=auditor)).json()
    reads = [e.content for e in await stored(service) if e.content["action"] == "audit.read"]
    begin, end = (rfc3339(datetime(year, 1, 31, tzinfo=UTC)) for year in (2026, 2099))
    period = f"from={begin} to={end}"
    assert [each["reason"] for each in reads] == [
        f"page: {period} actor=u1 object=u2 outcome=refused",
        "stream: all events",
    ]
    for each in reads:
        assert each["actor"] == {"user": me["id"], "client": "default", "address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("object=u1", ["u1"]),
        ("outcome=refused&action=role.delete", ["u1", "u3"]),
        ("actor=root&object=u2", ["u2"]),
        ("actor=host&outcome=allowed&action=role.delete", ["u2"]),
        ("actor=192.0.2.7", []),
        ("object=u1&to=2001-01-01", []),
        ("object=u1&from=2001-01-01T00:00:00Z&to=2999-01-01", ["u1"]),
    ],
)
async def test_filters_are_combined(
    service: Service, auditor: dict[str, str], query: str, expected: list[str]
) -> None:
    await note(service, event(1, Outcome.REFUSED), event(2), event(3, Outcome.REFUSED))
    assert (
        await numbers(await service.client.get(f"/admin/audit?{query}", headers=auditor))
        == expected
    )


async def test_stream_has_all_events_one_on_each_line(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, *[event(number) for number in range(1200)])
    before = await stored(service)
    answer = await service.client.get("/admin/audit?action=role.delete", headers=auditor | NDJSON)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["object"]["id"] for each in lines] == [f"u{number}" for number in range(1200)]
    assert set(lines[0]) == {"seq", "at", *(set(before[-1].content))}


async def test_stream_continues_after_the_number_of_an_event(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, *[event(number) for number in range(9)])
    last = (await stored(service))[-3]
    answer = await service.client.get(f"/admin/audit?after={last.seq}", headers=auditor | NDJSON)
    assert [json.loads(line)["object"]["id"] for line in answer.text.splitlines()] == ["u7", "u8"]


async def test_cursor_of_other_filters_is_rejected(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, *[event(number) for number in range(5)])
    first = await service.client.get("/admin/audit?action=role.delete&limit=2", headers=auditor)
    cursor = first.json()["next"]
    same = f"/admin/audit?action=role.delete&limit=9&after={cursor}"
    assert await numbers(await service.client.get(same, headers=auditor)) == ["u2", "u3", "u4"]
    for other in ("", "action=audit.read&", "action=role.delete&actor=root&"):
        answer = await service.client.get(f"/admin/audit?{other}after={cursor}", headers=auditor)
        assert code_of(answer) == (422, "invalid_request")


@pytest.mark.parametrize(
    "query",
    [
        *("from=yesterday", "from=1767225600", "from=2026-01-31T09:30:00", "to=2026-13-01"),
        *("from=0001-01-01T00:00:00%2B01:00", "to=2026-01-31T09:30:00.1234567Z", "from="),
        "from=2026-02-01&to=2026-01-01",
        *("action=user.fly", "action=", "outcome=maybe", "actor=", f"actor={'x' * 201}"),
        *("actor=a%00b", "actor=%E2%80%AEabc", "object=a%0Ab"),
        "actor=ana%40example.com",
        *("limit=0", "limit=201", "limit=x", "after=-1", "after=x", "after=1-2", "after=1e3"),
        *("after=1-2-zzzzzzzz", "after=%D9%A1", f"after={'9' * 16}"),
    ],
)
async def test_bad_filters_are_rejected_and_never_repeated(
    service: Service, auditor: dict[str, str], query: str
) -> None:
    answer = await service.client.get(f"/admin/audit?{query}", headers=auditor)
    assert code_of(answer) == (422, "invalid_request"), answer.text
    assert not [e for e in await stored(service) if e.content["action"] == "audit.read"]


async def test_only_those_with_the_permission_read(service: Service) -> None:
    await service.add_user("eva@example.com")
    for headers in ({}, await service.bearer("eva@example.com")):
        for accept in ({}, NDJSON):
            answer = await service.client.get("/admin/audit", headers=headers | accept)
            assert code_of(answer) == (403, "forbidden")


async def test_nothing_is_read_while_reading_cannot_be_recorded(
    service: Service, auditor: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.domain.errors import StorageFull  # noqa: PLC0415 - beside its only use

    def full(*_: object, **__: object) -> None:
        raise StorageFull

    journal: Journal = await service.use.storage.transact(lambda tx: tx.journal)
    monkeypatch.setattr(journal, "extend", full)
    for accept in ({}, NDJSON):
        answer = await service.client.get("/admin/audit", headers=auditor | accept)
        assert code_of(answer) == (503, "audit_unavailable")


async def test_reason_cannot_act_on_what_shows_it(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, event(1, reason="a\u202eb\x1b[31m\nc\ud800" + "x" * 2000))
    answer = await service.client.get("/admin/audit?object=u1", headers=auditor)
    reason = answer.json()["events"][0]["reason"]
    assert reason.startswith("a\\u202eb\\x1b[31m\\nc\ufffdxxx")
    assert len(reason) == 1000
    assert reason.isprintable()


async def test_events_of_a_period_are_those_from_its_beginning_and_before_its_end(
    service: Service, auditor: dict[str, str]
) -> None:
    await note(service, event(1))
    at = (await stored(service))[-1].at.astimezone(UTC)
    moments = {
        step: (at + step * timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
        for step in (0, 1)
    }
    for since, until, expected in ((0, 1, ["u1"]), (1, 1, []), (0, 0, [])):
        query = f"object=u1&from={moments[since]}&to={moments[until]}"
        assert (
            await numbers(await service.client.get(f"/admin/audit?{query}", headers=auditor))
            == expected
        )
