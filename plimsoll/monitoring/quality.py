"""Is what arrives still what the model was trained on, by type and by kind? Hard defects, told without statistics.

Drift asks whether shares moved more than days do. Quality asks what no day should have: a column that is gone, text where numbers
were, one value in every row, a unit that is logged twice. Its limits are fixed shares, so its findings have no probability.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from plimsoll.monitoring.cells import ColumnCells, Counts
from plimsoll.monitoring.sketches import PREDICTION, Profile
from plimsoll.records.monitor import Finding

#: Share of rows from which a defect that training did not have is worth a person.
DEFECT_SHARE = 0.05

#: Rows below which a window is not judged.
MINIMUM_ROWS = 30

_NAMED = 5


def judge_quality(profile: Profile, frame: pl.DataFrame, units: pl.Series | None = None) -> list[Finding]:
    """Return a finding of kind ``quality`` for each column with a defect; empty when there is none or there are too few rows.

    Args:
        profile: the training data of the live version.
        frame: the window's input columns, (n, columns).
        units: what identifies each row, (n,); empty text where the caller sent none.
    """
    if frame.height < MINIMUM_ROWS:
        return []
    findings = []
    for cells in profile.columns:
        if cells.name == PREDICTION:
            continue
        defects = _defects(profile, cells, frame)
        if defects:
            findings.append(_finding(cells.name, defects, frame.height))
    repeated = _repeated(units) if units is not None else 0
    if repeated:
        text = f"{repeated:,} rows repeat the unit of another row"
        findings.append(_finding("unit", [(repeated / frame.height, text)], frame.height))
    return sorted(findings, key=lambda finding: (not finding.alarming, finding.subject))


def _finding(subject: str, defects: list[tuple[float, str]], rows: int) -> Finding:
    worst = max(share for share, _ in defects)
    reason = f"{subject}: {'; '.join(text for _, text in defects)} (of {rows:,} rows)."
    numbers = {"rows": rows, "share": worst, "limit": DEFECT_SHARE}
    return Finding(kind="quality", subject=subject, alarming=worst >= DEFECT_SHARE, p_value=None, reason=reason, numbers=numbers)


def _defects(profile: Profile, cells: ColumnCells, frame: pl.DataFrame) -> list[tuple[float, str]]:
    """Return (share beyond what training had, text) of everything that is wrong with a column."""
    if cells.name not in frame.columns:
        return [] if _usual(profile, cells, 0) >= 1 - DEFECT_SHARE else [(1.0, "the column is missing")]
    values = frame.get_column(cells.name)
    counts = np.bincount(cells.assign(values), minlength=len(cells.labels))
    checks: list[Callable[[], tuple[float, str] | None]] = [
        lambda: _unreadable(cells, values, int(counts[0])),
        lambda: _missing(profile, cells, values),
        lambda: _unusual(profile, cells, counts, values),
        lambda: _constant(profile, cells, values),
    ]
    return [found for check in checks if (found := check()) is not None]


def _usual(profile: Profile, cells: ColumnCells, cell: int) -> float:
    """Return the largest share that a cell had in any training window."""
    windows = profile.windows[cells.name]
    table = windows if len(windows) else profile.reference[cells.name].reshape(1, -1)
    rows = np.maximum(1, table.sum(axis=1))
    return float((table[:, cell] / rows).max())


def _unreadable(cells: ColumnCells, values: pl.Series, nulls: int) -> tuple[float, str] | None:
    lost = nulls - values.null_count()
    if cells.kind == "presence" or lost <= 0:
        return None
    return lost / len(values), f"{lost:,} values of type {values.dtype} cannot be read as {cells.dtype}"


def _missing(profile: Profile, cells: ColumnCells, values: pl.Series) -> tuple[float, str] | None:
    share, usual = values.null_count() / len(values), _usual(profile, cells, 0)
    if share <= usual or values.null_count() == 0:
        return None
    return share - usual, f"{share:.1%} nulls, at most {usual:.1%} in a training window"


def _unusual(profile: Profile, cells: ColumnCells, counts: Counts, values: pl.Series) -> tuple[float, str] | None:
    """Not a number, infinities, far outside, unseen: more of it than any training window had."""
    found = [(cell, counts[cell] / len(values)) for cell in range(1, cells.unusual)]
    beyond = [(share - _usual(profile, cells, cell), cell, share) for cell, share in found if share > _usual(profile, cells, cell)]
    if not beyond:
        return None
    excess, cell, share = max(beyond)
    text = f"{share:.1%} {cells.labels[cell]}"
    if cells.kind == "category" and cell == 1:
        strange = values.filter(pl.Series(cells.assign(values) == 1)).cast(pl.String).value_counts(sort=True)
        names = strange.get_column(values.name).head(_NAMED).to_list()
        text += f" ({', '.join(repr(name[:40]) for name in sorted(names))}{', …' if strange.height > _NAMED else ''})"
    elif cells.kind == "number" and cell >= 4:
        text += f" ({cells.low:g} to {cells.high:g})"
    return float(excess), text


def _constant(profile: Profile, cells: ColumnCells, values: pl.Series) -> tuple[float, str] | None:
    known = values.drop_nulls()
    if len(known) < MINIMUM_ROWS or known.n_unique() > 1 or cells.kind in ("presence", "hour"):
        return None
    windows = profile.windows[cells.name]
    table = (windows if len(windows) else profile.reference[cells.name].reshape(1, -1))[:, 1:]
    # A column that training saw constant, over all or through a whole window (a date, a month), may be so again.
    filled = table.sum(axis=1) > 0
    if not filled.any() or float((table[filled].max(axis=1) / table[filled].sum(axis=1)).max()) > 1 - DEFECT_SHARE:
        return None
    return 1.0, f"every row has the value {str(known[0])[:40]!r}"


def _repeated(units: pl.Series) -> int:
    known = units.cast(pl.String).filter(units.cast(pl.String).fill_null("") != "")
    return len(known) - known.n_unique() if len(known) else 0
