"""A version is examined: a real model, a real project, the real server in a process of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from plimsoll.data.project import load_object
from plimsoll.data.values import save
from plimsoll.errors import NotFound, Untrusted
from plimsoll.records.access import Actor
from plimsoll.records.deployment import CreateRelease, StartRollout
from plimsoll.records.model import CheckReport, CheckVersion, CreateVersion, GetReport, TrustPackage, Verdict, Version
from plimsoll.records.run import StartRun
from plimsoll.registry.package import Model
from plimsoll.workspace import Workspace, open_workspace

PROJECT = """
[project]
name = "trains"

[tool.plimsoll.models.trains]
goal = "Say which trains will be late."
label = "late"
unit = "id"
time = "at"
baseline = "trains_rule.py:rule"
minimum_saving = 0.01
slices = ["line"]
decision_stage = "an hour before departure"
costs = { false_alarm = 1.0, missed = 3.0 }
known_at = { minutes = "after arrival" }
# Far more than a busy machine needs.
budget = { load_seconds = 120.0, memory_mib = 1500.0, latency_ms = 5000.0 }
"""

CODE = """
import polars as pl

def rule(rows):
    return (rows["rain"] > 1.2).cast(pl.Int64)

def prepare(rows):
    further = [name for name in ("minutes", "wind") if name in rows.columns]
    return rows.select(pl.col("rain"), pl.col("rain").abs().alias("strength"), *further)
"""

ADA = Actor(name="ada", roles=("admin",), person=True)
BOB = Actor(name="bob", roles=("write",), person=False)
EVERY = ("availability", "purpose", "quality", "baseline", "champion", "slices", "stability", "parity", "footprint")


def trains(count: int, first_day: int) -> pl.DataFrame:
    """50 trains a day; late when it rains and the wind blows."""
    random = np.random.default_rng(first_day)
    rain, wind = random.normal(size=count), random.normal(size=count)
    late = rain + wind + random.normal(size=count) > 1.2
    return pl.DataFrame(
        {
            "id": [f"{first_day}-{row}" for row in range(count)],
            "at": [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=first_day, minutes=28 * row) for row in range(count)],
            "rain": rain,
            "wind": wind,
            "minutes": late * 20 + random.normal(size=count) * 4,
            "line": random.choice(["east", "west"], count),
            "late": late.astype(np.int8),
        }
    )


@dataclass
class Yard:
    """A project, its workspace, and what was said."""

    workspace: Workspace
    said: list[str] = field(default_factory=list)

    def version(self, inputs: tuple[str, ...], actor: Actor = ADA) -> Version:
        """Train on some inputs, store the package and number it."""
        rows = trains(3000, 0)
        prepare = load_object(self.workspace.project, "trains_rule.py:prepare")
        estimator = LogisticRegression().fit(prepare(rows.select(*inputs)).to_numpy(), rows["late"].to_numpy())
        example, holdout = rows.select(*inputs).head(5), trains(1000, 100)
        return self.store(Model(estimator, name="trains", example=example, features=prepare, training=rows, holdout=holdout), actor)

    def store(self, model: Model, actor: Actor = ADA) -> Version:
        """Store a package and number it."""
        output = save(model, self.workspace.stores.blobs, self.workspace.project)
        run = self.workspace.do(StartRun(experiment="trains"), actor)
        return self.workspace.do(CreateVersion(model="trains", digest=output.digest, run_id=run.id), actor)

    def check(self, version: Version, environment: str = "dev") -> dict[str, Verdict]:
        """Examine as the worker does and return the verdicts by name."""
        report: CheckReport = self.workspace.work(
            CheckVersion(ref=f"trains/{version.number}", environment=environment), ADA, self.said.append
        )
        assert self.workspace.do(GetReport(ref=version.digest), ADA) == report
        found = {verdict.check: verdict for verdict in report.verdicts}
        assert tuple(found) == EVERY
        return found


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "trains_rule.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    workspace = open_workspace(tmp_path / "home", project, owner="ada")
    yield Yard(workspace)
    workspace.close()
    sys.modules.pop("trains_rule", None)
    importlib.invalidate_caches()


def outcomes(found: dict[str, Verdict]) -> dict[str, Any]:
    """Return every outcome that is not a pass, with its reason."""
    return {name: (verdict.outcome, verdict.reason) for name, verdict in found.items() if verdict.outcome != "pass"}


@pytest.mark.slow
def test_a_good_version_that_somebody_trusts_passes_every_check_and_is_then_the_one_to_beat(yard: Yard) -> None:
    weak = yard.version(("rain",), actor=BOB)
    # Code that nobody trusts does not run, and the error says how to allow it.
    with pytest.raises(Untrusted, match="plimsoll models trust trains/1"):
        yard.check(weak)
    with pytest.raises(NotFound):
        yard.workspace.do(GetReport(ref="trains/1"), ADA)
    yard.workspace.do(TrustPackage(digest=weak.digest, reason="read it"), ADA)
    assert outcomes(yard.check(weak)) == {}
    assert any(line.startswith("parity: pass") for line in yard.said)
    release = yard.workspace.do(CreateRelease(ref="trains/1", environment="dev"), ADA)
    yard.workspace.do(StartRollout(release_id=release.id), ADA)

    same = yard.check(weak)["champion"]
    assert same.outcome == "pass"
    assert same.numbers["flip_rate"] == 0

    strong = yard.version(("rain", "wind"))
    table = yard.workspace.project / "pyproject.toml"
    table.write_text(table.read_text().replace("minimum_saving = 0.01", "minimum_saving = 0.02"))
    found = yard.check(strong)
    assert list(outcomes(found)) == ["purpose"]
    assert "another minimum_saving now" in found["purpose"].reason
    assert found["champion"].numbers["champion"] == "trains/1"
    assert found["champion"].numbers["flip_rate"] > 0.05
    assert found["champion"].numbers["seen"] == 0


@pytest.mark.slow
def test_a_leaking_and_a_worse_version_are_refused_by_the_checks_that_see_it(yard: Yard) -> None:
    strong = yard.version(("rain", "wind"))
    release = yard.workspace.do(CreateRelease(ref=f"trains/{strong.number}", environment="dev"), ADA)
    yard.workspace.do(StartRollout(release_id=release.id), ADA)

    leaking = yard.check(yard.version(("rain", "minutes")))
    assert list(outcomes(leaking)) == ["availability"]
    assert "'minutes', which is known only after arrival" in leaking["availability"].reason

    worse = yard.check(yard.version(("rain",)))
    assert list(outcomes(worse)) == ["champion"]
    assert "Not shown to be at least as good" in worse["champion"].reason


@pytest.mark.slow
def test_a_version_without_a_holdout_fails_the_checks_that_need_one_and_the_others_are_still_made(yard: Yard) -> None:
    rows = trains(3000, 0)
    prepare = load_object(yard.workspace.project, "trains_rule.py:prepare")
    estimator = LogisticRegression().fit(prepare(rows.select("rain")).to_numpy(), rows["late"].to_numpy())
    found = outcomes(yard.check(yard.store(Model(estimator, name="trains", example=rows.select("rain").head(50), features=prepare))))
    assert "names no training data" in found["quality"][1]
    assert "names no holdout data" in found["baseline"][1]
    assert "50 reference rows" in found["parity"][1]
    assert found["availability"][0] == "warn"
    assert "footprint" not in found
