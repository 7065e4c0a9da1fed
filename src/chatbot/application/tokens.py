"""Estimates tokens from bytes, and corrects the estimate by the usage that a provider reports."""

from chatbot.domain.ports.model import Completion, ModelRequest, Usage

_FIRST_TOKENS_PER_BYTE = 1 / 3  # conservative: 4 bytes per token is typical of Latin scripts
_MOST_BYTES_PER_TOKEN = 8  # single tokens can be longer, but not on average
_MOST_TOKENS_AROUND_A_MESSAGE = 16  # the chat template's role, start and end


class TokenEstimator:
    """Estimates tokens from UTF-8 bytes and learns from the usage that the provider reports."""

    def __init__(self) -> None:
        self._tokens_per_byte = _FIRST_TOKENS_PER_BYTE

    def tokens(self, *texts: str) -> int:
        """Return the estimated number of tokens of the texts."""
        return self.tokens_of_bytes(sum(len(text.encode()) for text in texts))

    def tokens_of_bytes(self, size: int) -> int:
        """Return the estimated number of tokens of this many bytes of UTF-8."""
        return round(size * self._tokens_per_byte)

    def learn(self, request: ModelRequest, reported_tokens: int) -> None:
        """Correct the estimate by the reported tokens, unless they are implausible for its bytes."""
        size = request.size
        most = size + _MOST_TOKENS_AROUND_A_MESSAGE * len(request.texts)
        if size / _MOST_BYTES_PER_TOKEN <= reported_tokens <= most:
            seen = min(reported_tokens / max(size, 1), 1.0)
            self._tokens_per_byte += (seen - self._tokens_per_byte) / 10

    def usage(self, request: ModelRequest, completion: Completion) -> Usage:
        """Return the reported usage; the counts that the provider does not report are estimated.

        `estimated` is set if one of the two counts is an estimate.
        """
        reported = completion.usage or Usage(input_tokens=0, output_tokens=0)
        is_complete = reported.input_tokens > 0 and (
            reported.output_tokens > 0 or not completion.text
        )
        return Usage(
            input_tokens=reported.input_tokens or self.tokens(*request.texts),
            output_tokens=reported.output_tokens or self.tokens(completion.text),
            estimated=not is_complete,
        )
