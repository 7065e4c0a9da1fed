"""The use cases of the application that serves a request."""

from typing import Annotated, cast

from fastapi import Depends, Request

from chatbot.entrypoints import container


async def _use_cases(request: Request) -> container.UseCases:
    """Runs on the event loop: FastAPI would call a plain function in a thread."""
    return use_cases_of(request)


def use_cases_of(request: Request) -> container.UseCases:
    """Returns the use cases, for other dependencies."""
    return cast("container.UseCases", request.app.state.use_cases)


UseCases = Annotated[container.UseCases, Depends(_use_cases)]
