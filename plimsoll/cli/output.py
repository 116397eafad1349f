"""How commands print: data on stdout, the rest on stderr; a table for people, ``--json --csv --md`` for everything else."""

from __future__ import annotations

import csv
import importlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from plimsoll import clock, codec
from plimsoll.errors import PlimsollError

#: Characters that move the cursor, change colours or do worse; a line may end, and have tabs.
_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

#: Characters of a value that people are shown.
_LONGEST = 2000


@Parameter(name="*")
@dataclass(frozen=True)
class Format:
    """How a list or a record is printed."""

    json: Annotated[bool, Parameter(negative=(), help="print JSON.")] = False
    csv: Annotated[bool, Parameter(negative=(), help="print comma-separated values.")] = False
    md: Annotated[bool, Parameter(negative=(), help="print a Markdown table.")] = False


class Id(str):
    """An id in a list: whole for programs, and its beginning, which commands take as well, for people."""

    __slots__ = ()

    def shown(self) -> str:
        """Return what people see."""
        return self[:16]


class Moment(str):
    """A time in a list: for people in whole seconds, and for programs exactly and with its zone, as ISO 8601."""

    __slots__ = ("exact",)

    #: None for a time that is not there.
    exact: str | None

    def __new__(cls, micros: int | None) -> Moment:
        """Make it.

        Args:
            micros: UTC microseconds, or None.
        """
        made = super().__new__(cls, "-" if micros is None else clock.iso(micros).replace("T", " ").removesuffix("Z"))
        made.exact = None if micros is None else clock.exact_iso(micros)
        return made


#: Columns of a list: heading -> the value of a row.
Rows = Sequence[Mapping[str, Any]]


def show_list(rows: Rows, form: Format, empty: str) -> None:
    """Print rows.

    Args:
        rows: dicts with the same keys, in the order of the columns.
        form: how.
        empty: what to say on stderr when there are no rows.
    """
    if form.json:
        whole = [{head: _whole(value) for head, value in row.items()} for row in rows]
        _write(codec.to_exact_json(whole).decode() + "\n")
        return
    if not rows:
        say(empty)
        return
    heads = list(rows[0])
    cells = [[_cell(value, form) for value in row.values()] for row in rows]
    if form.csv:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(cells)
        _write(buffer.getvalue())
    elif form.md:
        lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in cells)]
        _write("".join(f"| {' | '.join(line)} |\n" for line in lines))
    elif sys.stdout.isatty():
        # By name: a command that prints no table need not wait for it.
        table = importlib.import_module("rich.table").Table(box=None, header_style="bold", pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in cells:
            table.add_row(*row)
        # Reasons and errors hold brackets, which are not rich's markup.
        importlib.import_module("rich.console").Console(markup=False, emoji=False, highlight=False).print(table)
    else:
        cells = [[cell.replace("\n", " ") for cell in row] for row in cells]
        widths = [max(width_of(line[index]) for line in [heads, *cells]) for index in range(len(heads))]
        for line in [heads, *cells]:
            _write("  ".join(padded(text, width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _whole(value: Any) -> Any:
    """Return a value as JSON has it; the classes of text that people see otherwise are not known there."""
    return value.exact if isinstance(value, Moment) else str(value) if isinstance(value, Id) else value


def _cell(value: Any, form: Format) -> str:
    if form.csv:
        return exact_of(value)
    return value.shown() if isinstance(value, Id) else text_of(value)


def show_record(record: Any, form: Format, lines: Mapping[str, Any]) -> None:
    """Print one record.

    Args:
        record: the whole record, for ``--json``.
        form: how.
        lines: label -> value, for everything else; a nested mapping is indented, a list gets a line an item.
    """
    if form.json:
        _write(codec.to_exact_json(record).decode() + "\n")
    elif form.csv or form.md:
        show_list([{"field": label, "value": text_of(value)} for label, value in lines.items()], form, "")
    else:
        _write("\n".join(_indented(lines, 0)) + "\n")


def show_answer(record: Any, form: Format, rows: Rows, lines: Sequence[str]) -> None:
    """Print an answer that people read as text and programs as a record or as rows.

    Args:
        record: the whole record, for ``--json``.
        form: how.
        rows: dicts with the same keys, for ``--csv`` and ``--md``.
        lines: what people read, its first line being the answer.
    """
    if form.json:
        _write(codec.to_exact_json(record).decode() + "\n")
    elif form.csv or form.md:
        show_list(rows, form, lines[0])
    else:
        _write("\n".join(lines) + "\n")


def _indented(lines: Mapping[str, Any], depth: int) -> list[str]:
    width = max(map(width_of, lines), default=0)
    found = []
    for label, value in lines.items():
        head = f"{'  ' * depth}{padded(label, width)}"
        if isinstance(value, Mapping) and value:
            found += [f"{'  ' * depth}{label}", *_indented(value, depth + 1)]
        elif isinstance(value, list | tuple) and value:
            found.append(f"{'  ' * depth}{label}")
            found += [f"{'  ' * (depth + 1)}{text_of(item)}" for item in value]
        else:
            text = text_of(value)
            cut = f"{text[:_LONGEST]} … {len(text):,} characters; --json has all" if len(text) > _LONGEST and label != "error" else text
            found.append(f"{head}  {cut}".rstrip())
    return found


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: characters of Chinese or Korean, and emoji, take two.

    Args:
        text: of one line.
    """
    # By name: nearly every text is answered without it.
    return len(text) if text.isascii() else int(importlib.import_module("rich.cells").cell_len(text))


def padded(text: str, width: int) -> str:
    """Return a text with blanks behind it.

    Args:
        text: of one line.
        width: columns of a terminal; a longer text stays as it is.
    """
    return text + " " * (width - width_of(text))


def text_of(value: Any) -> str:
    """Return a value for people, in one line unless it is a text of several.

    Args:
        value: JSON-able.
    """
    if value is None or value == () or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    # Whoever logged it may be a stranger, and a terminal obeys what is not printable.
    return _ORDERS.sub(lambda found: repr(found[0])[1:-1], str(value))


def exact_of(value: Any) -> str:
    """Return a value for programs that read text: numbers with every digit, times as ISO 8601, and nothing for what is not there.

    Args:
        value: JSON-able.
    """
    value = _whole(value)
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={exact_of(item)}" for key, item in value.items())
    return repr(value) if isinstance(value, float) else text_of(value)


def when(micros: int | None) -> Moment:
    """Return a time: for people, and exact in a list for programs.

    Args:
        micros: UTC microseconds, or None.
    """
    return Moment(micros)


def show_bytes(content: bytes) -> None:
    """Print what a file holds: to a program exactly, and to a terminal without what it would obey.

    Args:
        content: text of any encoding.
    """
    if sys.stdout.isatty():
        _write(text_of(content.decode(errors="replace")))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def say(line: str) -> None:
    """Tell a person something that is not data.

    Args:
        line: goes to stderr.
    """
    print(line, file=sys.stderr, flush=True)


def say_traceback(error: PlimsollError) -> None:
    """Tell where the user's code failed, if the error says more of it than its own message.

    Args:
        error: whose ``details`` may have a ``traceback``.
    """
    text = str(error.details.get("traceback", "")).strip()
    if text and text not in str(error):
        say(text)


def next_step(command: str) -> None:
    """Tell what one would do next.

    Args:
        command: a command line that works as it stands.
    """
    say(f"next: {command}")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
