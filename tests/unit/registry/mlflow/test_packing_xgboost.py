"""Models that xgboost wrote in a format of its own become packages: the files are data, and what is served is what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.data.snapshot import get_tree
from plimsoll.errors import Corrupt, PlimsollError, Refused, Untrusted
from plimsoll.records.model import ListGrants
from plimsoll.registry.package import open_package
from tests.unit.registry.mlflow.test_packing import LABELS, ROWS, document, files, logged, pack
from tests.unit.yard import Yard

xgboost: Any = pytest.importorskip("xgboost", reason="The package xgboost is not here. Install it with: pip install 'plimsoll[test]'")


def boosted_files(booster: Any, form: str = "ubj", kind: str = "xgboost.core.Booster") -> dict[str, bytes]:
    """Return the files of a model as MLflow's flavour of xgboost writes them."""
    flavor = {"code": None, "data": f"model.{form}", "model_class": kind, "model_format": form, "xgb_version": xgboost.__version__}
    written = document("skops", flavors={"python_function": {"loader_module": "mlflow.xgboost"}, "xgboost": flavor})
    return files(None, "skops") | {
        "MLmodel": yaml.safe_dump(written).encode(),
        f"model.{form}": bytes(booster.save_raw("ubj" if form == "xgb" else form)),
    }


def trained(**params: Any) -> Any:
    """Return a booster that stopped early, so that its best trees are fewer than all."""
    matrix = xgboost.DMatrix(ROWS.to_pandas(), LABELS.to_numpy())
    against = xgboost.DMatrix(ROWS.to_pandas(), 1 - LABELS.to_numpy())
    given = {"objective": "binary:logistic", "nthread": 1, **params}
    return xgboost.train(given, matrix, 10, evals=[(against, "held")], early_stopping_rounds=3, verbose_eval=False)


@pytest.mark.parametrize("form", ["ubj", "json", "xgb"])
def test_a_model_in_xgboosts_own_format_needs_no_grant_to_be_packed_and_answers_alike(yard: Yard, tmp_path: Path, form: str) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(ROWS.to_pandas(), LABELS.to_numpy())
    logged(yard, boosted_files(classifier.get_booster(), form, "xgboost.sklearn.XGBClassifier"))
    made = pack(yard)
    assert made.package.types == ("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier")
    assert "xgboost-cpu" in made.package.requirements
    get_tree(yard.workspace.stores.blobs, made.digest, tmp_path / "package")
    # What is served is built from those classes only where a person has said so: here whoever packed their own work.
    with pytest.raises(Untrusted):
        open_package(tmp_path / "package", made.digest, trusted=False)
    assert [grant.actor for grant in yard.workspace.do(ListGrants(digest=made.digest), yard.dana)] == ["dana"]
    model = open_package(tmp_path / "package", made.digest, trusted=True)
    assert model.predict(ROWS) == pytest.approx(classifier.predict_proba(ROWS.to_pandas())[:, 1])


def test_a_booster_answers_with_all_of_its_trees_as_it_does_by_itself(yard: Yard, tmp_path: Path) -> None:
    booster = trained()
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    logged(yard, boosted_files(booster))
    made = pack(yard)
    get_tree(yard.workspace.stores.blobs, made.digest, tmp_path / "package")
    answers = open_package(tmp_path / "package", made.digest, trusted=True).predict(ROWS)
    assert answers == pytest.approx(booster.predict(xgboost.DMatrix(ROWS.to_pandas())).astype(float))


@pytest.mark.parametrize(
    ("contents", "error", "told"),
    [
        (lambda: boosted_files(trained(objective="binary:hinge")), Refused, "objective 'binary:hinge'"),
        (lambda: boosted_files(trained()) | {"model.ubj": b"{L"}, Corrupt, "model.ubj of late/1 cannot be read"),
        (
            lambda: boosted_files(xgboost.train({}, xgboost.DMatrix(ROWS.select("n", "b", "a").to_pandas(), LABELS.to_numpy()), 1)),
            Refused,
            "was fitted to the columns n, b, a, and its signature says a, b, n",
        ),
    ],
)
def test_a_booster_that_cannot_become_a_package_says_why(yard: Yard, contents: Any, error: type[PlimsollError], told: str) -> None:
    logged(yard, contents())
    with pytest.raises(error, match=told):
        pack(yard)
