"""The program that forks a process for each file, with Python and the readers loaded already.

It reads no file itself. It is controlled by a socket, its standard input: a message names a reader
and the signature of its files, and carries the file and a pipe for the answer. The reply is how the
process of that file has ended.
"""

import importlib
import os
import socket
import struct
from contextlib import suppress

from chatbot.adapters.extraction import child, confinement

STATUS = struct.Struct(">i")
"""The exit code of the process of a file; negative: the signal that has ended it."""
_LONGEST_REQUEST = 1024
_FAILED = 1


def serve(ocr_program: str) -> None:
    """Fork a process for each request until the service closes its end of the socket."""
    confinement.die_with_parent()
    confinement.leave_network()
    with socket.socket(fileno=0) as control:
        while True:
            request, files, _, _ = socket.recv_fds(control, _LONGEST_REQUEST, 2)  # type: ignore[attr-defined,unused-ignore] # not on Windows
            if not request:
                return
            reader, _, signature = request.decode().partition(" ")
            control.sendall(STATUS.pack(_read_by_fork(reader, signature, ocr_program, files)))


def _read_by_fork(reader: str, signature: str, ocr_program: str, files: list[int]) -> int:
    with suppress(Exception):  # the process of the file fails, too, and says so
        importlib.import_module(f"{__package__}.{reader.partition(':')[0]}")
    pid = os.fork()  # type: ignore[attr-defined,unused-ignore] # not on Windows
    if not pid:
        _end_after_reading(reader, signature, ocr_program, files)
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _end_after_reading(reader: str, signature: str, ocr_program: str, files: list[int]) -> None:
    """Read the file, and end this process in any case. It has no way to the socket."""
    code = _FAILED
    try:
        for standard, file in enumerate(files):
            os.dup2(file, standard)
            os.close(file)
        child.main(reader, signature, ocr_program)
        code = 0
    finally:
        os._exit(code)
