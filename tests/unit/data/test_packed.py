from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.data.packed import entry_of, is_own, load_function, module_files
from plimsoll.errors import Conflict, Corrupt, InvalidInput

PROJECT = {
    "shop/__init__.py": "LEVEL = 1\n",
    "shop/features.py": (
        "from __future__ import annotations\nimport math, tools\nimport shop.rules\nfrom . import rules as near\n"
        "from shop.deep import inner\ndef prepare(x):\n    from .late import extra\n"
        "    return [math.floor(x), tools.K, shop.rules.R, near.R, inner.D, extra(), shop.LEVEL]\n"
        "def broken(x):\n    return x / 0\n"
    ),
    "shop/rules.py": "import tools as t\nR = t.K * 10\n",
    "shop/late.py": "def extra():\n    import tools\n    return tools.K\n",
    "shop/deep/__init__.py": "",
    "shop/deep/inner.py": "from ..rules import R\nD = R + 1\n",
    "tools.py": "import json\nK = 1\n",
    "unused.py": "1 / 0\n",
}


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = write(tmp_path / "project", PROJECT)
    monkeypatch.syspath_prepend(str(folder))
    kept = set(sys.modules)
    finders = list(sys.meta_path)
    yield folder
    for name in set(sys.modules) - kept:
        del sys.modules[name]
    sys.meta_path[:] = finders


def digest(number: int) -> str:
    return f"{number:064x}"[::-1]


def test_the_files_of_a_function_are_all_modules_that_it_imports_and_no_others(project: Path) -> None:
    files = module_files(importlib.import_module("shop.features").prepare, project)
    assert set(files) == set(PROJECT) - {"unused.py"}
    assert files["tools.py"] == b"import json\nK = 1\n"


def test_a_source_folder_inside_the_project_is_the_root_of_the_paths(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, {"src/inside/one.py": "from inside.two import T\ndef f():\n    return T\n", "src/inside/two.py": "T = 2\n"})
    monkeypatch.syspath_prepend(str(project / "src"))
    function = importlib.import_module("inside.one").f
    assert set(module_files(function, project)) == {"inside/one.py", "inside/two.py"}
    assert entry_of(function, project) == "inside.one:f"


def test_packed_code_gives_what_the_project_gives(project: Path, tmp_path: Path) -> None:
    function = importlib.import_module("shop.features").prepare
    folder = write(tmp_path / "packed", module_files(function, project))
    loaded = load_function(folder, entry_of(function, project), digest(1))
    assert loaded(2.5) == function(2.5) == [2, 1, 10, 10, 11, 1, 1]
    assert loaded is not function
    assert not list(folder.rglob("*.pyc"))


def test_two_versions_of_a_module_live_in_one_process(project: Path, tmp_path: Path) -> None:
    function = importlib.import_module("shop.features").prepare
    files = module_files(function, project)
    first = load_function(write(tmp_path / "a", files), "shop.features:prepare", digest(1))
    second = load_function(write(tmp_path / "b", {**files, "tools.py": b"K = 7\n"}), "shop.features:prepare", digest(2))
    assert first(0.0) == [0, 1, 10, 10, 11, 1, 1]
    assert second(0.0) == [0, 7, 70, 70, 71, 7, 1]
    assert function(0.0) == first(0.0)


def test_a_second_load_gives_the_same_modules(project: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", PROJECT)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(load_function(folder, "shop.features:prepare", digest(3)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(each) for each in found}) == 1
    assert sum(getattr(finder, "top", "") == found[0].__module__.partition(".")[0] for finder in sys.meta_path) == 1


def test_a_traceback_shows_the_packed_file_and_line(project: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", PROJECT)
    broken = load_function(folder, "shop.features:broken", digest(4))
    with pytest.raises(ZeroDivisionError) as caught:
        broken(1)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.line) == (str(folder.resolve() / "shop/features.py"), "return x / 0")


def test_a_packed_module_shadows_an_installed_one_only_inside_its_package(project: Path, tmp_path: Path) -> None:
    import json

    folder = write(tmp_path / "a", {"json.py": "MINE = 1\n", "use.py": "import json\ndef f():\n    return json.MINE\n"})
    assert load_function(folder, "use:f", digest(5))() == 1
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("shop.features", InvalidInput),
        ("shop/../x:f", InvalidInput),
        (":f", InvalidInput),
        ("shop.features:nothing", InvalidInput),
        ("shop.features:near.R", InvalidInput),
        ("shop.gone:f", Corrupt),
    ],
)
def test_an_entry_that_is_not_there_is_a_clear_error(project: Path, tmp_path: Path, entry: str, error: type[Exception]) -> None:
    folder = write(tmp_path / "a", PROJECT)
    with pytest.raises(error, match=r"entry|no module|no function"):
        load_function(folder, entry, digest(6))


def test_code_outside_of_the_project_cannot_be_packed(project: Path, tmp_path: Path) -> None:
    function = importlib.import_module("shop.features").prepare
    with pytest.raises(InvalidInput, match="not defined in a file of the project"):
        module_files(function, tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="not defined in a file of the project"):
        module_files(eval("lambda x: x", {"__name__": "nowhere"}), project)


def test_a_file_edited_after_its_import_is_not_packed(project: Path) -> None:
    function = importlib.import_module("shop.features").prepare
    write(project, {"shop/late.py": "def extra():\n    import tools\n    return tools.K + 1\n"})
    module_files(function, project)  # not imported yet, so there is nothing that it could differ from
    function(1.0)
    write(project, {"shop/late.py": "def extra():\n    import tools\n    return tools.K + 2\n"})
    with pytest.raises(Conflict, match=r"late\.py was edited after it was imported: extra differs"):
        module_files(function, project)


@pytest.mark.parametrize(
    ("entry", "own"),
    [
        ("shop.features:prepare", True),
        ("", True),
        ("shop.features:math.floor", False),
        ("shop.features:tools", False),
        ("shop.gone:prepare", False),
        ("unused:prepare", False),
    ],
)
def test_packed_code_is_the_projects_own_when_it_calls_a_function_of_the_same_files(
    project: Path, tmp_path: Path, entry: str, own: bool
) -> None:
    files = module_files(importlib.import_module("shop.features").prepare, project)
    folder = write(tmp_path / "code", files)
    assert is_own(folder, entry, project) is own
    write(folder, {"more.py": ""})
    assert not is_own(folder, entry, project)
    assert not is_own(write(tmp_path / "edited", {**files, "tools.py": "K = 2\n"}), entry, project)


def test_code_below_a_folder_of_the_project_that_is_imported_from_is_its_own(project: Path, tmp_path: Path, monkeypatch: Any) -> None:
    write(project, {"src/inside.py": "def f(): return 1\n"})
    folder = write(tmp_path / "code", {"inside.py": "def f(): return 1\n"})
    assert not is_own(folder, "inside:f", project)
    monkeypatch.syspath_prepend(str(project / "src"))
    assert is_own(folder, "inside:f", project)
