"""Who may call: the API key, and the users' access tokens."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from chatbot.entrypoints.settings.secret_strength import check_secret
from chatbot.entrypoints.settings.subject import File, Subject


def _checked(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value())
    return secret


StrongSecret = Annotated[SecretStr, AfterValidator(_checked)]


class AuthSettings(Subject):
    """API_KEY and JWT_..."""

    api_key: StrongSecret
    api_key_file: File | None = None
    jwt_secret: StrongSecret
    jwt_secret_file: File | None = None
    jwt_ttl_minutes: int = Field(default=60, ge=1, le=60 * 24)
