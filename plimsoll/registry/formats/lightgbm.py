"""LightGBM's text files: data, which its compiled code follows without looking, so they are looked at first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll import extras
from plimsoll.errors import InvalidInput
from plimsoll.records.request import Json

Answers = npt.NDArray[np.float64]

#: Objectives whose answer is the one number a row that a model gives; of the first two it is a probability.
_OBJECTIVES = frozenset(
    ["binary", "cross_entropy", "fair", "gamma", "huber", "mape", "poisson", "quantile", "regression", "regression_l1", "tweedie"]
)

#: Numbers as LightGBM writes them. Python reads more than these (``1_0``), and C++ would take something else from it.
_WHOLE = re.compile(rb"-?[0-9]{1,10}( -?[0-9]{1,10})*")

#: Bits of a node's ``decision_type``: all, and that it asks for a category.
_DECISIONS, _CATEGORY = 15, 1


def is_booster(estimator: Any) -> bool:
    """Return whether something is LightGBM's booster, without importing LightGBM.

    Args:
        estimator: anything.
    """
    kind = type(estimator)
    return kind.__name__ == "Booster" and kind.__module__.partition(".")[0] == "lightgbm"


def read(data: bytes) -> Any:
    """Return the booster of a text file; it answers with all the trees of the file.

    Args:
        data: the file.

    Raises:
        ValueError: it is no such file, or points outside of its own tables; LightGBM has not seen it.
        InvalidInput: its answer is not one number a row, or it was fitted to categories of pandas.
        MissingExtra: LightGBM is not installed.
    """
    header = _check(data)
    library = extras.require("lightgbm")
    try:
        booster = library.Booster(model_str=data.decode())
    except library.basic.LightGBMError as error:
        raise ValueError(f"LightGBM does not read it: {error}") from error
    _check_answer(header, booster)
    return booster


def write(booster: Any) -> bytes:
    """Return the text file of a booster, up to its best tree where it stopped early: what it answers with.

    Args:
        booster: a trained booster.
    """
    return str(booster.model_to_string()).encode()


def output_rule(booster: Any) -> Callable[[Any], Answers]:
    """Return the function from rows (frame or array) to one float64 a row, (n,).

    Args:
        booster: a trained booster.

    Raises:
        InvalidInput: its answer is not one number a row, or it was fitted to categories of pandas.
    """
    _check_answer(_fields(write(booster).partition(b"\n\n")[0]), booster)

    def answer(rows: Any) -> Answers:
        # Of whole numbers in an array LightGBM takes the nearest float32, of a frame of pandas float64.
        wide = rows.cast(pl.Float64).to_numpy() if isinstance(rows, pl.DataFrame) else rows
        return np.asarray(booster.predict(wide), dtype=np.float64)

    return answer


def params_of(booster: Any) -> dict[str, Json]:
    """Return a booster's objective, trees and columns for people.

    Args:
        booster: a trained booster.
    """
    header = _fields(write(booster).partition(b"\n\n")[0])
    return {"objective": header[b"objective"].decode(), "trees": int(booster.num_trees()), "columns": int(booster.num_feature())}


def _check_answer(header: dict[bytes, bytes], booster: Any) -> None:
    objective = header.get(b"objective", b"").decode()
    if objective.partition(" ")[0] not in _OBJECTIVES or header.get(b"num_class") != b"1":
        raise InvalidInput(
            f"The booster has LightGBM's objective {objective or 'of its own'!r} for {header.get(b'num_class', b'?').decode()} classes; "
            "a model answers one number a row.",
            f"Train it with one of {', '.join(sorted(_OBJECTIVES))}.",
        )
    if any(booster.pandas_categorical or []):
        raise InvalidInput(
            "The booster was fitted to categories of pandas, which rows of a request do not have.",
            "Give the categories as whole numbers, and their columns as categorical_feature.",
        )


def _check(data: bytes) -> dict[bytes, bytes]:
    """Return the fields of a file's head, after a look at all its trees."""
    if b"\0" in data or b"\r" in data:
        raise ValueError("it is no text with plain ends of lines")
    head, _, rest = data.partition(b"\n\n")
    trees, end, _ = rest.partition(b"end of trees\n")
    header = _fields(head)
    width = len(header.get(b"feature_names", b"").split(b" "))
    if not head.startswith(b"tree\n") or not end or header.get(b"num_tree_per_iteration") != header.get(b"num_class"):
        raise ValueError("it is no text file of LightGBM")
    if _numbers(header, b"max_feature_idx", 1).tolist() != [width - 1]:
        raise ValueError("it names another number of features")
    starts = [found.start() for found in re.finditer(rb"^Tree=", trees, re.MULTILINE)]
    blocks = [trees[start:after] for start, after in zip(starts, [*starts[1:], len(trees)], strict=True)]
    # LightGBM jumps by these sizes.
    sizes = _numbers(header, b"tree_sizes", len(blocks)).tolist()
    if trees[: starts[0] if starts else None] or sizes != [len(block) for block in blocks]:
        raise ValueError("its trees have other sizes than it says")
    for block in blocks:
        fields, _, after = block.partition(b"\n\n")
        if after.strip(b"\n"):
            raise ValueError("there is something between its trees")
        _check_tree(_fields(fields), width)
    return header


