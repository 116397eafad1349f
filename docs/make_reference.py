"""Writes ``docs/reference/`` from the code: ``python docs/make_reference.py``. A test fails when the two differ.

Fields, defaults and their meaning are read from the source text of the records, so the reference is the same under every
version of Python.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App

from plimsoll import errors, verbs
from plimsoll.cli.app import build
from plimsoll.cli.asked import Told
from plimsoll.data.project import SETTINGS
from plimsoll.verbs import Verb

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"

#: Where the records are.
FILES = ROOT / "plimsoll" / "records"

#: What no comment in the code says in one line: the meaning of each setting.
SETTING_NOTES = {
    "url": "Where the platform is: `http://HOST:PORT` of a server, or a home folder. Unless given it is the home.",
    "home": "Folder with database, blobs, tokens and logs; relative to the project.",
    "host": "Loopback interface on which `plimsoll up` listens: `127.0.0.1`, `localhost` or `::1`.",
    "port": "Port of the control server.",
    "serving_port": "Port of the model server.",
    "executor": "Where steps run: `processes`, `in_process` or `ray`. A command's `--executor` goes before it.",
    "keep_deleted": "How long what was deleted can be restored, such as `30d` or `12h`; after it, `plimsoll collect` removes it for good.",
    "capture": "What `with plimsoll.run()` captures: `all`; `once`: all but the series of CPU, memory and GPU; `none`.",
    "ray_address": "Of a Ray cluster, as `HOST:PORT` or `auto`. Unless given it is `RAY_ADDRESS`, else a cluster of this machine.",
}

#: Environment variables that are no settings.
VARIABLES = {
    "PLIMSOLL_PROFILE": "Name of the profile of `[tool.plimsoll.profiles]` that holds; a command's `--profile` goes before it.",
    "PLIMSOLL_TOKEN": "Who asks: the token that `plimsoll actors add` printed. "
    "Without it, the owner's token of the home is used, for a server on this machine only.",
    "PLIMSOLL_DATABASE": "`postgresql://USER@HOST/DATABASE` instead of the SQLite file in the home. Every process of the home needs it.",
}

#: Table of ``[tool.plimsoll]`` -> the record that it fills.
TABLES = (
    ("models.NAME", "model", "Purpose"),
    ("models.NAME.costs", "model", "Costs"),
    ("models.NAME.budget", "model", "Budget"),
    ("serving.NAME", "deployment", "ServingConfig"),
    ("retrain.NAME", "monitor", "RetrainPolicy"),
    ("triggers.NAME", "trigger", "TriggerRule"),
    ("environments.NAME", "deployment", "ReleasePolicy"),
    ("environments.NAME.steps", "deployment", "RolloutStep"),
)

EXITS = (
    (0, "it was done"),
    (1, "it failed"),
    (2, "the command or its input is wrong"),
    (3, "a check failed, or a rule of the project says no"),
    (4, "there is no such thing"),
    (5, "the server does not answer"),
)

#: How a default that is nothing is shown.
_ABSENT = {None: "none", "": "none", False: "off"}

_NOTE = "<!-- Made by docs/make_reference.py. Change the code, then run it again. -->\n"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, as the source has it."""

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Record:
    """One class of ``plimsoll/records``."""

    name: str
    file: str
    doc: str
    result: str | None
    fields: tuple[Field, ...]


def _comment(lines: list[str], before: int) -> str:
    """Return the ``#:`` comment that ends above a line (counted from 1)."""
    found: list[str] = []
    at = before - 2
    while at >= 0 and lines[at].strip().startswith("#:"):
        found.insert(0, lines[at].strip().removeprefix("#:").strip())
        at -= 1
    return " ".join(found)


def _fields(node: ast.ClassDef, lines: list[str]) -> Iterator[Field]:
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            default = None if inner.value is None else _default(inner.value)
            yield Field(inner.target.id, ast.unparse(inner.annotation), default, _comment(lines, inner.lineno))


