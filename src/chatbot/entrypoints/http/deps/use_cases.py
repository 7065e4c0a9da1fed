"""The use cases of the application that serves a request."""

from typing import Annotated, cast

from fastapi import Depends, Request

from chatbot.entrypoints.container import use_cases


async def _use_cases(request: Request) -> use_cases.UseCases:
    """Runs on the event loop: FastAPI would call a plain function in a thread."""
    return use_cases_of(request)


def use_cases_of(request: Request) -> use_cases.UseCases:
    """Returns the use cases, for other dependencies."""
    return cast("use_cases.UseCases", request.app.state.use_cases)


UseCases = Annotated[use_cases.UseCases, Depends(_use_cases)]
