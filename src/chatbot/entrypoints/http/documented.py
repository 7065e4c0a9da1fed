"""Documents the errors and credentials of routes and dependencies for OpenAPI.

The document collects it along the dependencies of a route, so that a signature such as
`user: CurrentUser` also documents the security and the errors that come with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from fastapi.dependencies.models import Dependant

from chatbot.domain.errors import ChatbotError

_ATTRIBUTE = "__documentation__"

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Documentation:
    """The errors that a function raises, and credentials that it reads besides the surface's own.

    `tokens` are names of security schemes, of which callers use one; unless `needs_token`, they may
    omit it.
    """

    raises: tuple[type[ChatbotError], ...] = ()
    tokens: tuple[str, ...] = ()
    needs_token: bool = False


def documented(
    *raises: type[ChatbotError], tokens: tuple[str, ...] = (), needs_token: bool = False
) -> Callable[[Function], Function]:
    """Decorates a route or a dependency; below the decorator of the router."""
    documentation = Documentation(raises=raises, tokens=tokens, needs_token=needs_token)

    def mark(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, documentation)
        return function

    return mark


def documentation_of(dependant: Dependant) -> Iterator[Documentation]:
    """Yields the documentation of a route and its dependencies."""
    documentation = getattr(dependant.call, _ATTRIBUTE, None)
    if isinstance(documentation, Documentation):
        yield documentation
    for dependency in dependant.dependencies:
        yield from documentation_of(dependency)
