"""Citation marks, such as `[2]`: found while an answer arrives, and removed if they cite nothing.

A mark names a passage of the prompt, or several, as in `[1, 3]`. Brackets in code, such as `a[0]`
between backticks, are not marks.
"""

import re
from collections.abc import Collection, Iterator

_MARK = r"\[[0-9]{1,3}(?:, ?[0-9]{1,3}){0,9}\]"
_TOKEN = re.compile(rf"`+|\n| ?{_MARK}")
_HELD = re.compile(r"(?:`+| ?\[(?:[0-9]{1,3}(?:, ?[0-9]{1,3}){0,9}(?:, ?)?)?| )\Z")
_OPEN = re.compile(r"\[[0-9, ]{0,50}\Z")
_NUMBER = re.compile("[0-9]+")
_TAIL_CHARS = 60
_FENCE = 3


class Marks:
    """Parses an answer piece by piece, and yields its text and the valid marks.

    `known` are the numbers of the passages. The text is the same however it is split: a mark that
    may go on in the next piece is held back until then.
    """

    def __init__(self, known: Collection[int]) -> None:
        self._known = known
        self._held = ""
        self._code = 0
        self._tail = ""

    def feed(self, piece: str) -> Iterator[str | int]:
        """Yield text, and after a mark the numbers of its passages."""
        text = self._held + piece
        held = _HELD.search(text)
        self._held = held[0] if held else ""
        return self._read(text.removesuffix(self._held))

    def end(self) -> Iterator[str | int]:
        """Yield what was held back."""
        text, self._held = self._held, ""
        return self._read(text)

    def _read(self, text: str) -> Iterator[str | int]:
        at, plain = 0, ""
        for found in _TOKEN.finditer(text):
            plain += text[at : found.start()]
            at = found.end()
            numbers = self._numbers(found[0])
            if numbers is None:
                plain += found[0]
                continue
            plain += self._kept(found[0], numbers, plain)
            if numbers:
                yield self._noted(plain)
                yield from numbers
                plain = ""
        if plain := plain + text[at:]:
            yield self._noted(plain)

    def _numbers(self, found: str) -> list[int] | None:
        """The known numbers of a mark; None if it is something else."""
        if found == "\n":
            self._code = self._code if self._code >= _FENCE else 0
            return None
        if found.startswith("`"):
            self._code = self._after(len(found))
            return None
        if self._code:
            return None
        named = dict.fromkeys(map(int, _NUMBER.findall(found)))
        return [each for each in named if each in self._known]

    def _after(self, backticks: int) -> int:
        """The length of the open run of backticks after another one."""
        if not self._code:
            return backticks
        is_closed = backticks == self._code or backticks >= self._code >= _FENCE
        return 0 if is_closed else self._code

    def _kept(self, mark: str, numbers: list[int], before: str) -> str:
        """Return what remains of a mark. Removing one must not create another from its neighbours."""
        if numbers:
            return f"{' ' if mark[0] == ' ' else ''}[{', '.join(map(str, numbers))}]"
        return "  " if _OPEN.search(self._tail + before) else ""

    def _noted(self, text: str) -> str:
        self._tail = (self._tail + text)[-_TAIL_CHARS:]
        return text


def without_marks(text: str) -> str:
    """Return a text without citation marks."""
    if "[" not in text:
        return text
    marks = Marks(())
    pieces = [*marks.feed(text), *marks.end()]
    return "".join(each for each in pieces if isinstance(each, str))
