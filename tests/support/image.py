"""The steps of the Dockerfile, run in an empty folder where no container engine is available.

Paths of the image stand for ones below that folder; the base image is a new virtual environment
of this Python. What only a container has (Debian's packages of the base, namespaces of its own) is
not seen by this.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM, DATA = "/opt/chatbot", "/var/lib/chatbot"
USER = "10001:10001"
if sys.platform == "win32":
    USER_HERE = ""
else:
    USER_HERE = f"{os.geteuid()}:{os.getegid()}"
IS_ROOT = USER_HERE.startswith("0:")
CONFINED = """\
mount --bind {root} {root} && mount --bind {data} {data} && mount -o remount,ro,bind {root} &&
mount -o remount,ro,bind / && exec setpriv --reuid {uid} --regid {gid} --clear-groups \
--no-new-privs --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search "$@"
"""
"""A read-only tree but for the volume, and a user who may read all, as this Python's own folders
may be closed to others, and write nothing of it."""


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its words."""
    joined = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ")
    for line in filter(str.strip, joined.splitlines()):
        name, _, words = line.partition(" ")
        yield name, words.strip()


def sent_to_the_build() -> list[str]:
    """The files that .dockerignore admits; its first rule excludes everything."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    first, *rules = (line for line in lines if not line.startswith("#"))
    assert first == "*"
    return [rule.removeprefix("!") for rule in rules if rule.startswith("!")]


@dataclass
class Image:
    """The image built below `root`, and how it is started."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    commands: dict[str, list[str]] = field(default_factory=dict)

    def here(self, words: str) -> str:
        """The same words about the folder; where the tests are no root, this user does it all."""
        if not IS_ROOT:
            words = words.replace(USER, USER_HERE)
        return words.replace(PROGRAM, f"{self.root}{PROGRAM}").replace(DATA, f"{self.root}{DATA}")

    def path(self, path: str) -> Path:
        return self.root / (Path(self.folder) / path).relative_to("/")

    def confined(self) -> tuple[str, ...]:
        """What a container does to a command that stands behind this; only root can do it here."""
        if not IS_ROOT:
            return ()
        uid, gid = self.user.split(":")
        script = CONFINED.format(root=self.root, data=self.path(DATA), uid=uid, gid=gid)
        return ("unshare", "--mount", "sh", "-c", script, "sh")


def build(folder: Path) -> Image:
    """Run every step of the Dockerfile."""
    for name in sent_to_the_build():
        copy(ROOT / name, folder / "context" / name)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "base")], check=True)
    image = Image(folder / "root")
    for name, words in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        match name:
            case "FROM":
                image = begin_stage(folder)
            case "RUN":
                run(image, words)
            case "COPY":
                copy_in(image, folder, *words.split())
            case "WORKDIR":
                image.folder = words
                image.path(".").mkdir(parents=True, exist_ok=True)
            case "ENV":
                pairs = (image.here(word).partition("=") for word in shlex.split(words))
                image.environment |= {key: value for key, _, value in pairs}
            case "USER":
                image.user = words
            case "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                image.commands[name] = json.loads(words[words.index("[") :])
            case _:
                assert name in {"ARG", "VOLUME", "EXPOSE"}, name
    return image


def begin_stage(folder: Path) -> Image:
    """Start a stage, which contains nothing of earlier stages until it is copied."""
    if (folder / "root").exists():
        (folder / "root").rename(folder / "stage")
    (folder / "root/var/lib").mkdir(parents=True)
    return Image(folder / "root", {"PATH": f"{folder}/base/bin:/usr/bin:/bin"})


def run(image: Image, words: str) -> None:
    about_the_network = ("PIP_", "HTTP", "http", "SSL_")  # as a build's own arguments would be
    environment = {k: v for k, v in os.environ.items() if k.startswith(about_the_network)}
    subprocess.run(
        ["sh", "-ec", image.here(words)],
        cwd=image.path("."),
        env=environment | image.environment,
        check=True,
    )


def copy_in(image: Image, folder: Path, *words: str) -> None:
    *sources, target = words
    if sources[0].startswith("--from="):
        image.path(target).parent.mkdir(parents=True, exist_ok=True)
        (folder / "stage" / sources[1].lstrip("/")).rename(image.path(target))
        return
    for source in sources:
        name = source if target.endswith("/") else ""
        copy(folder / "context" / source, image.path(target) / name)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
