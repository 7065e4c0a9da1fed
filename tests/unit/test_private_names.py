"""Which private names of Genkit and its OpenAI plug-in are relied on: one module, one list.

A new version of either may change them without a word. What is listed is there today, nothing
else is used, and no other module uses any.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import genkit_openai.openai_plugin as plugin_module
import pytest
from genkit import Action
from genkit_openai import OpenAI
from genkit_openai.models.model import OpenAIModel
from openai import AsyncOpenAI

import chatbot
from chatbot.adapters.llm import openai_plugin

PRIVATE_NAMES = {
    "module": {"_ModelType", "_classify_model", "_is_known_unsupported"},
    "OpenAI": {"_create_model_action", "_runtime_client"},
    "OpenAIModel": {
        "_clean_json_response",
        "_generate",
        "_generate_stream",
        "_get_messages",
        "_get_openai_request_config",
        "_model",
    },
    "Action": {"_fn", "_metadata", "_name"},
}
SOURCES = Path(str(chatbot.__file__)).parent
OURS = Path(str(openai_plugin.__file__))


@pytest.fixture(scope="module")
def theirs() -> dict[str, object]:
    """The objects of the library that own the names."""
    plugin = OpenAI(api_key="none")
    action = plugin._create_model_action("openai/x")
    model = OpenAIModel("x", AsyncOpenAI(api_key="none"))
    assert isinstance(action, Action)
    return {"module": plugin_module, "OpenAI": plugin, "OpenAIModel": model, "Action": action}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used_in(path: Path, *, of_others: bool = False) -> Iterator[str]:
    """Private names in a module: its methods, attributes and imports; or only those of others."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if "genkit" in module:
                yield from (part for part in module.split(".") if is_private(part))
                yield from (alias.name for alias in names if is_private(alias.name))
            case ast.Attribute(value=ast.Name(id="self" | "cls")) if of_others:
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not of_others:
                yield name


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_listed_private_names_of_the_library_exist(theirs: dict[str, object], owner: str) -> None:
    assert {name for name in PRIVATE_NAMES[owner] if hasattr(theirs[owner], name)} == PRIVATE_NAMES[
        owner
    ]


def test_every_private_name_of_the_library_in_use_is_listed(
    theirs: dict[str, object],
) -> None:
    used = {name for name in used_in(OURS) if is_private(name)}
    library = {name for name in used for owner in theirs.values() if hasattr(owner, name)}
    assert library == set().union(*PRIVATE_NAMES.values())


def test_no_other_module_uses_private_names_of_the_library(theirs: dict[str, object]) -> None:
    others = [path for path in SOURCES.rglob("*.py") if path != OURS]
    found = {
        (path.name, name)
        for path in others
        for name in used_in(path, of_others=True)
        if name == "_core" or any(hasattr(owner, name) for owner in theirs.values())
    }
    assert found == set()
