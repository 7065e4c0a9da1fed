"""The settings of the audit."""

from pydantic import ConfigDict, Field

from chatbot.entrypoints.settings.subject import Subject


class AuditSettings(Subject):
    """AUDIT_...: where events go besides the store, and how long they stay in it."""

    model_config = ConfigDict(alias_generator="audit_{}".format)

    stdout: bool = False
    retention_days: int = Field(default=0, ge=0, le=36_500)
