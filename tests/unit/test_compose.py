"""compose.yaml, checked without Docker: it fits the service and exposes only its port."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatbot.entrypoints.settings.loading import load_settings, setting_names

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("chatbot", "schema")
GUIDE = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_service_can_write_its_volumes_only_and_gain_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(volume.partition(":")[0] in COMPOSE["volumes"] for volume in service["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_secret_is_a_file_that_is_mounted(name: str) -> None:
    service = SERVICES[name]
    environment = service["environment"]
    files = {value for key, value in environment.items() if key.endswith("_FILE")}
    assert files == {f"/run/secrets/{secret}" for secret in service["secrets"]}
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert not {"API_KEY", "JWT_SECRET", "STORAGE_URL", "POSTGRES_PASSWORD"} & set(environment)


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    assert {key.lower() for key in SERVICES[name]["environment"]} <= set(setting_names())


def test_only_the_service_is_published_and_to_this_machine_alone() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "chatbot": ["127.0.0.1:8000:8000"]
    }
    [network] = COMPOSE["networks"]["inside"]["ipam"]["config"]
    assert SERVICES["chatbot"]["environment"]["TRUSTED_PROXIES"] == network["gateway"]


def test_service_waits_for_the_schema_and_that_for_the_database() -> None:
    assert SERVICES["schema"]["command"] == ["db", "upgrade"]
    waits = {name: SERVICES[name]["depends_on"] for name in OURS}
    assert waits["schema"] == {"db": {"condition": "service_healthy"}}
    assert waits["chatbot"]["schema"] == {"condition": "service_completed_successfully"}


@pytest.mark.skipif(sys.platform == "win32", reason="the guide is written for sh")
def test_secrets_of_the_guide_are_those_of_compose_and_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [
        text
        for text in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
        if "/$name" in text
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", block], cwd=tmp_path, env={"PATH": path}, check=True)
    monkeypatch.chdir(tmp_path)
    made = {f"secrets/{file.name}" for file in Path("secrets").iterdir()}
    assert made == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert stat.S_IMODE(Path("secrets").stat().st_mode) == 0o700

    for secret in SERVICES["chatbot"]["secrets"]:
        monkeypatch.setenv(f"{secret.upper()}_FILE", f"secrets/{secret}")
    assert str(load_settings().storage.url) == "postgresql://db/chatbot"
    password = Path("secrets/postgres_password").read_text(encoding="utf-8").strip()
    assert f"//chatbot:{password}@" in Path("secrets/storage_url").read_text(encoding="utf-8")
