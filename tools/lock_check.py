"""Does pyproject.toml agree with its locks? Offline: `python tools/lock_check.py`, in `make check`."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from lock_graph import Pins, incomplete

ROOT = Path(__file__).resolve().parents[1]
BASE, POSTGRES, DEV, PROVIDERS = LOCKS = tuple(
    f"requirements{which}.lock" for which in ("", "-postgres", "-dev", "-providers")
)
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(\s*;\s*(?P<marker>[^\\]*?))?(\s+--hash=sha256:[0-9a-f]{64})+\s*"
)


def problems(root: Path) -> Iterator[str]:
    """Say what stands in the way of installing the project in `root` from its locks alone."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    base = [*project["dependencies"], *groups["build"]]
    extras = project["optional-dependencies"]
    postgres = [*base, *(text for extra in extras.values() for text in extra)]
    dev = [*postgres, *groups["dev"]]

    pins: dict[str, Pins] = {}
    locked = {BASE: base, POSTGRES: postgres, DEV: dev, PROVIDERS: groups["providers"]}
    for name, requirements in locked.items():
        lock = (root / name).read_text(encoding="utf-8")
        pins[name] = read_pins(lock)
        found = [*loose_lines(lock), *incomplete(requirements, pins[name])]
        yield from (f"{name}: {text}" for text in found)
    for small, large in ((BASE, POSTGRES), (POSTGRES, DEV)):
        for name, versions in pins[small].items():
            if pins[large].get(name) != versions:
                yield f"{large}: {name} is not at the version of {small}"


def read_pins(lock: str) -> Pins:
    """Return the versions of each name, with their markers: more than one where platforms differ."""
    pins: Pins = {}
    for line in statements(lock):
        if pin := PIN.fullmatch(line):
            version = (pin["version"], pin["marker"] or "")
            pins.setdefault(canonicalize_name(pin["name"]), []).append(version)
    return pins


def loose_lines(lock: str) -> Iterator[str]:
    """Lines that let an installer choose, or that send it to an address."""
    yield from (f"holds an address: {line[:60]}" for line in lock.splitlines() if "://" in line)
    for line in statements(lock):
        if not PIN.fullmatch(line):
            yield f"is not pinned with hashes: {line.strip()[:60]}"


def statements(lock: str) -> list[str]:
    """The lock without comments, each requirement on one line with its hashes."""
    text = re.sub(r"(?m)^\s*#.*$", "", lock).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def main() -> int:
    found = list(problems(ROOT))
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write("the locks need `python tasks.py lock`\n" if found else "Locks: ok\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
