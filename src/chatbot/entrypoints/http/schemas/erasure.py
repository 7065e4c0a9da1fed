"""The receipt of an erasure."""

from typing import Self

from pydantic import Field

from chatbot.domain.erasure import Receipt
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.schemas.base import UPDATED_AT, Answer, Body, Json, example

RECEIPT: Json = {
    "receipt_id": "5f0c6f0e8d5a4f4e9a1c2b3d4e5f6071",
    "erased": {
        "counters": 12,
        "memories": 3,
        "messages": 48,
        "refresh_families": 2,
        "sessions": 4,
        "users": 1,
    },
    "at": UPDATED_AT,
    "mac": "9b5f3a7c" * 8,
}


class ErasureBody(Body):
    model_config = example({"password": "the password that make run printed"})

    password: str = Field(
        description="The caller's password.", json_schema_extra={"format": "password"}
    )


class ReceiptAnswer(Answer):
    """What was erased. `chatbot audit receipt FILE` checks it."""

    model_config = example(RECEIPT)

    receipt_id: str = Field(
        description="The id of the receipt, which is also recorded in the audit."
    )
    erased: dict[str, int] = Field(description="The number of erased objects, by kind.")
    at: str = Field(description="When the erasure was complete (RFC 3339, UTC).")
    mac: str = Field(
        description="A signature (HMAC-SHA-256) that only this service can make, with its `AUDIT_KEY`."
    )

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls(
            receipt_id=receipt.receipt_id,
            erased=dict(receipt.erased),
            at=rfc3339(receipt.at),
            mac=receipt.mac,
        )


class ErasedAnswer(Answer):
    """The answer of a call that erases a person."""

    model_config = example({"deleted": True, "receipt": RECEIPT})

    deleted: bool = Field(default=True, description="Always true.")
    receipt: ReceiptAnswer = Field(description="The receipt, which lists what was erased.")
