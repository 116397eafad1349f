"""A crafted text of LightGBM is refused before LightGBM sees it: its compiled code follows the tables without looking."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plimsoll.errors import Corrupt
from plimsoll.registry import flavors
from plimsoll.registry.formats.lightgbm import is_booster, read, write

lightgbm: Any = pytest.importorskip("lightgbm", reason="The package lightgbm is not here. Install it with: pip install 'plimsoll[test]'")

chance = np.random.default_rng(1)
ROWS = np.column_stack([chance.normal(size=(200, 2)), np.arange(200) % 9])
GIVEN = {"num_threads": 1, "verbose": -1, "min_data_in_leaf": 3, "min_data_per_group": 1, "cat_smooth": 1, "max_cat_to_onehot": 1}


def text(**params: Any) -> bytes:
    """Return the text of a booster of three trees, which ask for numbers and for categories."""
    data = lightgbm.Dataset(ROWS, ROWS[:, 0] + 3 * (ROWS[:, 2] % 2), categorical_feature=[2])
    return write(lightgbm.train({"objective": "regression", **GIVEN, **params}, data, 3))


def changed(data: bytes, field: str, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Return a text in which the numbers of one field of the first tree that has it are others, and whose sizes fit again."""
    found = re.search(rb"^Tree=\d+\n(?:.+\n)*?" + field.encode() + rb"=(.+)\n", data, re.MULTILINE)
    assert found is not None, field
    numbers = b" ".join(change(found[1].split(b" ")))
    return sized(data[: found.start(1)] + numbers + data[found.end(1) :])


def sized(data: bytes) -> bytes:
    starts = [found.start() for found in re.finditer(rb"^Tree=|^end of trees", data, re.MULTILINE)]
    sizes = b" ".join(b"%d" % (after - start) for start, after in itertools.pairwise(starts))
    return re.sub(rb"^tree_sizes=.*$", b"tree_sizes=" + sizes, data, count=1, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "params", [{}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, {"boosting": "dart"}, {"min_data_in_leaf": 150}]
)
def test_what_lightgbm_writes_is_read_and_answers_alike(params: dict[str, Any]) -> None:
    data = text(**params)
    assert sized(data) == data
    again = read(data)
    assert is_booster(again)
    assert again.predict(ROWS).tolist() == lightgbm.Booster(model_str=data.decode()).predict(ROWS).tolist()


def test_the_same_booster_gives_the_same_bytes() -> None:
    assert text() == text() == write(read(text()))


def first(value: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda numbers: [value, *numbers[1:]]


@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("left_child", first(b"0"), "branch leads outside"),
        ("left_child", first(b"99999"), "branch leads outside"),
        ("right_child", first(b"-99999"), "branch leads outside"),
        ("right_child", first(b"1_0"), "is not"),
        ("left_child", lambda numbers: numbers[1:], "is not"),
        ("split_feature", first(b"3"), "feature that does not exist"),
        ("split_feature", first(b"-1"), "feature that does not exist"),
        ("decision_type", lambda numbers: [b"1"] * len(numbers), "category table is missing"),
        ("decision_type", first(b"64"), "unknown way"),
        ("threshold", lambda numbers: [b"nan"] * len(numbers), "category table is missing"),
        ("num_leaves", first(b"1000000"), "number of leaves"),
        ("num_leaves", first(b"-1"), "number of leaves"),
        ("num_cat", first(b"-1"), "number of leaves"),
        ("cat_boundaries", lambda numbers: [*numbers[:-1], b"1000"], "cat_threshold is not 1000"),
        ("cat_boundaries", first(b"-5"), "category table has no end"),
        ("is_linear", first(b"1"), "linear models"),
    ],
)
def test_a_table_that_leads_outside_of_itself_is_refused(tmp_path: Path, field: str, change: Any, told: str) -> None:
    crafted = changed(text(), field, change)
    with pytest.raises(ValueError, match=told):
        read(crafted)
    (tmp_path / "model.txt").write_bytes(crafted)
    with pytest.raises(Corrupt, match=told):
        flavors.load(tmp_path / "model.txt")


@pytest.mark.parametrize(
    ("pattern", "by", "told"),
    [
        (rb"tree_sizes=\d+", b"tree_sizes=9", "other sizes"),
        (rb"tree_sizes=.*\n", b"", "tree_sizes is not 3"),
        (rb"max_feature_idx=2", b"max_feature_idx=2000000000", "number of features"),
        (rb"max_feature_idx=2", b"max_feature_idx=2\nmax_feature_idx=7", "stands twice"),
        (rb"num_tree_per_iteration=1", b"num_tree_per_iteration=4", "no text file"),
        (rb"^tree\n", b"", "no text file"),
        (rb"end of trees", b"", "no text file"),
        (rb"version=v4", b"version=v4\r", "plain ends"),
        (rb"version=v4", b"no field", "no field"),
        (rb"label_index=0\n", b"", "LightGBM does not read it"),
    ],
)
def test_a_head_that_does_not_fit_the_trees_is_refused(pattern: bytes, by: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(re.sub(pattern, by, text(), count=1))
