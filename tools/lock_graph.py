"""Check that a lock holds everything its packages require on every platform; pip does not check.

Offline: what a package requires stands in the metadata of the one that is installed here. Packages
of another platform are not, so `ELSEWHERE` notes theirs.
"""

from collections.abc import Iterator
from functools import cache
from importlib import metadata
from itertools import product

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "async-timeout==5.0.1": (),
    "colorama==0.4.6": (),
    "httpx2-jsfetch==1.0": (),
    "tzdata==2026.6": (),
    "uvloop==0.23.0": (),
    "xllamacpp==2026.10.11549": (),  # of the lock that is installed in CI only
}
"""What the packages that some platform does without require, extras left out that nothing asks for.

`pip download --no-deps NAME==VERSION` brings the wheel; its METADATA says `Requires-Dist`.
"""

Environment = dict[str, str]
Pins = dict[str, list[tuple[str, str]]]
"""For each canonical name the versions that are pinned, each with its marker or an empty string."""

_PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0", "3.14.0", "3.15.0")
_IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"))
_PLATFORMS = (
    ("posix", "Linux", "linux", ("x86_64", "aarch64")),
    ("posix", "Darwin", "darwin", ("x86_64", "arm64")),
    ("nt", "Windows", "win32", ("AMD64", "ARM64")),
    ("posix", "Emscripten", "emscripten", ("wasm32",)),
)


def _environments() -> Iterator[Environment]:
    """Every combination of what the markers in use look at."""
    for python, (name, title), (os_name, system, sys_platform, machines) in product(
        _PYTHONS, _IMPLEMENTATIONS, _PLATFORMS
    ):
        for machine in machines:
            yield {
                "implementation_name": name,
                "implementation_version": python,
                "os_name": os_name,
                "platform_machine": machine,
                "platform_python_implementation": title,
                "platform_release": "",
                "platform_system": system,
                "platform_version": "",
                "python_full_version": python,
                "python_version": python.rpartition(".")[0],
                "sys_platform": sys_platform,
            }


ENVIRONMENTS = tuple(_environments())


def incomplete(requirements: list[str], pins: Pins) -> Iterator[str]:
    """Name each requirement of `requirements`, and of what they lead to, that no pin meets.

    Each is named once, however many platforms lack it.
    """
    found: dict[str, None] = {}
    for number in range(len(ENVIRONMENTS)):
        found |= dict.fromkeys(_walk(requirements, pins, number))
    yield from found


def _walk(requirements: list[str], pins: Pins, number: int) -> Iterator[str]:
    """What is wrong with the packages of one environment, beginning with `requirements`."""
    waiting = [(text, "pyproject.toml", "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        text, asker, extra = waiting.pop()
        requirement = _requirement(text)
        if not _applies(str(requirement.marker or ""), number, extra):
            continue
        name = canonicalize_name(requirement.name)
        versions = [v for v, marker in pins.get(name, ()) if _applies(marker, number, "")]
        if len(versions) != 1:
            problem = "is pinned more than once" if versions else "is missing"
            yield f"{text} {problem} on {_title(number)} (required by {asker})"
            continue
        if not requirement.specifier.contains(versions[0], prereleases=True):
            yield f"{text} is not met by {versions[0]} (required by {asker})"
        pin = f"{name}=={versions[0]}"
        required = _required(name, versions[0])
        if required is None:
            yield f"{pin} is not installed here: tools/lock_graph.py has to note what it requires"
        new = {(pin, each) for each in ("", *requirement.extras)} - seen
        seen |= new
        waiting += [(text, pin, each) for _, each in sorted(new) for text in required or ()]


@cache
def _required(name: str, version: str) -> tuple[str, ...] | None:
    """The requirements of that version, or None where they are not known."""
    try:
        if metadata.version(name) == version:
            return tuple(metadata.requires(name) or ())
    except metadata.PackageNotFoundError:
        pass
    return ELSEWHERE.get(f"{name}=={version}")


@cache
def _requirement(text: str) -> Requirement:
    return Requirement(text)


@cache
def _applies(marker: str, number: int, extra: str) -> bool:
    return not marker or _marker(marker).evaluate({**ENVIRONMENTS[number], "extra": extra})


@cache
def _marker(text: str) -> Marker:
    return Marker(text)


def _title(number: int) -> str:
    """How an environment is called in a message."""
    values = ENVIRONMENTS[number]
    return f"{values['platform_python_implementation']} {values['python_version']}, {values['sys_platform']}"
