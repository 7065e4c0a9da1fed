"""GET /metrics: for keys with the scope `metrics` only."""

from dataclasses import replace

import pytest

from chatbot.adapters.security import api_keys
from chatbot.domain.permissions import Permission
from chatbot.entrypoints.http.routes.metrics import PROMETHEUS
from service import code_of, serving, settings_for_tests

KEPT = settings_for_tests(otel_metrics_exporter="prometheus")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK reads is set in the environment: it is to be set back."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chatbot")


@pytest.fixture
def key_for_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    client = replace(api_keys.DEFAULT_CLIENT, permissions=frozenset({Permission.METRICS}))
    monkeypatch.setattr(api_keys, "DEFAULT_CLIENT", client)


@pytest.mark.usefixtures("key_for_metrics")
async def test_key_with_the_scope_reads_metrics_and_nothing_else() -> None:
    async with serving(KEPT) as service:
        answer = await service.client.get("/metrics")
        chat = await service.client.post("/chat", json={"prompt": "Hello"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROMETHEUS)
    assert 'chatbot_turns_total{state="complete"} 0.0' in answer.text
    assert code_of(chat) == (403, "forbidden")


async def test_key_without_the_scope_is_refused() -> None:
    async with serving(KEPT) as service:
        assert code_of(await service.client.get("/metrics")) == (403, "forbidden")
        assert code_of(await service.anonymous.get("/metrics")) == (401, "unauthenticated")


@pytest.mark.usefixtures("key_for_metrics")
async def test_metrics_that_are_not_kept_are_not_found() -> None:
    async with serving() as service:
        answer = await service.client.get("/metrics")
    assert code_of(answer) == (404, "not_found")
    assert "OTEL_METRICS_EXPORTER=prometheus" in answer.json()["detail"]
