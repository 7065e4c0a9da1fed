"""A language model of a few kilobytes in the file format of llama.cpp (GGUF), for tests.

It has the architecture of Llama and random weights, but for two dimensions that make it useful:
it says words of a short list without end, and after `{` it says `}` and stops. So free text ends by
its limit, and an answer that has to be a JSON object is `{}`.
"""

import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

WORDS = ("hola", "buenos", "dias", "señora", "el", "contrato", "termina", "mañana")
_WIDTH, _HEADS, _FEED_FORWARD = 32, 2, 64
_AFTER_BRACE, _AFTER_END = 1, 2  # dimensions; 0 is on for every token
_STRONG = 12.0
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_UNKNOWN, _BEGIN, _END = range(3)
_NORMAL_TYPE, _UNKNOWN_TYPE, _CONTROL_TYPE, _BYTE_TYPE = 1, 2, 3, 6
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant:"
)


def write_tiny_model(path: Path, *, context_tokens: int) -> None:
    """Write the model; <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>."""
    tokens = _tokens()
    tensors = _tensors([text for text, _ in tokens])
    entries = _entries(tokens, context_tokens)
    infos, data, offset = [], [], 0
    for name, shape, values in tensors:
        sizes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        infos.append(_text(name) + struct.pack("<I", len(shape)) + sizes)
        infos[-1] += struct.pack("<IQ", 0, offset)  # 0: float32
        data.append(_padded(struct.pack(f"<{len(values)}f", *values)))
        offset += len(data[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    path.write_bytes(_padded(head + b"".join(entries) + b"".join(infos)) + b"".join(data))


def _tokens() -> list[tuple[str, int]]:
    """Each token with its type: special tokens, all bytes, ASCII characters, words."""
    special = [("<unk>", _UNKNOWN_TYPE), ("<s>", _CONTROL_TYPE), ("</s>", _CONTROL_TYPE)]
    raw = [(f"<0x{byte:02X}>", _BYTE_TYPE) for byte in range(256)]
    characters = [(chr(code), _NORMAL_TYPE) for code in range(33, 127)] + [("▁", _NORMAL_TYPE)]
    return [*special, *raw, *characters, *((f"▁{word}", _NORMAL_TYPE) for word in WORDS)]


def _tensors(tokens: Sequence[str]) -> list[tuple[str, tuple[int, ...], list[float]]]:
    dice = random.Random(4711)

    def noise(*shape: int, scale: float = 0.02) -> tuple[tuple[int, ...], list[float]]:
        count = 1
        for size in shape:
            count *= size
        return shape, [dice.gauss(0, scale) for _ in range(count)]

    shape, embedding = noise(len(tokens), _WIDTH, scale=0.1)
    _, output = noise(len(tokens), _WIDTH, scale=0.1)
    for row, token in enumerate(tokens):
        start, is_word = row * _WIDTH, token[1:] in WORDS
        bias = 0.0 if is_word else -_STRONG if len(token) == 1 else -2 * _STRONG
        embedding[start : start + 3] = [1.0, float(token == "{"), float(token == "}")]
        output[start : start + 3] = [bias, 0.0, 0.0]
    output[tokens.index("}") * _WIDTH + _AFTER_BRACE] = 4 * _STRONG
    output[_END * _WIDTH + _AFTER_END] = 4 * _STRONG
    ones = ((_WIDTH,), [1.0] * _WIDTH)
    sizes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (_WIDTH, _WIDTH))
    sizes |= dict.fromkeys(("ffn_gate", "ffn_up"), (_FEED_FORWARD, _WIDTH))
    sizes["ffn_down"] = (_WIDTH, _FEED_FORWARD)
    return [
        ("token_embd.weight", shape, embedding),
        ("output.weight", shape, output),
        ("output_norm.weight", *ones),
        *((f"blk.0.{name}.weight", *ones) for name in ("attn_norm", "ffn_norm")),
        *((f"blk.0.{name}.weight", *noise(*size)) for name, size in sizes.items()),
    ]


def _entries(tokens: Sequence[tuple[str, int]], context_tokens: int) -> list[bytes]:
    numbers = {
        "llama.context_length": context_tokens,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": _FEED_FORWARD,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _HEADS,
        "llama.rope.dimension_count": _WIDTH // _HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.unknown_token_id": _UNKNOWN,
        "tokenizer.ggml.bos_token_id": _BEGIN,
        "tokenizer.ggml.eos_token_id": _END,
    }
    texts = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "llama",
        "tokenizer.chat_template": _TEMPLATE,
    }
    scores = struct.pack(f"<{len(tokens)}f", *(-float(len(text)) for text, _ in tokens))
    types = struct.pack(f"<{len(tokens)}i", *(kind for _, kind in tokens))
    return [
        *(_entry(name, _STRING, _text(text)) for name, text in texts.items()),
        *(_entry(name, _UINT32, struct.pack("<I", number)) for name, number in numbers.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", _FLOAT32, struct.pack("<f", 1e-5)),
        _entry("tokenizer.ggml.add_bos_token", _BOOL, b"\1"),
        _array("tokenizer.ggml.tokens", _STRING, len(tokens), map(_text, (t for t, _ in tokens))),
        _array("tokenizer.ggml.scores", _FLOAT32, len(tokens), [scores]),
        _array("tokenizer.ggml.token_type", _INT32, len(tokens), [types]),
    ]


def _entry(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _array(name: str, kind: int, count: int, values: Iterable[bytes]) -> bytes:
    return _entry(name, _ARRAY, struct.pack("<IQ", kind, count) + b"".join(values))


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(raw: bytes) -> bytes:
    return raw + b"\0" * (-len(raw) % _ALIGNMENT)
