"""A ``python_function`` is code: none is read before a person has allowed these files. What then runs: ``tests/wire/test_called.py``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import yaml

from plimsoll.errors import MissingExtra, Untrusted
from plimsoll.records.model import ListGrants, TrustPackage
from plimsoll.registry import flavors
from plimsoll.registry.formats.pyfunc import LOADER, PyFunc
from tests.unit.registry.mlflow.test_packing import Evil, document, files, logged, pack
from tests.unit.yard import Yard


def called_files(model: Any, **flavor: Any) -> dict[str, bytes]:
    """Return the files of a model as MLflow's flavour of functions writes them."""
    said = {"loader_module": "mlflow.pyfunc.model", "python_model": "python_model.pkl", **flavor}
    written = document("skops", flavors={"python_function": said})
    return files(None, "skops") | {"MLmodel": yaml.safe_dump(written).encode(), "python_model.pkl": cloudpickle.dumps(model)}


@pytest.mark.parametrize("flavor", [{}, {"code": "code"}, {"loader_module": "mlflow.pytorch"}, {"loader_module": "antigravity"}])
def test_nothing_of_a_function_runs_before_a_person_has_allowed_it(yard: Yard, tmp_path: Path, flavor: dict[str, str]) -> None:
    version = logged(yard, called_files(Evil(tmp_path / "mark"), **flavor))
    with pytest.raises(Untrusted, match=r"late/1 is a python_function .* plimsoll models trust late/1"):
        pack(yard)
    assert not (tmp_path / "mark").exists()
    assert yard.workspace.do(ListGrants(digest=version.digest), yard.dana) == ()


def test_an_estimator_with_code_of_its_own_is_a_function_as_well(yard: Yard, tmp_path: Path) -> None:
    written = document("skops")
    written["flavors"]["sklearn"]["code"] = "code"
    written["flavors"]["python_function"] = {"loader_module": "mlflow.sklearn", "code": "code"}
    logged(yard, files(Evil(tmp_path / "mark"), "pickle") | {"MLmodel": yaml.safe_dump(written).encode(), "code/own.py": b""})
    with pytest.raises(Untrusted, match=r"late/1 is a python_function that mlflow.sklearn loads"):
        pack(yard)
    assert not (tmp_path / "mark").exists()


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed here")
def test_without_mlflow_it_says_what_to_install(yard: Yard, tmp_path: Path) -> None:
    version = logged(yard, called_files(Evil(tmp_path / "mark")))
    yard.workspace.do(TrustPackage(digest=version.digest, reason="mine"), yard.nora)
    with pytest.raises(MissingExtra, match=r"pip install 'plimsoll\[pyfunc\]'"):
        pack(yard)
    assert not (tmp_path / "mark").exists()


def test_a_folder_is_loaded_only_by_who_was_let_call_its_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PyFunc, "__init__", lambda *given: pytest.fail("it was loaded"))
    for allowed in ((), ("mlflow",)):
        with pytest.raises(Untrusted) as refused:
            flavors.load(tmp_path / "mlflow", allowed)
        assert refused.value.details["types"] == [LOADER]
