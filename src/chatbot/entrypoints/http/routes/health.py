"""GET and HEAD of /health and /ready: for load balancers and uptime monitors, without a key."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from chatbot.domain.errors import ShuttingDown, StorageFailure, StorageUnavailable
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.base import Answer, example

router = APIRouter(tags=["health"])


class StatusAnswer(Answer):
    model_config = example({"status": "ok"})

    status: Literal["ok"] = Field(default="ok", description="Always `ok`.")


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> StatusAnswer:
    """Check that the process responds; the store and the model are not checked."""
    return StatusAnswer()


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
@documented(ShuttingDown, StorageUnavailable)
async def ready(use: UseCases) -> StatusAnswer:
    """Check that the service can take turns; the model itself is not called."""
    if use.chat.running.is_closing:
        raise ShuttingDown
    try:
        await use.storage.check()
    except StorageFailure as error:
        raise StorageUnavailable("The store cannot be written.") from error
    return StatusAnswer()
