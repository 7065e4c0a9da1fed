"""Which files count as gone."""

from pathlib import Path

import pytest

from chatbot.entrypoints.commands.found_files import FoundFiles, find

ROOT = Path("/root-folder").absolute()
THERE, GONE = ROOT / "a" / "there.md", ROOT / "b" / "gone.md"


def found(problems: dict[Path, str] | None = None, **files: Path) -> FoundFiles:
    return FoundFiles(
        roots=[ROOT], files=dict.fromkeys(files.values(), (0, 0)), problems=problems or {}
    )


def test_a_file_below_a_root_that_is_not_found_is_gone() -> None:
    assert found(one=THERE).gone([THERE, GONE]) == [GONE]


def test_a_file_of_another_root_is_not_gone() -> None:
    elsewhere = Path("/elsewhere/x.md").absolute()
    assert found(one=THERE).gone([elsewhere, ROOT.with_name("root-folder-2") / "x.md"]) == []


@pytest.mark.parametrize("where", [ROOT, ROOT / "b", THERE])
def test_nothing_is_gone_below_a_root_with_a_problem(where: Path) -> None:
    assert found({where: "Permission denied"}, one=THERE).gone([GONE]) == []


def test_nothing_is_gone_below_a_root_without_files() -> None:
    assert found().gone([GONE]) == []


def test_files_are_found_in_order_each_once(tmp_path: Path) -> None:
    for name in ("b.md", "a/c.md", "a/d.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find([tmp_path, tmp_path / "a", tmp_path / "missing"])
    names = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert names == ["b.md", "a/c.md", "a/d.md"]
    assert found.files[tmp_path / "b.md"][1] == 1
    assert list(found.problems) == [tmp_path / "missing"]
