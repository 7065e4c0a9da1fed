"""Schemas of people, as administrators see them."""

from typing import Self

from pydantic import Field

from chatbot.application.people import Person, UserPage
from chatbot.application.user_changes import KEEP, NewUser, UserChange
from chatbot.application.user_passwords import WithPassword
from chatbot.entrypoints.http.cursor import write_text_cursor
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    UPDATED_AT,
    Answer,
    Body,
    Json,
    Moment,
    example,
    is_none,
)

USER_ID = "5f0c6a1e9d5b4f0e8f6b1d2c3a4b5c6d"
_EMAIL = "eva@example.com"
_ENDS = "2026-12-31T23:59:59.000000Z"
_ONE_TIME = "7KQ2MX9RT4WB6HD8NC3VPZ5F"
_USER: Json = {
    "id": USER_ID,
    "email": _EMAIL,
    "roles": ["employee"],
    "department": "Sales",
    "is_active": True,
    "created_at": CREATED_AT,
    "last_login_at": UPDATED_AT,
    "expires_at": _ENDS,
    "has_password": True,
    "source": "local",
}


class UserAnswer(Answer):
    model_config = example(_USER)

    id: str = Field(description="The id of the user.")
    email: str = Field(description="The e-mail address, in lower case.")
    roles: list[str] = Field(description="The names of the user's roles.")
    department: str = Field(description="The user's department; may be empty.")
    is_active: bool = Field(description="False if the user is disabled.")
    created_at: str = Field(description="When the user was created (RFC 3339, UTC).")
    last_login_at: str | None = Field(
        description="When the user last logged in, accurate to a minute (RFC 3339, UTC); null for never."
    )
    expires_at: str | None = Field(
        description="When the user expires, which has the same effect as being disabled (RFC 3339, UTC); "
        "null for never."
    )
    has_password: bool = Field(description="Whether the user can log in with a password.")
    source: str = Field(
        description="`local`, or `assertion` if the user was created when an application first acted "
        "for them."
    )

    @classmethod
    def of(cls, person: Person) -> Self:
        return cls.model_validate(person.shown())


class UserWithPasswordAnswer(UserAnswer):
    model_config = example({**_USER, "one_time_password": _ONE_TIME})

    one_time_password: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="24 characters, valid for 7 days and not shown again. The user logs in with it and "
        "then sets a password with `POST /me/password`. Absent if the request contained a password.",
    )

    @classmethod
    def created(cls, made: WithPassword) -> Self:
        one_time = {"one_time_password": made.one_time_password}
        return cls.model_validate(Person(user=made.user).shown() | one_time)


class OneTimePasswordAnswer(Answer):
    model_config = example({"one_time_password": _ONE_TIME})

    one_time_password: str = Field(
        description="24 characters, valid for 7 days and not shown again."
    )

    @classmethod
    def of(cls, made: WithPassword) -> Self:
        return cls(one_time_password=made.one_time_password or "")


class LoggedOutAnswer(Answer):
    model_config = example({"id": USER_ID, "logged_out": True})

    id: str = Field(description="The id of the user.")
    logged_out: bool = Field(default=True, description="Always true.")


class UsersAnswer(Answer):
    model_config = example({"users": [_USER], "next": "ZXZhQGV4YW1wbGUuY29t"})

    users: list[UserAnswer] = Field(description="A page of users, sorted by e-mail address.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )

    @classmethod
    def of(cls, page: UserPage) -> Self:
        users = [UserAnswer.of(each) for each in page.people]
        return cls(users=users, next=write_text_cursor(page.next))


class NewUserBody(Body):
    model_config = example(
        {"email": _EMAIL, "roles": ["employee"], "department": "Sales", "expires_at": _ENDS}
    )

    email: str = Field(max_length=1000, description="The e-mail address for logging in.")
    roles: list[str] = Field(max_length=1000, description="The names of the user's roles.")
    department: str = Field(
        max_length=1000,
        description="The user's department: 1 to 100 characters. If the department already has people, its "
        "existing spelling is used.",
    )
    expires_at: Moment | None = Field(
        default=None, description="When the user expires (RFC 3339); null for never."
    )
    password: str | None = Field(
        default=None,
        description="The user's password. Default: a one-time password is generated.",
        json_schema_extra={"format": "password"},
    )

    def to_new_user(self) -> NewUser:
        return NewUser(
            email=self.email,
            roles=self.roles,
            department=self.department,
            expires_at=self.expires_at,
            password=self.password,
        )


class UserChangeBody(Body):
    """Fields that are left out stay unchanged."""

    model_config = example({"department": "Support", "is_active": True, "expires_at": None})

    email: str = Field(default="", max_length=1000, description="The new e-mail address.")
    roles: list[str] = Field(default=[], max_length=1000, description="The new roles.")
    department: str = Field(default="", max_length=1000, description="The new department.")
    is_active: bool = Field(default=True, description="False disables the user.")
    expires_at: Moment | None = Field(
        default=None, description="When the user expires (RFC 3339); null for never."
    )

    def to_change(self) -> UserChange:
        given = self.model_fields_set
        return UserChange(
            email=self.email if "email" in given else None,
            roles=self.roles if "roles" in given else None,
            department=self.department if "department" in given else None,
            is_active=self.is_active if "is_active" in given else None,
            expires_at=self.expires_at if "expires_at" in given else KEEP,
        )
