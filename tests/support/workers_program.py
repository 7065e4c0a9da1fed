"""`chatbot serve` with workers as another system, or another fault, would have them.

    python tests/support/workers_program.py spawn ... --port 0   as on macOS and Windows: nothing is forked
    ... broken     no worker can start
    ... short      each ends as soon as it is ready
    ... stubborn   none ends when it is asked to

The arguments before `--port` are dropped, so the program can prefix `python -m chatbot`.
"""

import sys
import threading

from chatbot.entrypoints.commands import serve
from chatbot.entrypoints.commands.cli import main
from chatbot.entrypoints.server import supervisor
from chatbot.entrypoints.server.supervisor import ParentLink


def broken(*_: object) -> None:
    print("a worker begins", flush=True)  # noqa: T201 - the test counts them
    sys.exit(3)


def short(*given: ParentLink) -> None:
    *_, parent = given
    parent._link.send_bytes(supervisor._READY)


def stubborn(*given: ParentLink) -> None:
    *_, parent = given
    parent.watch(lambda: None)
    threading.Event().wait()


WORK = {"broken": broken, "short": short, "stubborn": stubborn}

if __name__ == "__main__":  # what is spawned imports this file
    if sys.argv[1] == "spawn":
        supervisor.START_METHOD = "spawn"
    else:
        serve._work, serve._WORKERS_STOP_WITHIN_S = WORK[sys.argv[1]], 1.0  # type: ignore[assignment] # none looks at all arguments
    main(["serve", *sys.argv[sys.argv.index("--port") :]])
