"""Schemas of sign-ins and of the current user."""

from typing import Literal

from pydantic import Field

from chatbot.entrypoints.http.schemas.base import Answer, Body, example


class LoginBody(Body):
    model_config = example(
        {"email": "admin@example.com", "password": "the password that make run printed"}
    )

    email: str = Field(description="The user's e-mail address. Case is ignored.")
    password: str = Field(
        description="The user's password.", json_schema_extra={"format": "password"}
    )


_EXAMPLE = "0f4c9d2b7a6e4815b3c2d1e0f9a8b7c6.1.c2lnbmF0dXJlIG9mIHRoaXMgcmVmcmVzaCB0b2tlbiE"


class RefreshBody(Body):
    model_config = example({"refresh_token": _EXAMPLE})

    refresh_token: str = Field(description="The newest `refresh_token` of the sign-in.")


class LogoutBody(Body):
    model_config = example({"refresh_token": _EXAMPLE})

    refresh_token: str | None = Field(
        default=None,
        description="A `refresh_token` of the sign-in to end. Default: the sign-in of the access token.",
    )


class LogoutAnswer(Answer):
    model_config = example({"logged_out": True})

    logged_out: Literal[True] = Field(default=True, description="Always true.")


class PasswordBody(Body):
    model_config = example(
        {
            "current_password": "the password that make run printed",
            "new_password": "four unrelated words in a row",
        }
    )

    current_password: str = Field(
        description="The user's current password, which may be a one-time password.",
        json_schema_extra={"format": "password"},
    )
    new_password: str = Field(
        description="The new password: 15 to 128 characters, not easy to guess.",
        json_schema_extra={"format": "password"},
    )


class TokenAnswer(Answer):
    model_config = example(
        {
            "access_token": "eyJhbGci.eyJzdWIi.c2lnbmF0",
            "token_type": "bearer",
            "expires_in": 3600,
            "refresh_token": _EXAMPLE,
            "refresh_expires_in": 1209600,
        }
    )

    access_token: str = Field(
        description="The access token. Send it in the header `Authorization: Bearer TOKEN`."
    )
    token_type: Literal["bearer"] = Field(
        default="bearer", description="The type of the token (RFC 6750)."
    )
    expires_in: int = Field(description="The lifetime of the access token, in seconds.")
    refresh_token: str = Field(
        description="The refresh token. Exchange it once at `POST /auth/refresh` for a new pair."
    )
    refresh_expires_in: int = Field(description="The lifetime of the refresh token, in seconds.")


class MeAnswer(Answer):
    model_config = example(
        {
            "id": "5f0c6a1e9d5b4f0e8f6b1d2c3a4b5c6d",
            "email": "admin@example.com",
            "roles": ["admin"],
            "department": "",
            "is_active": True,
        }
    )

    id: str = Field(description="The id of the user.")
    email: str = Field(description="The user's e-mail address, in lower case.")
    roles: list[str] = Field(description="The names of the user's roles.")
    department: str = Field(description="The user's department; may be empty.")
    is_active: bool = Field(description="False if the user is disabled.")
