"""Adapters of the llm ports."""

from chatbot.adapters.llm.lazy_sdk_types import import_sdk_types_lazily

import_sdk_types_lazily()  # before any module of this package imports the SDK
