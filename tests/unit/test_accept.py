"""The header Accept chooses the format of an answer."""

import pytest

from chatbot.domain.errors import NotAcceptable
from chatbot.entrypoints.http.deps.accept import preferred

OFFERED = ("text/markdown", "application/json")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", OFFERED[0]),
        ("*/*", OFFERED[0]),
        ("text/*", OFFERED[0]),
        ("application/json", OFFERED[1]),
        ("APPLICATION/JSON", OFFERED[1]),
        ("application/*, text/html", OFFERED[1]),
        ("text/markdown;q=0.5, application/json;q=0.9", OFFERED[1]),
        ("text/markdown; q=0, */*", OFFERED[1]),
        ("text/html, */*;q=0.1", OFFERED[0]),
        ("text/markdown;charset=utf-8", OFFERED[0]),
    ],
)
def test_preferred_format_is_chosen(header: str, chosen: str) -> None:
    assert preferred(header, OFFERED) == chosen


@pytest.mark.parametrize(
    "header", ["text/html", "application/json;q=0", "application/json;q=x", "*/*;q=0", "json", "*"]
)
def test_header_that_excludes_every_format_is_refused(header: str) -> None:
    with pytest.raises(NotAcceptable):
        preferred(header, OFFERED)
