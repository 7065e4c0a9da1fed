"""Calls to the operating system."""

import platform
import subprocess
import sys

import pytest

_HASHES = """
import secrets
from argon2.low_level import Type, hash_secret
from chatbot.entrypoints.server.malloc import return_large_blocks

def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

assert return_large_blocks()
before, kept = resident_kib(), []
for _ in range(5):
    hash_secret(b"password", b"s" * 16, time_cost=1, memory_cost=19_456, parallelism=1, hash_len=32, type=Type.ID)
    kept.append(bytearray(300_000))
print(resident_kib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give them back")
def test_memory_of_password_hashes_goes_back_to_the_system() -> None:
    measured = subprocess.run(
        [sys.executable, "-c", _HASHES], capture_output=True, encoding="utf-8", check=True
    )
    assert int(measured.stdout) < 10_000
