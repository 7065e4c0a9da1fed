"""`chatbot serve` with workers as another system, or another fault, would have them.

    python tests/workers_program.py spawn ... --port 0   as on macOS and Windows: nothing is forked
    ... broken     no worker can start
    ... short      each ends as soon as it is ready
    ... stubborn   none ends when it is told to

What stands before `--port` is left out, so that it can be put in front of `python -m chatbot`.
"""

import sys
import threading

from chatbot.entrypoints.cli import main
from chatbot.entrypoints.http import server, workers
from chatbot.entrypoints.http.workers import Parent


def broken(*_: object) -> None:
    print("a worker begins", flush=True)  # noqa: T201 - the test counts them
    sys.exit(3)


def short(_: object, __: object, parent: Parent) -> None:
    parent._link.send_bytes(workers._READY)


def stubborn(_: object, __: object, parent: Parent) -> None:
    parent.heed(lambda: None)
    threading.Event().wait()


WORK = {"broken": broken, "short": short, "stubborn": stubborn}

if __name__ == "__main__":  # what is spawned imports this file
    if sys.argv[1] == "spawn":
        workers.START_METHOD = "spawn"
    else:
        server._work, server._WORKERS_STOP_WITHIN_S = WORK[sys.argv[1]], 1.0  # type: ignore[assignment] # none looks at all arguments
    main(["serve", *sys.argv[sys.argv.index("--port") :]])
