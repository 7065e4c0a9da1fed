"""Passages of a prompt, and their sentences as candidates for an answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from chatbot.adapters.llm.extractive.excerpts import Excerpt


class Passage(BaseModel):
    """A passage of the prompt; `n` is its number."""

    n: int
    title: str = ""
    heading: str = ""
    text: str = ""

    @property
    def above(self) -> str:
        """What stands above its text."""
        return f"{self.title} {self.heading}"


Found = Mapping[str, float]
"""How well each word of the question is found, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence that may answer. `own` is what is found in it, `found` also around it."""

    passage: Passage
    excerpt: Excerpt
    at: int
    stems: tuple[str, ...]
    own: Found
    found: Found

    @property
    def n(self) -> int:
        """The number of its passage."""
        return self.passage.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate with its score, and the share of the question that it covers.

    `is_subject`: it begins with what the question is about.
    """

    candidate: Candidate
    score: float
    covered: float
    is_other_year: bool
    is_subject: bool
