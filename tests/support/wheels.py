"""Wheels that tests build, and a build backend that builds one from its project."""

import hashlib
import time
import zipfile
from pathlib import Path

HOLD = Path("hold")
"""A build waits while this file exists in the project's folder."""
HELD = Path("held")
"""Written by a waiting build, when the packages of the lock are installed."""


def write_wheel(folder: Path, name: str, version: str, *headers: str, text: str = "") -> Path:
    """Write a wheel with one module `name` that holds `text`; `headers` join its METADATA."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = ("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers, "")
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": "\n".join(lines),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(file), content)  # no time of its own: the same hash
    return path


def locked(*wheels: Path) -> str:
    """The lines of a lock that pins these wheels."""
    lines = []
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """The hook of PEP 660: the project's wheel."""
    del config_settings, metadata_directory
    while HOLD.exists():
        HELD.touch()
        time.sleep(0.02)
    return write_wheel(Path(wheel_directory), "project", "1.0").name
