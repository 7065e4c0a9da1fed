"""llama.cpp's server, from the wheel `xllamacpp`, with a tiny model: a third-party provider.

As a program it serves the model that it is given, until it is ended or its standard input closes.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from programs import unavailable
from tiny_model import write_tiny_model

MODEL = "tiny"
CONTEXT_TOKENS = 32_768
INSTALL = "python tasks.py install --providers"


@contextmanager
def llama_server(folder: Path, *, embeds: bool = False) -> Iterator[str]:
    """The server's base address; the model is written to `folder`. If it `embeds`, it only does that."""
    if find_spec("xllamacpp") is None:
        unavailable(f"there is no xllamacpp: `{INSTALL}`")
    model = folder / f"{MODEL}.gguf"
    write_tiny_model(model, context_tokens=CONTEXT_TOKENS)
    command = [sys.executable, __file__, str(model), *(["embeds"] if embeds else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        (folder / "llama.log").open("wb") as log,
        subprocess.Popen(command, **pipes, stderr=log, text=True) as process,
    ):
        assert process.stdout
        try:
            address = next((line for line in process.stdout if line.startswith("http")), None)
            assert address, (folder / "llama.log").read_text("utf-8", "replace")[-2000:]
            yield address.strip()
        finally:
            process.kill()


def _serve(model: str, *, embeds: bool) -> None:
    llama: Any = import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path, params.model_alias = model, {MODEL}
    params.n_ctx, params.n_parallel, params.port = CONTEXT_TOKENS, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if embeds:
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.warmup, params.endpoint_slots = False, True
    server = llama.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 - the tests read it
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1], embeds="embeds" in sys.argv)
