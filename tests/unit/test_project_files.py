"""The files around the code: locks, examples, tasks.py."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

import lock_check
import lock_graph
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.storage.codec import codec
from chatbot.domain.identity import User
from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.entrypoints.settings.loading import SECRETS, setting_names
from chatbot.entrypoints.settings.secret_strength import check_secret

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", *lock_check.LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text, re.MULTILINE)
    path.write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE), encoding="utf-8")


def test_locks_fit_pyproject(project: Path) -> None:
    assert list(lock_check.problems(project)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        (lock_check.BASE, r"^email-validator==[^ ]+( \\\n    --hash=\S+)+\n", "", "(required by pydantic=="),
        (lock_check.BASE, r"^dnspython==[^ ]+( \\\n    --hash=\S+)+\n", "", "(required by email-validator=="),
        (lock_check.BASE, r"^colorama==[^ ]+ ;", "colorama==0.4.6 ; python_version < '3' and", "win32 (required by typer=="),
        (lock_check.BASE, r"^(uvloop==\S+) ; .*win32'", r"\1 ; sys_platform == 'linux'", "CPython 3.11, darwin (required by"),
        (lock_check.BASE, r"^idna==[^ ]+", "idna==1.0", "idna>=2.0.0 is not met by 1.0 (required by email-validator=="),
        (lock_check.BASE, r"^colorama==[^ ]+", "colorama==0.4.7", "colorama==0.4.7 is not installed here"),
        ("pyproject.toml", r'^    "aiohttp>', r'    "not-there>=1",\n    "aiohttp>', "not-there>=1 is missing"),
        ("pyproject.toml", r'^    "ruff>=[0-9.]+"', '    "ruff>=999"', "ruff>=999 is not met by"),
        (lock_check.BASE, r"^typer==[^ ]+", "typer==999.0", "typer is not at the version of"),
        (lock_check.POSTGRES, r"^psycopg==[^ ]+", "psycopg==1.0", "psycopg[binary]>=3.3 is not met by 1.0"),
        (lock_check.POSTGRES, r"^psycopg==([^ ]+)", "psycopg==999.0", "psycopg is not at the version of"),
        (lock_check.DEV, r"^pytest==([^ ]+)", r"pytest>=\1", "is not pinned with hashes: pytest>="),
        (lock_check.DEV, r"^ruff==([^ ]+)( \\\n    --hash=\S+)+", r"ruff==\1", "is not pinned with hashes: ruff=="),
        (lock_check.PROVIDERS, r"^xllamacpp==[^ ]+", "xllamacpp==1.0", "xllamacpp>=2026.10 is not met by 1.0"),
        (lock_check.BASE, r"\A", "--index-url https://mirror.example/simple\n", "holds an address"),
    ],
)  # fmt: skip
def test_lock_check_names_each_problem(
    project: Path, file: str, old: str, new: str, complaint: str
) -> None:
    edit(project / file, old, new)

    assert any(complaint in problem for problem in lock_check.problems(project))


def test_requirements_are_noted_for_packages_that_are_locked_and_no_others() -> None:
    pinned = {
        f"{name}=={version}"
        for lock in (lock_check.DEV, lock_check.PROVIDERS)
        for name, pins in lock_check.read_pins((ROOT / lock).read_text(encoding="utf-8")).items()
        for version, _ in pins
    }

    assert lock_graph.ELSEWHERE.keys() <= pinned


def test_every_install_from_a_lock_leaves_dependencies_to_the_lock() -> None:
    for name in ("Dockerfile", "tasks.py", "docs/deploying.md"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        installs = [line for line in lines if "-require-hashes" in line]
        assert installs
        assert all("--no-deps" in line for line in installs), name


def test_env_example_names_exactly_the_settings() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)

    assert sorted(names) == sorted(name.upper() for name in setting_names())


def test_every_secret_in_env_example_is_refused() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    values = re.findall(rf"^(?:{'|'.join(SECRETS)})=(.+)$", text, re.MULTILINE)

    assert values
    for value in values:
        with pytest.raises(ValueError, match="characters"):
            check_secret(value)


def test_example_roles_are_those_of_a_new_store() -> None:
    found = json.loads((EXAMPLES / "roles.json").read_bytes())

    roles = {
        name: codec(Role).from_json({**role, "name": name}, "roles.json")
        for name, role in found["roles"].items()
    }
    assert roles == DEFAULT_ROLES


async def test_example_user_is_read_but_cannot_log_in() -> None:
    found = json.loads((EXAMPLES / "users.json").read_bytes())
    (user,) = (codec(User).from_json(user, "users.json") for user in found["users"])
    hasher = Argon2Hasher()

    try:
        assert found["version"] == 1
        assert user.email.endswith("@example.com")
        assert not await hasher.verify("changeme", user.password_hash)
    finally:
        await hasher.aclose()


def test_tasks_can_be_read_by_an_older_python_up_to_the_version_check() -> None:
    ast.parse((ROOT / "tasks.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_tests_named_in_the_documents_exist() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for path in sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")):
        for name in re.findall(r"`(test_\w+)[`\[]", path.read_text("utf-8")):
            assert f"def {name}(" in tests, f"{path.name}: {name}"


def test_every_row_about_a_provider_names_its_test() -> None:
    text = (ROOT / "docs" / "providers.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (?!provider |quirk )", line)]
    assert len(rows) > 20
    assert all(re.search(r"`test_\w+`", row.rsplit(" | ", 1)[1]) for row in rows)


def test_nothing_says_to_install_this_project_from_a_registry() -> None:
    """There, `chatbot` is the name of a project of other people."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.py")]
    assert len(pages) > 100
    named = re.compile(r"pip install[^`\n]*\bchatbot\b(?!/)")
    assert [page.name for page in pages if named.search(page.read_text("utf-8"))] == []
