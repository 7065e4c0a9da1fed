"""/docs works without a network, from files in the package, under a strict policy."""

import subprocess
import sys
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest

import browser
from browser import Page, chromium
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints import web
from service import API_KEY, Service, serving, settings_for_tests

ROOT = Path(__file__).resolve().parents[2]
STATIC = Path(str(web.__file__)).parent / "static"
SWAGGER_UI = STATIC / "swagger-ui"
OWN_NOTES = {"SHA256SUMS", "SOURCE.txt"}

TYPES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/page.css": "text/css; charset=utf-8",
    "/docs/initializer.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
POLICY = {
    *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
    *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
}
CHAT = "#operations-chat-chat_chat"
ANSWER = f"{CHAT} .live-responses-table"


def test_swagger_ui_is_as_published_with_its_licence() -> None:
    lines = (SWAGGER_UI / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {file.name: file.read_bytes() for file in SWAGGER_UI.iterdir()}
    assert {"LICENSE", "NOTICE"} <= listed.keys()
    assert found.keys() == listed.keys() | OWN_NOTES
    assert {name: sha256(found[name]).hexdigest() for name in listed} == listed


def test_the_wheel_holds_every_file_of_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    files = [file for file in STATIC.rglob("*") if file.is_file()]
    with zipfile.ZipFile(wheel) as export:
        for file in files:
            name = file.relative_to(ROOT / "src").as_posix()
            assert export.read(name) == file.read_bytes(), name
    assert len(files) == 10


async def test_files_have_their_media_type_and_policy_and_can_be_revalidated() -> None:
    async with serving(model=ScriptedModel([])) as service:
        for path, media_type in TYPES.items():
            answer = await service.anonymous.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == media_type
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert set(answer.headers["content-security-policy"].split("; ")) == POLICY
            assert answer.headers["cache-control"] == "public, no-cache"
            known = {"If-None-Match": answer.headers["etag"]}
            again = await service.anonymous.get(path, headers=known)
            assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/docs/", "/docs/SHA256SUMS", "/docs/swagger-ui.css.map", "/docs/oauth2-redirect"),
        *("/docs/page.html", "/docs/..%2fdocs%2fpage.html", "/DOCS", "/docs//page.css"),
    ],
)
async def test_other_files_of_the_package_are_not_served(path: str) -> None:
    async with serving(model=ScriptedModel([])) as service:
        anonymous = await service.anonymous.get(path)
        with_key = await service.client.get(path)
    assert (anonymous.status_code, with_key.status_code) == (401, 404)


@pytest.mark.parametrize(
    ("root_path", "target"), [("", "/docs"), ("/assistant", "/assistant/docs")]
)
async def test_root_redirects_to_the_page(root_path: str, target: str) -> None:
    settings = settings_for_tests(root_path=root_path)
    async with serving(settings, model=ScriptedModel([])) as service:
        for method in ("GET", "HEAD"):
            answer = await service.anonymous.request(method, "/")
            assert (answer.status_code, answer.headers["location"]) == (307, target)


async def test_root_is_404_when_the_page_is_disabled() -> None:
    settings = settings_for_tests(docs_enabled=False)
    async with serving(settings, model=ScriptedModel([])) as service:
        answer = await service.anonymous.get("/")
    assert answer.status_code == 404


class Addresses(HTMLParser):
    """The URLs in `src` and `href` of a page, except `data:` URLs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        named = [str(value) for name, value in attrs if name in {"src", "href"}]
        self.found += [address for address in named if not address.startswith("data:")]


async def test_page_finds_its_files_below_a_root_path() -> None:
    settings = settings_for_tests(root_path="/assistant/")
    async with serving(settings, model=ScriptedModel([])) as service:
        page = Addresses()
        page.feed((await service.anonymous.get("/docs")).text)
        document = (await service.anonymous.get("/openapi.json")).json()
    found = {urljoin("/assistant/docs", address) for address in page.found}
    assert found == {f"/assistant{path}" for path in [*TYPES, "/openapi.json"]} - {
        "/assistant/docs"
    }
    assert document["servers"] == [{"url": "/assistant"}]


@asynccontextmanager
async def docs_open(folder: Path, *, width: int) -> AsyncGenerator[tuple[Service, Page]]:
    """The page over a real service; checks that it logged no error and contacted only the service."""
    browser.chromium_program()  # without one, no service is started for nothing
    async with serving() as service, chromium(folder) as page:
        await page.open(f"{service.url}/docs", width=width)
        await page.text(".info .title")
        yield service, page
        strangers = [one for one in page.requests if not one.startswith((service.url, "data:"))]
        assert (page.complaints, strangers) == ([], [])


OPEN_AT_ONCE = 8


async def authorize(page: Page, token: str) -> None:
    await page.click("button.authorize")
    for field, secret in {"#api_key_value": API_KEY, "#auth-bearer-value": token}.items():
        await page.type(field, secret)
        await page.click(f".auth-container:has({field}) button.authorize")
    await page.click(".close-modal")


async def test_authorize_and_try_it_out_make_a_real_turn(tmp_path: Path) -> None:
    async with docs_open(tmp_path, width=1280) as (service, page):
        await service.add_admin()
        bearer = await service.bearer()
        await authorize(page, bearer["Authorization"].removeprefix("Bearer "))
        await page.click(f"{CHAT} .opblock-summary-control")
        await page.click(f"{CHAT} .try-out__btn")
        await page.click(f"{CHAT} .execute")
        status = await page.text(f"{ANSWER} .response .response-col_status")
        answer = await page.text(f"{ANSWER} .microlight")
        await page.screenshot(tmp_path / "answer.png")
        sessions = (await service.client.get("/sessions", headers=bearer)).json()["sessions"]

        await page.choose(f"{CHAT} .responses-inner select.content-type", "text/event-stream")
        await page.click(f"{CHAT} .btn-clear")
        await page.click(f"{CHAT} .execute")
        stream = f"document.querySelector('{ANSWER} .microlight')?.innerText"
        await page.wait_for(f"{stream}?.includes('event: done')")
    assert status.strip() == "200"
    assert "Noted, Ana:" in answer
    assert [(one["message_count"], one["session_id"] in answer) for one in sessions] == [(2, True)]


async def test_colours_follow_those_of_the_system(tmp_path: Path) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    seen = []
    async with docs_open(tmp_path, width=1280) as (_, page):
        for scheme in ("light", "dark", "light"):
            await page.prefer(scheme)
            await page.screenshot(tmp_path / f"{scheme}.png")
            seen.append(await page.run(background))
    light, dark, again = seen
    assert light == again
    assert dark == "rgb(28, 32, 34)"


async def test_every_call_fits_on_a_narrow_screen(tmp_path: Path) -> None:
    async with docs_open(tmp_path, width=400) as (_, page):
        await page.wait_for("document.querySelectorAll('.opblock').length >= 16")
        calls = await page.run("document.querySelectorAll('.opblock').length")
        widths = []
        for first in range(0, calls, OPEN_AT_ONCE):
            some = (
                f"[...document.querySelectorAll('.opblock')].slice({first}, {first + OPEN_AT_ONCE})"
            )
            toggle = (
                f"{some}.forEach((one) => one.querySelector('.opblock-summary-control').click())"
            )
            await page.run(toggle)
            await page.wait_for(f"{some}.every((one) => one.querySelector('.response'))")
            widths.append(await page.run("document.documentElement.scrollWidth"))
            await page.screenshot(tmp_path / "narrow.png")
            await page.run(toggle)
    assert max(widths) <= 400
