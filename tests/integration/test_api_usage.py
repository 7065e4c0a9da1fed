"""Usage over HTTP: who sees what, in which format, right after a turn."""

import csv
import io
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import FinishReason
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.model import Completion, ModelRequest, Usage
from chatbot.domain.quotas import Period, window_of
from chatbot.domain.usage import Dimension, Payer, Used, usage_additions
from chatbot.entrypoints.http.csv_table import csv_of
from service import Service, code_of, serving, settings_for_tests

EVA, NOA, LEAD = "eva@example.com", "noa@example.com", "lead@example.com"
TODAY = datetime.now(UTC).date().isoformat()
CANARY = '=HYPERLINK("http://evil","x")'


def reported(_: ModelRequest) -> Completion:
    counted = Usage(input_tokens=100, output_tokens=20)
    return Completion(text="ok", finish_reason=FinishReason.STOP, usage=counted)


@pytest_asyncio.fixture
async def service() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, model=ScriptedModel(reported)) as service:
        await service.add_admin()
        await service.add_user(EVA)
        yield service


async def chat(service: Service, headers: dict[str, str]) -> None:
    answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=headers)
    assert answer.status_code == 200, answer.text


async def rows(service: Service, path: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = await service.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


async def test_own_usage_is_right_directly_after_a_turn(service: Service) -> None:
    eva = await service.bearer(EVA)
    assert await rows(service, "/me/usage", eva) == []
    for count in (1, 2):
        await chat(service, eva)
        [row] = await rows(service, "/me/usage", eva)
        assert row == {
            "key": TODAY,
            "requests": count,
            "turns": count,
            "input_tokens": 100 * count,
            "output_tokens": 20 * count,
            "estimated": False,
        }
    assert await rows(service, "/me/usage", await service.bearer()) == []
    assert code_of(await service.client.get("/me/usage")) == (401, "unauthenticated")


async def test_usage_of_everybody_adds_up_by_each_dimension(service: Service) -> None:
    eva, admin = await service.bearer(EVA), await service.bearer()
    await chat(service, eva)
    await chat(service, {})
    people = (await service.client.get("/admin/users", headers=admin)).json()["users"]
    [eva_id] = [each["id"] for each in people if each["email"] == EVA]
    keys = {
        by: [row["key"] for row in await rows(service, f"/admin/usage?by={by}", admin)]
        for by in ("user", "department", "role", "client", "model", "day")
    }
    assert keys == {
        "user": ["", eva_id],
        "department": ["", "sales"],
        "role": ["", "employee"],
        "client": ["default"],
        "model": ["local/scripted"],
        "day": [TODAY],
    }
    [total] = await rows(service, "/admin/usage?by=client", admin)
    assert total == {
        "key": "default",
        "requests": 2,
        "turns": 2,
        "input_tokens": 200,
        "output_tokens": 40,
        "estimated": False,
    }


async def test_usage_without_the_permission_is_refused(service: Service) -> None:
    eva = await service.bearer(EVA)
    assert code_of(await service.client.get("/admin/usage", headers=eva)) == (403, "forbidden")
    assert code_of(await service.client.get("/admin/usage")) == (403, "forbidden")


async def test_department_administrator_sees_only_the_own_department(service: Service) -> None:
    await service.add_user(LEAD, "department_admin")
    eva, lead = await service.bearer(EVA), await service.bearer(LEAD)
    await chat(service, eva)
    await chat(service, {})
    await bill(service, Payer(client="default", user="other", department="legal"))
    for by, keys in (("department", ["sales"]), ("client", ["default"]), ("role", ["employee"])):
        found = await rows(service, f"/admin/usage?by={by}", lead)
        assert [(row["key"], row["turns"]) for row in found] == [(key, 1) for key in keys]


async def bill(
    service: Service, payer: Payer, *, model: str = "m", at: datetime | None = None
) -> None:
    now = at or datetime.now(UTC)
    used = usage_additions(window_of(Period.DAY, now, UTC), payer, model, Used(turns=1))
    await service.use.storage.transact(lambda tx: tx.counters.settle((), used, now=now))


async def test_period_includes_both_days_and_nothing_else(service: Service) -> None:
    admin, now = await service.bearer(), datetime.now(UTC)
    for days in range(60):
        await bill(service, Payer(client="x"), at=now - timedelta(days=days))
    first = (now - timedelta(days=40)).date().isoformat()
    last = (now - timedelta(days=3)).date().isoformat()
    found = await rows(service, f"/admin/usage?from={first}&to={last}", admin)
    assert [found[0]["key"], found[-1]["key"], len(found)] == [first, last, 38]
    answer = await service.client.get("/admin/usage", headers=admin)
    assert answer.json()["from"] == now.date().replace(day=1).isoformat()
    assert answer.json()["to"] == TODAY


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-02-02&to=2026-02-01",
        "from=2025-01-01&to=2026-12-31",
        "from=yesterday",
        "from=2026-02-30",
        "from=1767225600",
        "from=2026-01-01T00:00:00Z",
        "to=0000-01-01",
        "by=colour",
        "by=",
    ],
)
async def test_nonsense_of_a_report_is_refused(service: Service, query: str) -> None:
    admin = await service.bearer()
    answer = await service.client.get(f"/admin/usage?{query}", headers=admin)
    assert code_of(answer) == (422, "invalid_request")


