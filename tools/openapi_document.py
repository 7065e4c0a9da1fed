"""The OpenAPI document of the code. As a program it writes docs/openapi.json."""

import json
from pathlib import Path
from typing import Any

from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.app import build_app
from service import settings_for_tests

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"
COMMAND = "python tasks.py openapi"


def document() -> dict[str, Any]:
    """What the service answers to GET /openapi.json with default settings."""
    settings = settings_for_tests()
    return build_app(settings, build(settings)).openapi()


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
