"""Uploads as no client should send them: nothing of them stays, and the service goes on."""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from document_calls import Library, serving_documents
from service import API_KEY, code_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUNDARY = "boundary"
MIB = 1 << 20
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Library]:
    folder = tmp_path_factory.mktemp("temporary")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        async with serving_documents(document_max_mib=1) as found:
            yield found
    finally:
        tempfile.tempdir = before


def left() -> list[str]:
    return [path.name for path in Path(tempfile.gettempdir()).iterdir()]


def part(name: str, content: str, *, file: str | None = None) -> str:
    named = f'; filename="{file}"' if file is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{named}'
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n{content}\r\n"


END = f"--{BOUNDARY}--\r\n"
FILE = part("file", "Hello.", file="a.md")
MALFORMED = {
    "without an end": FILE,
    "cut in the file": FILE[:-3],
    "cut in a header": FILE[:30],
    "empty": "",
    "no boundary": "Hello.",
    "too many headers": f"--{BOUNDARY}\r\n" + "X: y\r\n" * 1000 + f"\r\nx\r\n{END}",
}
REFUSED = {
    "nothing": END,
    "no file": part("title", "x") + END,
    "two files": FILE + FILE + END,
    "unknown field": FILE + part("owner", "x") + END,
    "two titles": FILE + part("title", "x") + part("title", "y") + END,
    "title of blanks": FILE + part("title", " ") + END,
    "access with an unknown field": FILE + part("access", '{"groups":[]}') + END,
    "access of another type": FILE + part("access", '{"public":"yes"}') + END,
    "labels of another type": FILE + part("labels", "[1]") + END,
    "large fields": FILE + part("title", "x" * 70_000) + END,
    "many fields": FILE + part("labels", "x") * 100 + END,
}
NOT_JSON = {
    "access that is not JSON": FILE + part("access", "{") + END,
    "access with a duplicate key": FILE + part("access", '{"public":true,"public":false}') + END,
    "labels that are not JSON": FILE + part("labels", "[policies]") + END,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_form_is_refused_and_leaves_nothing(library: Library, body: str) -> None:
    answer = await library.call("ana", "POST", "/documents", content=body.encode(), headers=FORM)
    assert answer.status_code == 400, answer.text
    assert left() == []


@pytest.mark.parametrize("body", [*REFUSED.values()], ids=REFUSED)
async def test_form_with_wrong_fields_is_refused_and_leaves_nothing(
    library: Library, body: str
) -> None:
    answer = await library.call("ana", "POST", "/documents", content=body.encode(), headers=FORM)
    assert code_of(answer) == (422, "invalid_request"), answer.text
    assert "groups" not in answer.text
    assert "owner" not in answer.text
    assert left() == []


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_field_of_json_is_strict_and_the_error_names_it(library: Library, body: str) -> None:
    answer = await library.call("ana", "POST", "/documents", content=body.encode(), headers=FORM)
    assert code_of(answer) == (422, "invalid_request")
    [error] = answer.json()["errors"]
    assert error["loc"][-1] in {"access", "labels"}
    assert error["msg"].startswith("The field must be JSON, such as ")
    assert left() == []


@pytest.mark.parametrize(
    "body",
    [
        {"title": "A"},
        {"title": "A", "text": 1},
        {"title": "A", "text": "x", "owner": "eva"},
        {"title": "A", "text": "x", "access": {"groups": []}},
        {"title": "\u202e", "text": "x"},
        {"title": "A", "text": "x", "labels": ["\n"]},
        {"title": "A", "text": "x", "access": {"departments": ["\0"]}},
        [],
    ],
)
async def test_json_with_wrong_fields_is_refused(library: Library, body: object) -> None:
    answer = await library.call("ana", "POST", "/documents", json=body)
    assert answer.status_code in {400, 422}
    assert "owner" not in answer.text
    assert left() == []


async def test_file_is_bounded_by_the_bytes_that_arrive(library: Library) -> None:
    fits = await library.upload("ana", "x" * MIB)
    assert fits.status_code == 202
    answer = await library.upload("ana", "y" * (MIB + 1))
    assert code_of(answer) == (413, "body_too_large")
    assert answer.json()["detail"] == "The body is too large: the limit is 1 MiB."

    async def endless() -> AsyncGenerator[bytes]:
        yield part("file", "", file="a.md")[:-2].encode()
        while True:
            yield b"x" * 65536

    with suppress(httpx.TransportError):  # the connection is closed, perhaps before the answer
        answer = await library.call("ana", "POST", "/documents", content=endless(), headers=FORM)
        assert code_of(answer) == (413, "body_too_large")
    text = {"title": "A", "text": "x" * (MIB + 1)}
    answer = await library.call("ana", "POST", "/documents", json=text)
    assert code_of(answer) == (413, "body_too_large")
    assert left() == []


async def test_only_uploads_may_be_large(library: Library) -> None:
    large = {"query": "x" * 100_000}
    assert code_of(await library.call("ana", "POST", "/search", json=large))[0] == 413
    answer = await library.call("ana", "PATCH", "/documents/x", json={"title": "x" * 100_000})
    assert code_of(answer)[0] == 413
    answer = await library.call(
        "ana", "POST", "/documents", content=b"x" * 100_000, headers={"Content-Type": "image/png"}
    )
    assert code_of(answer)[0] in {413, 415}


async def test_upload_needs_a_caller_before_its_body(library: Library) -> None:
    reader, writer = await asyncio.open_connection(*library.service.url[7:].split(":"))
    writer.write(
        f"POST /documents HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n"
        f"Authorization: Bearer x\r\nContent-Type: {FORM['Content-Type']}\r\n"
        "Content-Length: 1000000\r\n\r\n".encode()
    )
    line = await asyncio.wait_for(reader.readline(), 5)
    assert b" 401 " in line
    writer.close()


async def test_client_that_leaves_in_the_middle_leaves_nothing(library: Library) -> None:
    _, writer = await asyncio.open_connection(*library.service.url[7:].split(":"))
    token = library.headers["ana"]["Authorization"]
    writer.write(
        f"POST /documents HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n"
        f"Authorization: {token}\r\nContent-Type: {FORM['Content-Type']}\r\n"
        f"Content-Length: 1000000\r\n\r\n{FILE[:-4]}".encode()
    )
    await writer.drain()
    for _ in range(500):
        if left():
            break
        await asyncio.sleep(0.01)
    assert left(), "it is being received"
    writer.close()
    await writer.wait_closed()
    for _ in range(500):
        if not left():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the file has stayed")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.md", "passwd.md"),
        ("C:\\temp\\a.md", "a.md"),
        ('quo"te.md', "quo_te.md"),
        ("año 日本.md", "a_o __.md"),
        ("a\u202egnp.md", "agnp.md"),
        ("", "Untitled"),
    ],
)
async def test_name_of_a_file_is_harmless(library: Library, name: str, shown: str) -> None:
    body = f"{part('file', f'# {name}', file=name.replace(chr(34), '%22'))}{END}"
    body = body.replace("%22", '\\"')
    answer = await library.call("ana", "POST", "/documents", content=body.encode(), headers=FORM)
    assert answer.status_code == 202, answer.text
    document_id = answer.json()["document"]["id"]
    content = await library.call("ana", "GET", f"/documents/{document_id}/content")
    disposition = content.headers["content-disposition"]
    assert f'filename="{shown}"' in disposition
    assert "\r" not in disposition


async def test_labels_are_given_one_by_one_or_together(library: Library) -> None:
    fields = part("labels", "One, two") + part("labels", "three") + part("labels", '["a, b"]')
    body = part("file", "Labelled.", file="a.md") + fields + END
    answer = await library.call("ana", "POST", "/documents", content=body.encode(), headers=FORM)
    assert answer.json()["document"]["labels"] == ["a, b", "one", "three", "two"]


async def test_text_with_lone_surrogates_is_refused(library: Library) -> None:
    raw = json.dumps({"title": "A", "text": "\ud800"}).encode()
    headers = {"Content-Type": "application/json"}
    answer = await library.call("ana", "POST", "/documents", content=raw, headers=headers)
    assert code_of(answer) == (400, "bad_request")
