"""Uploads, in any form of the body. They are received once the caller is known."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from chatbot.application.document_files import NewDocument, Upload
from chatbot.domain.errors import Forbidden, InvalidInput, StorageFull, UnsupportedDocument
from chatbot.domain.identity import Principal
from chatbot.entrypoints.container import use_cases
from chatbot.entrypoints.http import strict_json
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.json_body import decoded_json
from chatbot.entrypoints.http.schemas.documents import AccessBody, DocumentBody, TextBody
from chatbot.entrypoints.http.uploads import (
    JSON,
    ReceivedForm,
    TemporaryFile,
    receive_file,
    receive_form,
    temporary_file,
)

Model = TypeVar("Model", bound=BaseModel)
_RAISES = (Forbidden, InvalidInput, StorageFull, UnsupportedDocument)
_FORM_FIELDS = ("file", "title", "access", "labels")
_FORM_EXAMPLES = {"access": '{"departments": ["sales"]}', "labels": '["policies"]'}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedDocument:
    """A new document, as received."""

    new: NewDocument
    upload: Upload


@documented(*_RAISES)
async def _document(
    request: Request, caller: Caller, use: UseCases
) -> AsyncGenerator[ReceivedDocument]:
    async with _begun(caller, use) as file:
        content_type = request.headers.get("content-type", "")
        if _media_type(content_type) == JSON:
            yield await _from_json(request, file)
        else:
            form = await receive_form(request.stream(), file, content_type=content_type)
            yield await _from_form(form)


NewUpload = Annotated[ReceivedDocument, Depends(_document)]
"""A new document: a form with a file, or a text in JSON."""


@documented(*_RAISES)
async def _version(request: Request, caller: Caller, use: UseCases) -> AsyncGenerator[Upload]:
    async with _begun(caller, use) as file:
        content_type = request.headers.get("content-type", "")
        match _media_type(content_type):
            case "application/json":
                body = await _decoded(request, file, TextBody)
                yield await _text(file, body.text, body.media_type)
            case "multipart/form-data":
                form = await receive_form(request.stream(), file, content_type=content_type)
                _require_fields(form, _FORM_FIELDS[:1])
                yield _file_of(form)
            case media_type:
                yield await receive_file(request.stream(), file, media_type=media_type)


NewContent = Annotated[Upload, Depends(_version)]
"""A new version: a form with a file, a text in JSON, or any other body as the file itself."""


def _begun(caller: Principal, use: use_cases.UseCases) -> Any:  # noqa: ANN401
    use.document_uploads.require_uploading(caller)
    return temporary_file(max_bytes=use.settings.documents.max_bytes)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


async def _from_json(request: Request, file: TemporaryFile) -> ReceivedDocument:
    body = await _decoded(request, file, DocumentBody)
    upload = await _text(file, body.text, body.media_type)
    access, labels = body.access.to_access(), tuple(body.labels)
    return ReceivedDocument(
        new=NewDocument(title=body.title, access=access, labels=labels), upload=upload
    )


async def _from_form(form: ReceivedForm) -> ReceivedDocument:
    _require_fields(form, _FORM_FIELDS)
    upload = _file_of(form)
    access = AccessBody()
    if raw := _only(form.fields, "access"):
        access = _validated(AccessBody, _json_in("access", raw), "access")
    labels: list[str] = []
    for raw in form.fields.get("labels", []):
        labels += _labels(raw)
    new = NewDocument(
        title=_only(form.fields, "title") or None,
        access=access.to_access(),
        labels=tuple(labels),
    )
    return ReceivedDocument(new=new, upload=upload)


def _json_in(name: str, raw: str) -> object:
    """Return the value of a field.

    Raises:
        InvalidInput: it is not strict JSON.
    """
    try:
        return strict_json.decode(raw.encode())
    except strict_json.NotStrictJson:
        message = f"The field must be JSON, such as {_FORM_EXAMPLES[name]}."
        raise InvalidInput(message, where=(name,)) from None


def _labels(raw: str) -> Sequence[str]:
    """Returns the labels in a field: a JSON list of texts, or texts with commas between them."""
    if not raw.lstrip().startswith("["):
        return [each for each in raw.split(",") if each.strip()]
    found = _json_in("labels", raw)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidInput("Each label must be a string.", where=("labels",))
    return found


def _require_fields(form: ReceivedForm, known: Sequence[str]) -> None:
    if not form.fields.keys() <= {*known}:
        raise InvalidInput(f"Unknown field. Allowed: {', '.join(known)}.")


def _only(fields: Mapping[str, Sequence[str]], name: str) -> str:
    values = fields.get(name, [""])
    if len(values) > 1:
        raise InvalidInput("The field must occur only once.", where=(name,))
    return values[0]


def _file_of(form: ReceivedForm) -> Upload:
    if form.file is None:
        raise InvalidInput("The form must contain a file.", where=("file",))
    return form.file


async def _decoded(request: Request, file: TemporaryFile, model: type[Model]) -> Model:
    """Returns a body of JSON, which may be as large as a file: decoded in a thread."""
    received = await receive_file(request.stream(), file, media_type=JSON)

    def decode() -> Model:
        return _validated(model, decoded_json(received.path.read_bytes()))

    return await asyncio.to_thread(decode)


def _validated(model: type[Model], value: object, *where: str) -> Model:
    """Returns the value as a schema, or raises what FastAPI raises for a body."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        names = ", ".join(model.model_fields)
        raise RequestValidationError([_problem(each, where, names) for each in found]) from None


def _problem(found: Mapping[str, Any], where: Sequence[str], names: str) -> dict[str, Any]:
    """Returns an error without the name of an unknown field, which is input."""
    if found["type"] != "extra_forbidden":
        return {**found, "loc": ("body", *where, *found["loc"])}
    message = f"Unknown field. Allowed: {names}."
    return {"type": "value_error", "loc": ("body", *where, *found["loc"][:-1]), "msg": message}


async def _text(file: TemporaryFile, text: str, media_type: str) -> Upload:
    file.restart()
    file.add(text.encode())
    await file.flush(at_end=True)
    return file.upload(media_type=media_type, is_text=True)
