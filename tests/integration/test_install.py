"""`python tasks.py install` brings `.venv` to the lock from any state, despite interruptions."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import wheels
from process import STARTS_WITHIN_S
from programs import unavailable

ROOT = Path(__file__).resolve().parents[2]
INSTALL = (sys.executable, "tasks.py", "install", "--base", "--pip")
OLDEST_PIP = {(3, 11): "23.0.1", (3, 12): "23.2.1"}
"""The pip of a `.venv` on an outdated Python; later ones include a pip after 23.3."""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "wheels"
backend-path = ["."]
[project]
name = "project"
version = "1.0"
"""


class Project:
    """A folder with tasks.py, a lock, and the only wheels that its pip can find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offered = folder / "offered"
        self.environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.offered)}
        self.offered.mkdir()
        (folder / "src" / "chatbot").mkdir(parents=True)
        (folder / "src" / "chatbot" / "__init__.py").touch()
        (folder / "pyproject.toml").write_text(PYPROJECT, "utf-8")
        shutil.copy(ROOT / "tasks.py", folder)
        shutil.copy(wheels.__file__, folder)
        for name in ("requirements.lock", "requirements-dev.lock"):
            (folder / name).touch()

    def lock(self, *packages: Path) -> None:
        (self.folder / "requirements.lock").write_text(wheels.locked(*packages), "utf-8")

    def install(self) -> "subprocess.CompletedProcess[str]":
        return self.run(*INSTALL)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    @property
    def python(self) -> str:
        name = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        return str(self.folder / ".venv" / name)

    def printed(self, code: str) -> str:
        """The output of the Python of `.venv`."""
        ran = self.run(self.python, "-c", code)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if importlib.util.find_spec("ensurepip") is None:
        unavailable("this Python has no ensurepip: `apt install python3-venv`")
    return Project(tmp_path)


def lock_of(package: str) -> str:
    """The part of requirements.lock for this package and its dependencies."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    blocks = dict(re.findall(r"^(([\w.-]+)==.*?)(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL))
    users = {
        name: set(re.findall(r"^ +#(?: via)? +(\S+)", text, re.MULTILINE))
        for text, name in blocks.items()
    }
    wanted: set[str] = set()
    found = {package}
    while found > wanted:
        wanted = found
        found = wanted | {name for name in users if users[name] & wanted}
    return "".join(text for text, name in blocks.items() if name in wanted)


def test_old_pip_installs_from_the_lock_while_newer_releases_are_on_offer(project: Project) -> None:
    """Dotpromptz requires `pydantic[email]`, which an old pip would resolve itself."""
    wheels.write_wheel(project.offered, "pydantic", "999.0", "Provides-Extra: email")
    (project.folder / "requirements.lock").write_text(lock_of("dotpromptz"), "utf-8")
    del project.environment["PIP_NO_INDEX"]
    project.run(sys.executable, "-m", "venv", ".venv")
    if version := OLDEST_PIP.get(sys.version_info[:2]):
        ran = project.run(project.python, "-m", "pip", "install", f"pip=={version}")
        if ran.returncode:
            unavailable(f"pip {version} cannot be had: {ran.stderr}")

    ran = project.install()

    assert ran.returncode == 0, ran.stderr
    assert "No broken" in project.run(project.python, "-m", "pip", "check").stdout
    assert project.printed("import pydantic; print(pydantic.VERSION)") in lock_of("pydantic")


def test_second_install_has_nothing_to_do(project: Project) -> None:
    assert project.install().stdout.endswith("installed\n")
    assert project.install().stdout == ""


def test_failed_install_prints_the_error_of_pip_and_the_fix(project: Project) -> None:
    package = wheels.write_wheel(project.offered, "package", "1.0")
    project.lock(package)
    wheels.write_wheel(project.offered, "package", "1.0", text="other = True")

    ran = project.install()

    assert ran.returncode == 1
    assert ran.stderr.startswith("tasks.py: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")
    assert "\nFix: the registry or a cache holds other files than the lock: " in ran.stderr

    package.unlink()
    ran = project.install()

    assert ran.stderr.startswith("tasks.py: ERROR: Could not find a version that satisfies")
    assert "package==1.0" in ran.stderr
    assert "\nFix: cannot reach the package registry: check the network" in ran.stderr


def test_lock_that_lacks_a_requirement_is_not_installed(project: Project) -> None:
    project.lock(wheels.write_wheel(project.offered, "package", "1.0", "Requires-Dist: lacking"))

    ran = project.install()

    assert ran.returncode == 1
    assert "package 1.0 requires lacking, which is not installed" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_killed_install_is_completed_by_the_next_install(project: Project) -> None:
    """The pip of a killed tasks.py keeps running: the next install waits for it."""
    project.lock(wheels.write_wheel(project.offered, "package", "1.0"))
    hold = project.folder / wheels.HOLD
    hold.touch()
    killed = subprocess.Popen(INSTALL, cwd=project.folder, env=project.environment)
    try:
        module = wait_for(project.folder / ".venv", "package.py")
        killed.kill()
        killed.wait()
        module.unlink()  # as when pip is killed, too, between two files of a package
        after = subprocess.Popen(INSTALL, cwd=project.folder, env=project.environment)
        with pytest.raises(subprocess.TimeoutExpired):
            after.wait(0.5)
    finally:
        hold.unlink()

    assert after.wait(STARTS_WITHIN_S) == 0
    assert project.printed("import package; print(package.__name__)") == "package"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_update_that_ctrl_c_interrupted_is_finished_by_the_next_install(project: Project) -> None:
    project.lock(wheels.write_wheel(project.offered, "package", "1.0", text="version = 1"))
    assert project.install().returncode == 0
    project.lock(wheels.write_wheel(project.offered, "package", "2.0", text="version = 2"))
    hold = project.folder / wheels.HOLD
    hold.touch()
    updating = subprocess.Popen(
        INSTALL, cwd=project.folder, env=project.environment, start_new_session=True
    )
    try:
        wait_for(project.folder, wheels.HELD.name)
        if sys.platform != "win32":  # which mypy does not read from the mark
            os.killpg(updating.pid, signal.SIGINT)  # as a terminal does: to pip as well
        assert updating.wait(STARTS_WITHIN_S) == 130
    finally:
        hold.unlink()
    half = next(project.folder.rglob("package.py"))
    half.unlink()  # as when it came between two files of a package

    ran = project.install()

    assert ran.returncode == 0, ran.stderr
    assert project.printed("import package; print(package.version)") == "2"
    assert project.install().stdout == ""


def wait_for(folder: Path, name: str) -> Path:
    """The file of that name below the folder, once it exists."""
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        with suppress(FileNotFoundError):  # a folder that the installer removes meanwhile
            if found := next(folder.rglob(name), None):
                return found
        time.sleep(0.02)
    pytest.fail(f"no {name} below {folder}")


def test_updated_lock_is_installed_over_the_one_before(project: Project) -> None:
    one = wheels.write_wheel(project.offered, "one", "1.0", text="version = 1")
    left = wheels.write_wheel(project.offered, "left", "1.0", "Requires-Dist: one<2")
    project.lock(one, left)
    assert project.install().returncode == 0

    two = wheels.write_wheel(project.offered, "one", "2.0", text="version = 2")
    project.lock(two)  # `left` is no longer needed, and does not fit the new release

    assert project.install().returncode == 0
    assert project.printed("import one; print(one.version)") == "2"
