"""/search: passages of the documents that the caller may read."""

from chatbot.domain.errors import Forbidden, InvalidInput
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.search import PassageAnswer, SearchAnswer, SearchBody

router = routing.router(tag="documents")


@router.post("/search")
@documented(Forbidden, InvalidInput)
async def search(body: SearchBody, caller: Caller, use: UseCases) -> SearchAnswer:
    """Search the documents that the caller may read."""
    found = await use.document_search.passages(
        caller, body.query, limit=body.limit, labels=body.labels
    )
    return SearchAnswer(passages=[PassageAnswer.of(each) for each in found])
