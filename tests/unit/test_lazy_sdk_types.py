"""The SDK's types are imported on first use and are unchanged."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.llm.lazy_sdk_types import _LazyLoader

LOOK = """
import ast, inspect, json, sys, openai
from importlib import import_module
loaded = sum(name.startswith("openai.types.") for name in sys.modules)
exported = {}
for package in ("openai.types", "openai.types.chat", "openai.types.responses"):
    code = ast.parse(inspect.getsource(import_module(package)))
    imports = [each for each in code.body if getattr(each, "module", "__future__") != "__future__"]
    names = [name.asname for each in imports for name in each.names]
    exported[package] = {name: repr(getattr(import_module(package), name)) for name in names}
deep = openai.types.responses.response.Response.__name__
print(json.dumps([loaded, exported, deep, hasattr(openai.types, "Nothing")]))
"""


def seen_after(imports: str) -> Any:
    """What a new interpreter finds in the SDK after these imports."""
    command = [sys.executable, "-c", f"{imports}\n{LOOK}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_types_are_the_same_although_most_are_not_imported() -> None:
    loaded, *lazily = seen_after("import chatbot.adapters.llm.provider")
    loaded_by_sdk, *as_usual = seen_after("")
    assert lazily == as_usual
    assert loaded < 100
    assert loaded_by_sdk > 400


@pytest.mark.parametrize("code", ["from .part import Part\nextra = 1\n", "", "import json\n"])
def test_a_package_that_does_more_than_re_export_is_run_as_usual(code: str, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text(code, encoding="utf-8")
    (tmp_path / "part.py").write_text("class Part: ...\n", encoding="utf-8")
    path = str(tmp_path / "__init__.py")
    name = f"sample_{len(code)}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_LazyLoader(name, path))
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]  # it is the one given above
    finally:
        del sys.modules[name]
    assert "__getattr__" not in vars(module)
    assert ("extra" in vars(module)) == ("extra" in code)
