"""The port to the provider of the model, for choosing the model and for the doctor."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from chatbot.domain.errors import ModelFailure


class ModelProvider(Protocol):
    """An OpenAI-compatible provider. Blocks; may be used inside of an event loop."""

    deployment: str | None
    """The model that the base URL itself names, as Azure's may."""
    has_deployments: bool
    """Whether models have names of the customer's own, which are not in the provider's list."""

    @abstractmethod
    def served_models(self) -> Sequence[str]:
        """Returns the ids of the chat models that the provider lists.

        Raises:
            ModelFailure: the provider does not answer, or not with a list.
        """

    @abstractmethod
    def can_chat(self, model_id: str) -> bool:
        """Whether a model of this name is taken for a chat model."""

    @abstractmethod
    def has_no_list(self, error: ModelFailure) -> bool:
        """Whether the provider answered but has no list of models, or an unreadable one."""

    @abstractmethod
    def explain(self, error: ModelFailure) -> str:
        """Returns one line about what failed between here and the provider, and the fix."""

    @abstractmethod
    def proxy(self) -> str | None:
        """Returns the address of the proxy on the way, and the variable that names it.

        Raises:
            ModelUnavailable: the variable is invalid; the message names the fix.
        """
