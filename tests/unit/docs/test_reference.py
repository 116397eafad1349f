"""The documentation says what is: the reference is what the code makes, everything is in it, and every link leads somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plimsoll import errors, verbs
from plimsoll.data.project import SETTINGS, read_project

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])

#: What decides whether a home, a token or a database is found; tests and the demo set others.
_ENVIRONMENT = re.compile(r"environ(?:\.get\(|\[)\s*\"(PLIMSOLL_[A-Z]+)\"")


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up while it is made.
    sys.modules["make_reference"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["make_reference"]
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program that makes the reference."""
    return _script()


def test_the_committed_reference_is_what_the_code_makes(script: ModuleType) -> None:
    made = script.pages()
    assert sorted(path.name for path in REFERENCE.glob("*.md")) == sorted(made)
    stale = [name for name, text in made.items() if (REFERENCE / name).read_text(encoding="utf-8") != text]
    assert stale == [], "Run: python docs/make_reference.py"


def test_every_verb_setting_command_and_error_is_documented(script: ModuleType) -> None:
    anchors = {name: set(_anchors((REFERENCE / name).read_text(encoding="utf-8"))) for name in ("verbs.md", "cli.md")}
    assert [verb.name for verb in verbs.VERBS if verb.name.lower() not in anchors["verbs.md"]] == []
    commands = ["plimsoll-" + "-".join(path) for path, _ in script.commands(script.build())]
    assert len(commands) > 20
    assert [command for command in commands if command not in anchors["cli.md"]] == []
    settings = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    assert [name for name in SETTINGS if f"`PLIMSOLL_{name.upper()}`" not in settings] == []
    table = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    known = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.PlimsollError)]
    assert [cls.code for cls in known if f"| `{cls.code}` | `{cls.__name__}` |" not in table] == []


def test_every_environment_variable_that_the_code_reads_is_documented() -> None:
    read = {name for path in (ROOT / "plimsoll").rglob("*.py") for name in _ENVIRONMENT.findall(path.read_text(encoding="utf-8"))}
    assert "PLIMSOLL_TOKEN" in read
    settings = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    assert [name for name in sorted(read) if f"`{name}`" not in settings] == []


def test_every_field_of_a_verb_and_of_the_project_table_says_what_it_means(script: ModuleType) -> None:
    records = script.records()
    shown = [verb.name for verb in verbs.VERBS] + [name for _, _, name in script.TABLES]
    assert [f"{name}.{field.name}" for name in shown for field in records[name].fields if not field.meaning] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_internal_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in _links(document.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = Path(os.path.normpath(document.parent / name)) if name else document
        if not target.is_file():
            broken.append(f"{link}: there is no such file")
        elif anchor and anchor not in _anchors(target.read_text(encoding="utf-8")):
            broken.append(f"{link}: there is no such heading")
    assert broken == []


def test_every_page_can_be_reached_from_the_site_s_navigation() -> None:
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w/.-]+\.md)"', text))
    assert named == {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}


def test_every_decision_that_code_speaks_of_is_written_down() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("0*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    files = [path for folder in ("plimsoll", "tests", "examples", "docs") for path in (ROOT / folder).rglob("*.py")]
    said = {number for path in files for number in re.findall(r"[Dd]ecision (\d{4})", path.read_text(encoding="utf-8"))}
    assert said
    assert said <= set(numbers)


def _prose(text: str) -> str:
    """Return a document without its code."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"(?ms)^( *)```.*?^\1```", "", text))


def _links(text: str) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(text)):
        if not re.match(r"[a-z]+:", link):
            yield link


def _anchors(text: str) -> list[str]:
    headings = re.findall(r"(?m)^#{1,6} (.+)$", re.sub(r"(?ms)^( *)```.*?^\1```", "", text))
    return [_slug(heading) for heading in headings]


def _slug(heading: str) -> str:
    """Return a heading's anchor, as Python-Markdown makes it."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_and_toml_example_can_be_read(document: Path) -> None:
    for kind, code in re.findall(r"(?ms)^```(python|toml)\n(.*?)^```$", document.read_text(encoding="utf-8")):
        if kind == "toml":
            tomllib.loads(code)
        elif document.parent.name != "reference":
            compile(code, str(document), "exec")


def test_the_examples_declare_only_what_a_project_may(tmp_path: Path) -> None:
    least = {"goal": "x", "label": "y", "unit": "u", "time": "t", "costs": {"false_alarm": 1.0, "missed": 1.0}}
    for document in DOCUMENTS:
        for code in re.findall(r"(?ms)^```toml\n(.*?)^```$", document.read_text(encoding="utf-8")):
            table = tomllib.loads(code)["tool"]["plimsoll"]
            # An example may show a part of a model's table; what it shows must fit a whole one.
            table["models"] = {name: least | part for name, part in table.get("models", {}).items()}
            (tmp_path / "pyproject.toml").write_text(f"tool.plimsoll = {_inline(table)}\n", encoding="utf-8")
            read_project(tmp_path)


def _inline(value: Any) -> str:
    """Return a value as TOML in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_inline(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(inner) for inner in value) + "]"
    return json.dumps(value)