def _default(value: ast.expr) -> str:
    """Return a default for people: what ``field(default_factory=dict)`` makes, and ``5_000`` as 5000."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        for keyword in value.keywords:
            if keyword.arg == "default_factory":
                return {"dict": "{}", "tuple": "()"}.get(ast.unparse(keyword.value), ast.unparse(keyword.value))
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
        return ""
    return ast.unparse(value)


def records() -> dict[str, Record]:
    """Return every public class of the records by name, in the order of files and lines."""
    found = {}
    for path in sorted(FILES.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.decorator_list:
                bases = [ast.unparse(base) for base in node.bases]
                result = next((base[len("Request[") : -1] for base in bases if base.startswith("Request[")), None)
                fields = tuple(_fields(node, text.splitlines()))
                place = ".".join(path.relative_to(FILES).with_suffix("").parts)
                found[node.name] = Record(node.name, place, ast.get_docstring(node) or "", result, fields)
    return found


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown in one line."""
    return " ".join(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).split())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _field_rows(fields: tuple[Field, ...]) -> list[tuple[str, ...]]:
    return [(f"`{f.name}`", f"`{f.type}`", "required" if f.default is None else f"`{f.default}`", _plain(f.meaning)) for f in fields]


def _page(title: str, intro: str, *parts: str) -> str:
    return "\n".join([f"# {title}\n", _NOTE, intro + "\n", *parts]).rstrip() + "\n"


def verbs_page() -> str:
    """Return the page of the verb table."""
    known = records()
    rows = [
        (f"[{verb.name}](#{verb.name.lower()})", verb.kind, verb.role, _audit_line(verb), f"`{known[verb.name].result}`")
        for verb in verbs.VERBS
    ]
    intro = (
        "What can be asked. `POST /api/v1/NAME` with the fields as JSON, or `plimsoll.connect().do(Name(...))`. "
        "A field that a verb does not have is refused by name; `GET /openapi.json` describes all of them for programs. "
        "A `job` is done by the worker: over HTTP the answer is a `Job` with status 202, and `GetJob` tells how far it is; "
        "a door to a server waits for it, and a door to a folder does it in its own process. An audit line is written in the "
        "transaction of what it tells. "
        "The types of results are on the page [records](records.md)."
    )
    parts = [_table(("verb", "kind", "role", "audit line", "gives"), rows)]
    for verb in verbs.VERBS:
        record = known[verb.name]
        fields = _table(("field", "type", "default", "meaning"), _field_rows(record.fields)) if record.fields else "No fields.\n"
        parts.append(f"## {verb.name}\n\n{_plain(record.doc)}\n\nRole `{verb.role}`, gives `{record.result}`.\n\n{fields}")
    return _page("Verbs", intro, *parts)


def _audit_line(verb: Verb) -> str:
    if verb.kind == "job":
        return f"`Submit{verb.name}`, when it is left in the queue"
    return f"`{verb.name}`" if verb.kind == "write" and verb.audited else "none"


def records_page() -> str:
    """Return the page of the records that are no requests."""
    found = [record for record in records().values() if record.result is None]
    parts = []
    for record in found:
        table = _table(("field", "type", "default", "meaning"), _field_rows(record.fields))
        parts.append(f"## {record.name}\n\n{_plain(record.doc)} From `plimsoll.records.{record.file}`.\n\n{table}")
    intro = "Frozen dataclasses that verbs take and give. Times are UTC microseconds, ids are UUIDv7 in hex."
    words = "## Words\n\nTypes that are one of a few words.\n\n" + _table(("type", "words", "meaning"), list(_words()))
    return _page("Records", intro, words, *parts)


