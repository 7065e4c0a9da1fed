"""`local/extractive`: answers by rules, offline, where no language model is connected."""

from chatbot.adapters.llm.extractive.model import NAME, answer, define_extractive

__all__ = ["NAME", "answer", "define_extractive"]
