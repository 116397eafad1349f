"""Can the data carry a model at all: schema and quality of the training snapshot and of the rows it is judged on."""

from __future__ import annotations

from dataclasses import fields

import polars as pl

from plimsoll.records.model import Outcome, Purpose, Verdict
from plimsoll.records.request import Json
from plimsoll.registry.checks.evidence import Data

#: Rows that training and holdout need, and rows of the rarer class in each.
LEAST_ROWS, LEAST_CLASS = 200, 30

#: Share of nulls in an input from which the approver is told, and the change of it between training and holdout.
MOST_NULLS, NULLS_CHANGED = 0.5, 0.1


def check_quality(data: Data) -> Verdict:
    """Fail data that cannot teach or judge a model; warn about what a person should look at.

    Args:
        data: the candidate's inputs and tables.
    """
    problems: list[str] = []
    remarks: list[str] = []
    numbers: dict[str, Json] = {}
    for role, frame in (("training", data.training), ("holdout", data.holdout)):
        if frame is None:
            problems.append(f"The package names no {role} data; give {role}= to plimsoll.Model.")
            continue
        numbers[f"{role}_rows"] = frame.height
        if frame.height < LEAST_ROWS:
            problems.append(f"The {role} data has {frame.height:,} rows; at least {LEAST_ROWS} are needed.")
        problems += _label(role, frame, data, numbers)
        problems += _unit(role, frame, data, numbers)
        problems += _inputs(role, frame, data)
    if data.training is not None and data.holdout is not None:
        problems += _between(data.training, data.holdout, data, numbers)
        problems += _types(data.training, data.holdout, data)
        remarks += _nulls(data.training, data.holdout, data, numbers)
    if data.training is not None:
        constant = [name for name in data.inputs if name in data.training.columns and _is_constant(data.training.get_column(name))]
        numbers["constant"] = constant
        if constant:
            values = ", ".join(f"{name!r} (always {data.training.get_column(name).drop_nulls()[0]!r})" for name in constant)
            remarks.append(f"Inputs that never vary in training, so that nothing is known about other values: {values}.")
    outcome: Outcome = "fail" if problems else "warn" if remarks else "pass"
    said = problems + remarks
    if not said:
        said = [_summary(data, numbers)]
    return Verdict(check="quality", outcome=outcome, reason=" ".join(said), numbers=numbers)


def check_purpose(packed: Purpose, declared: Purpose | None) -> Verdict:
    """Tell the approver when a package is judged by another purpose than the project declares now.

    Args:
        packed: what the package says it is for; every other check goes by it.
        declared: what the project's table says now, or None when it says nothing about this model.
    """
    if declared is None:
        reason = "The project's table says nothing about this model, so it is judged by what its package says."
        return Verdict(check="purpose", outcome="pass", reason=reason)
    names = [field.name for field in fields(Purpose) if getattr(packed, field.name) != getattr(declared, field.name)]
    numbers: dict[str, Json] = {"differing": names}
    if not names:
        reason = "It is judged by exactly what the project declares now: goal, costs, slices, stages and budget."
        return Verdict(check="purpose", outcome="pass", reason=reason, numbers=numbers)
    reason = (
        f"It is judged by what was declared when it was trained; the project declares another {', '.join(names)} now. "
        "Train it again to judge it by that."
    )
    return Verdict(check="purpose", outcome="warn", reason=reason, numbers=numbers)


def _summary(data: Data, numbers: dict[str, Json]) -> str:
    return (
        f"{numbers['training_rows']:,} training rows, then {numbers['holdout_rows']:,} held-out rows, all later, with no "
        f"{data.purpose.unit!r} in both; {numbers['training_positive_share']:.1%} and {numbers['holdout_positive_share']:.1%} are positive."
    )


def _label(role: str, frame: pl.DataFrame, data: Data, numbers: dict[str, Json]) -> list[str]:
    name = data.purpose.label
    if name not in frame.columns:
        return [f"The {role} data lacks the label {name!r}."]
    labels = frame.get_column(name).cast(pl.Float64, strict=False)
    wrong = int((~labels.is_in([0.0, 1.0]).fill_null(False)).sum())
    if wrong:
        return [f"The label {name!r} is neither 0 nor 1 in {wrong:,} of {frame.height:,} rows of the {role} data."]
    positive = int(labels.sum())
    numbers[f"{role}_positive_share"] = positive / max(1, frame.height)
    rarer = min(positive, frame.height - positive)
    if not rarer:
        return [f"The label {name!r} has only one value in the {role} data."]
    if rarer < LEAST_CLASS:
        return [f"The rarer class has {rarer} rows in the {role} data; at least {LEAST_CLASS} are needed."]
    return []


