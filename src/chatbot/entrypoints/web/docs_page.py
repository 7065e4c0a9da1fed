"""GET /docs: the API documentation, where calls can be tried out. It works offline.

`/` redirects there.

Swagger UI is part of this package (static/swagger-ui), the page around it is our own: it has no
inline script, so that a strict Content-Security-Policy works. URLs in it are relative.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

_STATIC = Path(__file__).parent / "static"

_FILES: Mapping[str, tuple[str, str]] = {  # not guessed: Windows may register .js as plain text
    "/docs": ("docs/page.html", "text/html"),
    "/docs/page.css": ("docs/page.css", "text/css"),
    "/docs/initializer.js": ("docs/initializer.js", "text/javascript"),
    "/docs/swagger-ui.css": ("swagger-ui/swagger-ui.css", "text/css"),
    "/docs/swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js", "text/javascript"),
}

_METHODS = ["GET", "HEAD"]
PATHS = frozenset(_FILES) | {"/", "/openapi.json"}

_HEADERS: Mapping[str, str] = {
    "Cache-Control": "public, no-cache",  # cached, and revalidated by its ETag
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


def router(root_path: str = "") -> APIRouter:
    """Serves the page, its assets, and the OpenAPI document, below `root_path` if set."""

    async def front() -> RedirectResponse:
        return RedirectResponse(f"{root_path}/docs")

    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/", front, methods=_METHODS)
    for path, (name, media_type) in _FILES.items():
        routes.add_api_route(path, _file(name, media_type), methods=_METHODS)
    routes.add_api_route("/openapi.json", _openapi, methods=_METHODS)
    return routes


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def file(request: Request) -> Response:
        content, etag = _read(name)
        headers = {**_HEADERS, "ETag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return file


@cache
def _read(name: str) -> tuple[bytes, str]:
    content = (_STATIC / name).read_bytes()
    return content, f'"{sha256(content).hexdigest()}"'


async def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())