async def test_first_and_last_day_of_the_calendar_are_no_error(service: Service) -> None:
    admin = await service.bearer()
    for query in ("from=0001-01-01&to=0001-01-01", "from=9999-12-31&to=9999-12-31"):
        assert await rows(service, f"/admin/usage?{query}", admin) == []


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv"),
        ("text/csv;q=0.1, application/json;q=0.2", "application/json"),
        ("text/*", "text/csv"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/pdf", None),
        ("text/csv;q=0", None),
    ],
)
async def test_format_is_chosen_by_accept(
    service: Service, accept: str, media_type: str | None
) -> None:
    eva = await service.bearer(EVA)
    answer = await service.client.get("/me/usage", headers=eva | {"Accept": accept})
    if media_type is None:
        assert code_of(answer) == (406, "not_acceptable")
    else:
        assert answer.headers["content-type"].startswith(media_type)


async def test_csv_is_a_table_in_which_nothing_is_a_formula(service: Service) -> None:
    departments = [CANARY, "+1", "-1", "@x", "\ttab", " =x", "＝x", 'a "quoted", b', "plain"]  # noqa: RUF001 # Excel takes it for one
    for department in departments:
        await bill(service, Payer(client="default", user="u", department=department))
    admin = await service.bearer()
    answer = await service.client.get(
        "/admin/usage?by=department", headers=admin | {"Accept": "text/csv"}
    )
    assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-')
    lines = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert lines[0] == [
        *("key", "requests", "turns", "input_tokens", "output_tokens", "estimated"),
    ]
    keys = {line[0] for line in lines[1:]}
    assert keys == {f"'{each}" for each in departments[:7]} | {departments[7], "plain"}
    assert answer.text.endswith("\r\n")
    assert answer.text.count("\r\n") == answer.text.count("\n") == len(lines)


def test_cell_that_a_spreadsheet_would_execute_begins_with_an_apostrophe() -> None:
    assert csv_of(["k"], [["=1+1"], ["x=1"], [-5], [True]]) == "k\r\n'=1+1\r\nx=1\r\n-5\r\ntrue\r\n"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("x;=1+1", "x;'=1+1"),
        ('x; "=1+1', """"x;' ""=1+1\""""),
        ("x|@SUM(1)", "x|'@SUM(1)"),
        ("x,-1", '"x,\'-1"'),
        ("x\t+1", "x\t'+1"),
        ("a; b", "a; b"),
        ("2026-01-31", "2026-01-31"),
    ],
)
def test_formula_after_what_separates_cells_in_another_country_is_none(
    cell: str, written: str
) -> None:
    assert csv_of(["k"], [[cell]]) == f"k\r\n{written}\r\n"


async def test_department_is_one_however_it_is_spelled(service: Service) -> None:
    [person, _] = await service.use.storage.transact(lambda tx: tx.users.all())
    for department in ("Legal", "LEGAL", "sales"):
        await bill(service, Payer(client="default", user="u", department=department))
    caller = replace(
        of_host("root"),
        user=replace(person, department="legal"),
        department_only=frozenset({Permission.USAGE_READ}),
    )
    report = await service.use.usage.all(caller, None, None, Dimension.DEPARTMENT)
    assert set(report.rows) == {"Legal", "LEGAL"}


async def test_estimated_tokens_are_marked(tmp_path: Path) -> None:
    settings = settings_for_tests(mem_structured_enable=False, storage_url=f"json:{tmp_path}")
    async with serving(settings, model=ScriptedModel(["an answer"])) as service:
        await chat(service, {})
        total = await service.use.storage.transact(
            lambda tx: tx.counters.scan("usage", "", now=datetime.now(UTC))
        )
    assert sum(amount for name, amount in total.items() if "estimated" in name) > 0


async def test_role_is_counted_for_each_of_the_persons_roles(service: Service) -> None:
    await bill(service, Payer(client="c", user="u", roles=("auditor", "employee")))
    found = await rows(service, "/admin/usage?by=role", await service.bearer())
    assert [(row["key"], row["turns"]) for row in found] == [("auditor", 1), ("employee", 1)]
