"""README.md and README.es.md match; links in the pages resolve."""

import json
import re
from pathlib import Path

import pytest

from chatbot.adapters.llm.extractive import answer
from chatbot.application.prompt_texts import Language, texts_in
from chatbot.domain.text import detect_language

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPEECH = re.compile(
    r"""("(?:prompt|text|notice)": )"[^"\n]*"|(\\"prompt\\": )\\"[^"\n]*\\"|(chatbot chat )"[^"\n]*"|"""
    r"""("(?:title|quote)": )"[^"\n]*"|(printf )'[^'\n]*'|("departments": )\[[^]\n]*\]|"""
    r"""(--department )\w+|(PASSWORD=)'[^'\n]*'|(password: )\(.*\)|("(?:in|out)put_tokens": )\d+"""
)
"""What a translation changes in code: words and their token counts."""
PROMPT = re.compile(r"""(?:prompt\\?": \\?|chatbot chat )"([^"\\\n]+)\\?\"""")
PAGES = {"README.md", "README.es.md"}
"""Each links to the other."""
LINK = re.compile(r"\]\(([^)]+)\)|<(http[^>]+)>")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sections(name: str) -> list[str]:
    """The page, split before its headings; lines in code that resemble headings do not count."""
    masked = CODE.sub(lambda code: code[0].replace("#", "\0"), text_of(name))
    cut = re.split(r"^(?=#+ )", masked, flags=re.MULTILINE)
    return [section.replace("\0", "#") for section in cut if section]


def _key(speech: re.Match[str]) -> str:
    return speech[speech.lastindex or 0]


def shape(section: str) -> dict[str, object]:
    """The parts that a translation does not change."""
    prose = CODE.sub("", section)
    return {
        "level": len(section) - len(section.lstrip("#")),
        "code": [SPEECH.sub(_key, code) for code in CODE.findall(section)],
        "rows": [row.count("|") for row in re.findall(r"^\|.*", prose, re.MULTILINE)],
        "items": len(re.findall(r"^- ", prose, re.MULTILINE)),
        "links": sorted(max(link) for link in LINK.findall(prose) if max(link) not in PAGES),
        "names": set(re.findall(r"`([^`]+)`", prose)),
    }


def test_readmes_have_the_same_headings_code_tables_links_and_names() -> None:
    english, spanish = sections("README.md"), sections("README.es.md")
    assert "(README.es.md)" in english[0]
    assert "(README.md)" in spanish[0]
    assert len(english) == len(spanish) > 10
    for one, other in zip(english, spanish, strict=True):
        assert shape(one) == shape(other), one.splitlines()[0]


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.es.md", "es")])
def test_prompts_and_answers_are_shown_in_the_language_of_the_page(
    page: str, language: Language
) -> None:
    text = text_of(page)
    prompts = PROMPT.findall(text)
    [shown, *_] = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    assert len(prompts) == 7
    assert {detect_language(prompt) for prompt in prompts} == {language}
    conversation = json.loads(shown)
    assert conversation["text"] == answer("chat", [("user", prompts[0])])
    assert conversation["notice"] == texts_in(language).notice


@pytest.mark.parametrize(
    "page",
    [path.relative_to(ROOT) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])],
)
def test_links_to_files_and_sections_resolve(page: Path) -> None:
    for target in (max(link) for link in LINK.findall(CODE.sub("", text_of(str(page))))):
        name, _, section = target.partition("#")
        if "://" not in target:
            path = (ROOT / page).parent / name if name else ROOT / page
            assert path.exists(), target
            headings = (
                re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.MULTILINE) if section else []
            )
            anchors = [
                re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings
            ]
            assert section in ("", *anchors), target
