"""Worker processes: started, replaced when they die, and stopped together.

Each worker has a pipe to the parent. Over it the worker reports that it is ready, and both learn
from the kernel when the other has died. So a worker needs no signal to stop, and none outlives a
parent that was killed.

uvicorn's own supervisor would restart a failing worker again and again without a pause, wait for
each to stop without a time limit, always exit with 0, and leave its workers behind when it
is killed.
"""

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe, wait
from multiprocessing.process import BaseProcess
from threading import Thread

import structlog
from uvicorn.server import HANDLED_SIGNALS

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Link
else:
    from multiprocessing.connection import Connection as Link

logger = structlog.get_logger("chatbot.workers")

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""A fork shares what the parent has imported. macOS has libraries that do not survive a fork
(CPython's issue 77906), Windows has no fork.
"""

_TICK_S = 0.2
_SHORT_LIFE_S = 30.0
"""A worker that lives for less is replaced after a pause of 1 s, which then doubles each time."""
_LONGEST_PAUSE_S = 30.0
_READY = b"ready"


def stop_signals() -> tuple[int, ...]:
    """The signals for a clean shutdown, including the closing of the terminal.

    Signals that are ignored, as under `nohup`, are left alone.
    """
    hangup = getattr(signal, "SIGHUP", None)  # not available on Windows
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return HANDLED_SIGNALS
    return (*HANDLED_SIGNALS, hangup)


class WorkerFailed(Exception):
    """No worker could start, or one did not stop and was killed."""


class ParentLink:
    """The parent, seen from its worker. The worker that replaces one has its `number`."""

    def __init__(self, link: Link, inherited: Iterable[Link], *, number: int) -> None:
        self.number = number
        self._link = link
        for end in inherited:  # the parent's: left open here, they would hide its death
            end.close()

    def watch(self, stop: Callable[[], None]) -> None:
        """Report that this worker is ready; call `stop` when the parent asks for it or has died."""
        Thread(target=self._watch, args=[stop], name="parent", daemon=True).start()

    def _watch(self, stop: Callable[[], None]) -> None:
        with suppress(OSError, EOFError):
            self._link.send_bytes(_READY)
            self._link.recv_bytes()  # returns when the parent closes its end or dies
        stop()


Work = Callable[[ParentLink], None]


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    link: Link
    number: int
    started_at: float
    is_ready: bool = False


class Supervisor:
    """A number of processes that run the same work until a signal arrives.

    Args:
        work: what each process runs until its parent stops it. With `spawn` it must be picklable.
    """

    def __init__(self, work: Work, count: int, *, stop_within_s: float) -> None:
        self._work, self._count, self._stop_within_s = work, count, stop_within_s
        self._context = multiprocessing.get_context(START_METHOD)
        self._alive: list[_Worker] = []
        self._is_stopping = False
        self._pause_s = self._start_at = 0.0

    def run(self, *, on_stop: Callable[[], None]) -> None:
        """Keep them running; on a signal, call `on_stop` and wait until they have stopped.

        Raises:
            WorkerFailed: none can start, or one had to be killed at the end.
        """
        for number in stop_signals():
            signal.signal(number, self._stop)
        try:
            while not self._is_stopping:
                self._start_missing()
                self._handle_messages()
        finally:
            on_stop()
            killed = self._stop_all()
        if killed:
            raise WorkerFailed(
                f"{killed} workers did not stop within {self._stop_within_s:g} s and were killed"
            )

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _start_missing(self) -> None:
        if time.monotonic() >= self._start_at:
            while len(self._alive) < self._count:
                self._start()

    def _start(self) -> None:
        link, its_link = Pipe()
        inherited = [*(worker.link for worker in self._alive), link]
        taken = {worker.number for worker in self._alive}
        number = next(n for n in range(self._count) if n not in taken)
        process = self._context.Process(  # type: ignore[attr-defined] # all contexts have it
            target=_run_worker,
            args=(self._work, number, its_link, inherited if START_METHOD == "fork" else ()),
        )
        process.start()
        its_link.close()
        self._alive.append(_Worker(process, link, number, time.monotonic()))

    def _handle_messages(self) -> None:
        """Wait briefly for messages from the workers."""
        links = {worker.link: worker for worker in self._alive}
        if not links:  # Windows cannot wait for an empty list
            time.sleep(_TICK_S)
            return
        for link in wait(links, _TICK_S):
            worker = links[link]  # type: ignore[index] # `wait` returns some of them
            if _reported_ready(worker):
                worker.is_ready = True
            else:
                self._reap(worker)

    def _reap(self, worker: _Worker) -> None:
        """Log the end of a worker, and schedule its replacement.

        Raises:
            WorkerFailed: it was never ready, and no other worker is.
        """
        self._alive.remove(worker)
        code = _exit_code_of(worker)
        if self._is_stopping:
            return
        if not (worker.is_ready or any(other.is_ready for other in self._alive)):
            raise WorkerFailed(f"a worker could not start (exit code {code})")
        lived_s = time.monotonic() - worker.started_at
        is_short = lived_s < _SHORT_LIFE_S or not worker.is_ready
        self._pause_s = min(max(1.0, 2 * self._pause_s), _LONGEST_PAUSE_S) if is_short else 0.0
        self._start_at = time.monotonic() + self._pause_s
        logger.warning(
            "a worker has ended and is being replaced",
            worker=worker.process.pid,
            exit_code=code,
            pause_s=self._pause_s,
        )

    def _stop_all(self) -> int:
        """Ask all to stop; returns how many had to be killed."""
        for worker in self._alive:
            worker.link.close()
        deadline = time.monotonic() + self._stop_within_s
        for worker in self._alive:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        late = [worker.process for worker in self._alive if worker.process.is_alive()]
        for process in late:
            process.kill()
            process.join()
        return len(late)


def _run_worker(work: Work, number: int, link: Link, inherited: Iterable[Link]) -> None:
    """Runs in the worker. A signal that arrives too early to be handled is left to the parent."""
    for each in stop_signals():
        signal.signal(each, signal.SIG_IGN)
    work(ParentLink(link, inherited, number=number))


def _reported_ready(worker: _Worker) -> bool:
    try:
        return worker.link.recv_bytes() == _READY
    except (OSError, EOFError):
        return False


def _exit_code_of(worker: _Worker) -> int | None:
    """Kill a worker that no longer responds and has not ended; returns its exit code."""
    worker.link.close()
    worker.process.join(_TICK_S)
    worker.process.kill()
    worker.process.join()
    return worker.process.exitcode
