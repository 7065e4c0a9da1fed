"""What a route or a dependency says about itself to the OpenAPI document.

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
    """The errors that a function raises, and a credential that it reads besides the surface's own.

    `token` is the name of a security scheme; unless `needs_token`, callers may omit it.
    """

    raises: tuple[type[ChatbotError], ...] = ()
    token: str | None = None
    needs_token: bool = False


def documented(
    *raises: type[ChatbotError], token: str | None = None, needs_token: bool = False
) -> Callable[[Function], Function]:
    """Decorates a route or a dependency; below the decorator of the router."""
    documentation = Documentation(raises=raises, token=token, needs_token=needs_token)

    def mark(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, documentation)
        return function

    return mark


def documentation_of(dependant: Dependant) -> Iterator[Documentation]:
    """Yields what a route and its dependencies say."""
    documentation = getattr(dependant.call, _ATTRIBUTE, None)
    if isinstance(documentation, Documentation):
        yield documentation
    for dependency in dependant.dependencies:
        yield from documentation_of(dependency)