def _words() -> Iterator[tuple[str, ...]]:
    """Yield every ``Name = Literal[...]`` of the records with its comment."""
    for path in sorted(FILES.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and ast.unparse(node.value.value) == "Literal":
                words = "`" + ast.unparse(node.value.slice).strip("()").replace("'", "").replace(", ", "` `") + "`"
                yield f"`{ast.unparse(node.targets[0])}`", words, _plain(_comment(text.splitlines(), node.lineno))


def commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield every command with its words, nouns before their verbs.

    Args:
        app: the application, or a noun of it.
        path: the words before.
    """
    for name in app:
        if not name.startswith("-"):
            inner = app[name]
            if any(not word.startswith("-") for word in inner):
                yield from commands(inner, (*path, name))
            else:
                yield (*path, name), inner


def _parts_of(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return a docstring's text before its sections, and the meaning of each argument."""
    head, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    body = re.split(r"\n(?=\S)", rest)[0]
    found: dict[str, str] = {}
    name = ""
    for line in body.splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        elif name:
            found[name] += " " + line.strip()
    return re.split(r"\n\w+:\n", head)[0], found


def _command(path: tuple[str, ...], app: App) -> str:
    function = app.default_command
    assert function is not None
    head, meanings = _parts_of(function)
    shown = {argument.names[0].removeprefix("--").replace("-", "_") for argument in app.assemble_argument_collection() if argument.show}
    usage, rows, printed = ["plimsoll", *path], [], False
    parameters = dict(inspect.signature(function).parameters)
    if "told" in parameters:
        # What several commands share is a dataclass, whose fields are flags of each.
        meanings |= {name.rstrip("_"): meaning for name, meaning in _parts_of(Told)[1].items()}
        own = list(parameters.items())
        place = [name for name, _ in own].index("told")
        parameters = dict([*own[:place], *inspect.signature(Told).parameters.items(), *own[place + 1 :]])
    for name, parameter in ((name.rstrip("_"), parameter) for name, parameter in parameters.items()):
        if name == "form":
            printed = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            usage.append(f"[{name.upper()} …]")
            rows.append((f"`{name.upper()}`", "none", _plain(meanings[name])))
        elif name in shown:
            flag = name.replace("_", "-")
            needed = parameter.default is parameter.empty
            default = "required" if needed else _ABSENT.get(parameter.default, f"`{parameter.default}`")
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                usage.append(name.upper() if needed else f"[{name.upper()}]")
                rows.append((f"`{name.upper()}`", default, _plain(meanings[name])))
            else:
                usage += [f"--{flag} …"] if needed else []
                rows.append((f"`--{flag}`", default, _plain(meanings[name])))
    options = "" if usage[-1] == path[-1] and not rows else " [OPTIONS]" if any("--" in row[0] for row in rows) else ""
    text = f"## plimsoll {' '.join(path)}\n\n{_plain(head)}\n\n```\n{' '.join(usage)}{options}\n```\n"
    text += "\n" + _table(("argument", "default", "meaning"), rows) if rows else ""
    return text + ("\nPrints a table; takes `--json`, `--csv` and `--md`.\n" if printed else "")


def cli_page() -> str:
    """Return the page of the commands."""
    intro = (
        "Data goes to stdout, everything else to stderr. Ids may be shortened to their beginning. `--debug` shows the traceback of an "
        "error. `plimsoll --version` prints the version. Exit codes are on the page [errors](errors.md#exit-codes)."
    )
    return _page("Commands", intro, *(_command(path, app) for path, app in commands(build())))


def settings_page() -> str:
    """Return the page of settings and environment variables."""
    intro = (
        "A setting is taken from the first place that has it: the command's flag, the environment variable, the chosen profile, "
        "`[tool.plimsoll]` in `pyproject.toml`, the user file (`plimsoll.toml` in `$XDG_CONFIG_HOME`, else in `~/.config`), the default. "
        "`plimsoll config show` prints each value and where it comes from."
    )
    rows = [
        (f"`{name}`", f"`PLIMSOLL_{name.upper()}`", "none" if default is None else f"`{default}`", SETTING_NOTES[name])
        for name, default in SETTINGS.items()
    ]
    others = [(f"`{name}`", meaning) for name, meaning in VARIABLES.items()]
    return _page(
        "Settings",
        intro,
        _table(("setting", "environment variable", "default", "meaning"), rows),
        "## Other environment variables\n",
        _table(("variable", "meaning"), others),
    )


def project_page() -> str:
    """Return the page of the keys of ``[tool.plimsoll]``."""
    known = records()
    names = "`, `".join(SETTINGS)
    intro = (
        "What a project declares in `pyproject.toml`. Keys may be written with `-` or `_`; an unknown key is refused. `[tool.plimsoll]` "
        f"itself takes `name` and the settings `{names}`. What it may say of a pipeline's parameters is in "
        "[variations and profiles](../how-to/variations.md). `plimsoll init` and `plimsoll up` bring environments and retraining policies "
        "in line with the table; a model's purpose goes into its package when it is trained; `plimsoll releases create` reads `serving`."
    )
    parts = []
    for table, _, name in TABLES:
        record = known[name]
        parts.append(f"## tool.plimsoll.{table}\n\n{_plain(record.doc)}\n")
        parts.append(_table(("key", "type", "default", "meaning"), _field_rows(record.fields)))
    return _page("pyproject.toml", intro, *parts)


def _tree(cls: type[errors.PlimsollError]) -> Iterator[type[errors.PlimsollError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


def errors_page() -> str:
    """Return the page of errors and exit codes."""
    intro = (
        "Every error has a stable code, a fact, and a remedy. It crosses the wire as "
        '`{"code": …, "fact": …, "remedy": …, "details": …}` and is raised as the same class on the other side. '
        "The command line prints `error:` and `fix:`."
    )
    rows = []
    for cls in _tree(errors.PlimsollError):
        doc = _plain((inspect.getdoc(cls) or "").partition("\n\n")[0])
        rows.append((f"`{cls.code}`", f"`{cls.__name__}`", str(cls.status), str(cls.exit_code), doc))
    exits = [(str(code), meaning) for code, meaning in EXITS]
    return _page(
        "Errors",
        intro,
        _table(("code", "class in `plimsoll.errors`", "HTTP status", "exit code", "meaning"), rows),
        "## Exit codes\n",
        _table(("code", "meaning"), exits),
    )


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def python_page() -> str:
    """Return the page of the public names."""
    face = ast.parse((ROOT / "plimsoll" / "__init__.py").read_text(encoding="utf-8"))
    where: dict[str, str] = {}
    for node in face.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_WHERE":
            where = ast.literal_eval(node.value)
    parts = []
    for name, module in where.items():
        tree = ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
        node = [item for item in tree.body if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name == name][-1]
        if isinstance(node, ast.FunctionDef):
            parts.append(f"## plimsoll.{name}\n\n```python\n{_signature(node)}\n```\n\n{_docstring(node)}")
            continue
        parts.append(f"## plimsoll.{name}\n\n{_docstring(node)}")
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_") and ast.get_docstring(inner):
                parts.append(f"### {name}.{inner.name}\n\n```python\n{_signature(inner)}\n```\n\n{_docstring(inner)}")
    return _page("Python", "The public names of the package `plimsoll`. Everything else may change.", *parts)


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a docstring as Markdown: its sections' entries as a list."""
    lines = []
    for line in (ast.get_docstring(node) or "").splitlines():
        if re.fullmatch(r"(Args|Raises|Returns):", line):
            lines += [f"**{line}**", ""]
        elif match := re.match(r"    (\w+): (.*)", line):
            lines.append(f"* `{match[1]}`: {match[2]}")
        else:
            lines.append(re.sub(r"^ {8,}", "  ", line))
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", "\n".join(lines)) + "\n"


def index_page() -> str:
    """Return the page that lists the others."""
    parts = [
        "* [Commands](cli.md): what can be typed.",
        "* [Settings](settings.md): where things are, and environment variables.",
        "* [pyproject.toml](project.md): what a project declares.",
        "* [Python](python.md): the public names.",
        "* [Verbs](verbs.md): what can be asked, in process and over HTTP, and which role it needs.",
        "* [Records](records.md): what verbs take and give.",
        "* [Errors](errors.md): codes, HTTP status, exit codes.",
    ]
    return _page("Reference", "Made from the code.", *parts)


def pages() -> dict[str, str]:
    """Return every page of the reference: file name -> Markdown."""
    return {
        "index.md": index_page(),
        "cli.md": cli_page(),
        "settings.md": settings_page(),
        "project.md": project_page(),
        "python.md": python_page(),
        "verbs.md": verbs_page(),
        "records.md": records_page(),
        "errors.md": errors_page(),
    }


def main() -> None:
    """Write the pages and remove those that are no longer made."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
