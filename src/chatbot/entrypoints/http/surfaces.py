"""A surface: the part of the API below one path prefix, with its own conventions.

The guard asks the surface of a path how callers authenticate, which bodies it accepts, how an
error looks and which paths are public.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.types import Scope

from chatbot.domain.assertions import AssertionKind
from chatbot.domain.identity import Principal, Source
from chatbot.entrypoints.http.body import BodyFormat
from chatbot.entrypoints.http.errors import ErrorDetails, ErrorFormat

Authenticate = Callable[[HTTPConnection], Awaitable[Principal]]
"""Returns the caller of a request, or raises `Rejected` or a domain error.

It runs before the body is received, and may await a look-up in the store.
"""


def source_of(scope: Scope) -> Source:
    """Returns where a request comes from."""
    client = scope.get("client")
    return Source(address=client[0] if client else "", request_id=scope["state"]["request_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Calls with larger bodies or other formats than the rest of their surface.

    `calls` matches the method and the path, such as `PUT /documents/x/content`.
    """

    calls: re.Pattern[str]
    bodies: tuple[BodyFormat, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One surface.

    `prefix` is empty for the native API, which has every path of no other surface. `public` lists
    the exact paths that need no credential. `assertion` is how applications name the person for
    whom they call, if they can.

    For the OpenAPI document: `security_schemes` by their names, `credential` is the name of the one
    that `authenticate` reads, and `credential_errors` are what it raises.
    """

    prefix: str
    authenticate: Authenticate
    errors: ErrorFormat
    bodies: tuple[BodyFormat, ...]
    security_schemes: Mapping[str, Mapping[str, str]]
    credential: str
    credential_errors: tuple[ErrorDetails, ...]
    assertion: AssertionKind | None = None
    public: frozenset[str] = frozenset()
    uploads: tuple[Uploads, ...] = ()
    routers: tuple[APIRouter, ...] = ()

    def bodies_of(self, method: str, path: str) -> tuple[BodyFormat, ...]:
        """Returns the formats of the bodies that a call may have."""
        for each in self.uploads:
            if each.calls.fullmatch(f"{method} {path}"):
                return each.bodies
        return self.bodies

    def has(self, path: str) -> bool:
        """Whether a path is the prefix or below it."""
        return not self.prefix or f"{path}/".startswith(f"{self.prefix}/")


class Surfaces:
    """All surfaces of an application; the longest prefix wins.

    Raises:
        ValueError: a route lies outside its surface, and would be guarded by another.
    """

    def __init__(self, surfaces: Iterable[Surface]) -> None:
        self._surfaces = sorted(surfaces, key=lambda surface: len(surface.prefix), reverse=True)
        for surface in self._surfaces:
            for route in iter_route_contexts([r for each in surface.routers for r in each.routes]):
                if self.of(route.path or "") is not surface:
                    raise ValueError(f"{route.path} is outside of its surface {surface.prefix!r}.")

    def of(self, path: str) -> Surface:
        """Returns the surface of a path."""
        return next(surface for surface in self._surfaces if surface.has(path))

    def __iter__(self) -> Iterator[Surface]:
        return iter(self._surfaces)