def _unit(role: str, frame: pl.DataFrame, data: Data, numbers: dict[str, Json]) -> list[str]:
    name = data.purpose.unit
    if name not in frame.columns:
        return [f"The {role} data lacks the column {name!r} that identifies a row, so rows that occur twice cannot be seen."]
    units = frame.get_column(name)
    doubled = int(units.is_duplicated().sum())
    numbers[f"{role}_duplicated"] = doubled
    found = []
    if units.null_count():
        found.append(f"{name!r} is missing in {units.null_count():,} rows of the {role} data.")
    if doubled > units.null_count():
        found.append(f"{doubled:,} of {frame.height:,} rows of the {role} data share their {name!r} with another row.")
    return found


def _inputs(role: str, frame: pl.DataFrame, data: Data) -> list[str]:
    missing = [name for name in data.inputs if name not in frame.columns]
    empty = [name for name in data.inputs if name in frame.columns and frame.height and _missing(frame.get_column(name)) == 1]
    found = [f"The {role} data lacks the inputs {', '.join(map(repr, missing))}."] if missing else []
    return found + ([f"Inputs without any value in the {role} data: {', '.join(map(repr, empty))}."] if empty else [])


def _between(training: pl.DataFrame, holdout: pl.DataFrame, data: Data, numbers: dict[str, Json]) -> list[str]:
    time, unit = data.purpose.time, data.purpose.unit
    found = []
    lacking = [role for role, frame in (("training", training), ("holdout", holdout)) if time not in frame.columns]
    if lacking:
        found.append(f"The {' and the '.join(lacking)} data lacks the column {time!r} that says what moment a row is about.")
    else:
        gaps = training.get_column(time).null_count() + holdout.get_column(time).null_count()
        if gaps:
            found.append(f"The time {time!r} is missing in {gaps:,} rows.")
        last, first = training.get_column(time).max(), holdout.get_column(time).min()
        if last is not None and first is not None:
            numbers |= {"training_until": f"{last!s}", "holdout_from": f"{first!s}"}
            if first < last:  # type: ignore[operator]
                early = int((holdout.get_column(time) < last).sum())
                found.append(
                    f"The holdout does not come after training: {early:,} of its {holdout.height:,} rows are before the last training "
                    f"row ({last!s})."
                )
    if unit in training.columns and unit in holdout.columns:
        shared = int(holdout.get_column(unit).cast(pl.String).is_in(training.get_column(unit).cast(pl.String).unique().implode()).sum())
        numbers["shared"] = shared
        if shared:
            found.append(f"{shared:,} of {holdout.height:,} held-out rows have a {unit!r} that training has seen.")
    return found


def _types(training: pl.DataFrame, holdout: pl.DataFrame, data: Data) -> list[str]:
    changed = [
        f"{name!r} ({training.schema[name]}, then {holdout.schema[name]})"
        for name in (*data.inputs, data.purpose.unit, data.purpose.time)
        if name in training.columns and name in holdout.columns and training.schema[name] != holdout.schema[name]
    ]
    return [f"Columns with another type in the holdout than in training: {', '.join(changed)}."] if changed else []


def _nulls(training: pl.DataFrame, holdout: pl.DataFrame, data: Data, numbers: dict[str, Json]) -> list[str]:
    both = [name for name in data.inputs if name in training.columns and name in holdout.columns]
    before = {name: _missing(training.get_column(name)) for name in both}
    after = {name: _missing(holdout.get_column(name)) for name in both}
    numbers |= {"nulls": {name: share for name, share in before.items() if share}, "holdout_nulls": {n: s for n, s in after.items() if s}}
    mostly = [f"{name!r} {share:.0%}" for name, share in before.items() if share > MOST_NULLS]
    changed = [f"{name!r} from {before[name]:.0%} to {after[name]:.0%}" for name in both if abs(after[name] - before[name]) > NULLS_CHANGED]
    found = [f"Inputs that are mostly missing in training: {', '.join(mostly)}."] if mostly else []
    return found + ([f"The share of missing values changes between training and holdout: {', '.join(changed)}."] if changed else [])


def _missing(column: pl.Series) -> float:
    gone = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)
    return gone / max(1, len(column))


def _is_constant(column: pl.Series) -> bool:
    return column.drop_nulls().n_unique() == 1