def _check_tree(tree: dict[bytes, bytes], width: int) -> None:
    leaves, categories = int(_numbers(tree, b"num_leaves", 1)[0]), int(_numbers(tree, b"num_cat", 1)[0])
    if leaves < 1 or categories < 0 or len(tree.get(b"leaf_value", b"").split(b" ")) != leaves:
        raise ValueError("a tree has another number of leaves than it says")
    if tree.get(b"is_linear", b"0") != b"0":
        raise ValueError("its leaves are linear models, which are not read here")
    if leaves == 1:
        return
    nodes = leaves - 1
    own = np.arange(nodes)
    for side in (b"left_child", b"right_child"):
        child = _numbers(tree, side, nodes)
        # A node is numbered after the one that it was split from; anything else may also be a circle. Leaves are below zero.
        if ((child >= 0) & (child <= own)).any() or (child >= nodes).any() or (~child >= leaves).any():
            raise ValueError("a tree's branch leads outside the tree")
    feature = _numbers(tree, b"split_feature", nodes)
    if ((feature < 0) | (feature >= width)).any():
        raise ValueError("a tree asks for a feature that does not exist")
    decision = _numbers(tree, b"decision_type", nodes)
    thresholds = np.array(tree.get(b"threshold", b"").split(b" ")).astype(np.float64)
    if ((decision < 0) | (decision > _DECISIONS)).any() or len(thresholds) != nodes:
        raise ValueError("a tree decides in an unknown way")
    asked = thresholds[(decision & _CATEGORY) != 0]
    if len(asked) and not ((asked >= 0) & (asked < categories)).all():
        raise ValueError("a category table is missing")
    if categories:
        bounds = _numbers(tree, b"cat_boundaries", categories + 1)
        _numbers(tree, b"cat_threshold", int(bounds[-1]))
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise ValueError("a category table has no end")


def _fields(lines: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in lines.split(b"\n"):
        key, equals, value = line.partition(b"=")
        # The first line of a file, and whether trees are averaged, stand alone.
        if key in found or not (equals or key in (b"tree", b"average_output")):
            raise ValueError(f"the line {line[:40]!r} is no field, or stands twice")
        found[key] = value
    return found


def _numbers(fields: dict[bytes, bytes], name: bytes, count: int) -> npt.NDArray[np.int64]:
    text = fields.get(name, b"")
    found = text.split(b" ") if text else []
    if len(found) != count or (found and not _WHOLE.fullmatch(text)):
        raise ValueError(f"{name.decode()} is not {count} whole numbers")
    return np.array(found, dtype="S11").astype(np.int64)
