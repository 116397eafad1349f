"""How differences are told on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plimsoll.records.pipelines.history import Difference

#: Lines of one diff, and steps of one difference, that are printed; ``--json`` has all.
_LINES, _STEPS = 40, 5


def difference_rows(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """Return one row a difference.

    Args:
        differences: what an explanation or a comparison found.
    """
    return [
        {
            "category": each.category,
            "kind": each.kind,
            "name": each.name,
            "old": each.old if each.old or not each.old_digest else each.old_digest[:12],
            "new": each.new if each.new or not each.new_digest else each.new_digest[:12],
            "steps": each.steps,
        }
        for each in differences
    ]


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """Return the details of differences: what each is, where it is, and the diff of its text.

    Args:
        differences: what an explanation or a comparison found.
    """
    lines: list[str] = []
    for each in differences:
        more = f" and {len(each.steps) - _STEPS} more" if len(each.steps) > _STEPS else ""
        where = " <- ".join(each.via) if each.via else ", ".join(step.rpartition(".")[2] for step in each.steps[:_STEPS]) + more
        lines += ["", f"{each.category}: {each.text}" + (f"   [{where}]" if where else "")]
        if each.kind == "file":
            lines.append(f"  {_file(each.old, each.old_digest)} -> {_file(each.new, each.new_digest)}")
            if not each.diff:
                lines.append("  What a step's files held is not kept, so there is no diff.")
        if each.note:
            lines.append(f"  {each.note}")
        lines += [f"  {line}" for line in each.diff[:_LINES]]
        if len(each.diff) > _LINES:
            lines.append(f"  … {len(each.diff) - _LINES} more lines; see --json")
    return lines


def _file(text: str | None, digest: str) -> str:
    return "not there" if text is None else " ".join(filter(None, (text, digest[:12])))
