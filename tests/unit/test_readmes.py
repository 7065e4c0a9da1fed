"""README.md and README.es.md say the same; what the pages link to is there."""

import json
import re
from pathlib import Path

import pytest

from chatbot.adapters.llm.extractive import answer
from chatbot.application.texts import NOTICES, Language

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPEECH = re.compile(r'"(prompt|text|notice)": "[^"\n]*"')
LINK = re.compile(r"\]\(([^)]+)\)|<(http[^>]+)>")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sections(name: str) -> list[str]:
    """The page, cut in front of its headings; code may hold lines that look like one."""
    masked = CODE.sub(lambda code: code[0].replace("#", "\0"), text_of(name))
    cut = re.split(r"^(?=#+ )", masked, flags=re.MULTILINE)
    return [section.replace("\0", "#") for section in cut if section]


def shape(section: str) -> dict[str, object]:
    """What a translation leaves as it is."""
    prose = CODE.sub("", section)
    return {
        "level": len(section) - len(section.lstrip("#")),
        "code": [SPEECH.sub(r"\1", code) for code in CODE.findall(section)],
        "rows": [row.count("|") for row in re.findall(r"^\|.*", prose, re.MULTILINE)],
        "items": len(re.findall(r"^- ", prose, re.MULTILINE)),
        "links": sorted(max(link) for link in LINK.findall(prose)),
        "names": set(re.findall(r"`([^`]+)`", prose)),
    }


def test_readmes_have_the_same_headings_code_tables_links_and_names() -> None:
    english, spanish = sections("README.md"), sections("README.es.md")
    assert len(english) == len(spanish) > 10
    for one, other in zip(english, spanish, strict=True):
        assert shape(one) == shape(other), one.splitlines()[0]


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.es.md", "es")])
def test_first_conversation_is_shown_in_the_language_of_the_page(
    page: str, language: Language
) -> None:
    spoken = dict(
        reversed(
            [
                (found[1], json.loads(f"{{{found[0]}}}")[found[1]])
                for found in SPEECH.finditer(text_of(page))
            ]
        )
    )
    assert spoken["text"] == answer("chat", [("user", spoken["prompt"])])
    assert spoken["notice"] == NOTICES[language]


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_linked_files_are_there(page: str) -> None:
    targets = [max(link) for link in LINK.findall(CODE.sub("", text_of(page)))]
    files = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [name for name in files if not (ROOT / name).exists()] == []
