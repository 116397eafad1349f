from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from plimsoll import clock, codec
from plimsoll.errors import Corrupt, Unavailable
from plimsoll.records.model import Costs, Purpose
from plimsoll.registry import flavors
from plimsoll.registry.package import Model, package_digest
from plimsoll.registry.trial import try_package

#: Seconds that the start of a process may take on a busy machine.
PATIENCE = 300.0

PURPOSE = Purpose(goal="Say who is late.", label="late", unit="id", time="at", costs=Costs(false_alarm=1.0, missed=2.0))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    rows = pl.DataFrame({"a": random.random(250), "b": random.random(250)}).with_columns(late=(pl.col("a") > 0.5).cast(pl.Int8))
    estimator = LogisticRegression().fit(rows.select("a", "b"), rows["late"].to_numpy())
    model = Model(estimator, name="late", example=rows.select("a", "b").head(3), holdout=rows, purpose=PURPOSE)
    folder = tmp_path / "package"
    folder.mkdir()
    model.__plimsoll_save__(folder, tmp_path)
    return folder


def of_group(folder: Path) -> list[int]:
    """Processes that have the package's folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(int(entry.name))
    return found


def wait_until_ended(folder: Path) -> None:
    until = clock.monotonic() + 60
    while of_group(folder):
        assert clock.monotonic() < until, "a process of the trial is left"
        clock.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
def test_a_package_behind_the_real_server_answers_exactly_what_training_computed(package: Path) -> None:
    trial = try_package(package, package_digest(package), trusted=False, seconds=PATIENCE, requests=30)
    assert trial.failed == 0, trial.failure
    assert trial.rows == 250
    assert np.array_equal(trial.answered, trial.expected)
    assert 0 < trial.latency_p50_ms <= trial.latency_p99_ms
    assert trial.requests == 30
    assert 0 < trial.load_seconds < PATIENCE
    assert trial.memory_mib is not None
    assert 50 < trial.memory_mib < 2000
    wait_until_ended(package)


def test_a_package_that_does_not_load_is_reported_with_what_its_process_wrote(package: Path) -> None:
    rows = pl.read_parquet(package / "answers.parquet").select("a", "b")
    needs_trust = KNeighborsClassifier(3).fit(rows, (rows["a"] > 0.5).cast(pl.Int8).to_numpy())
    flavors.save(needs_trust, package / "model.skops")
    with pytest.raises(Unavailable, match=r"(?s)ended before it was ready.*KDTree"):
        try_package(package, package_digest(package), trusted=False, seconds=PATIENCE)
    wait_until_ended(package)


def test_a_damaged_package_is_not_even_started(package: Path) -> None:
    digest = package_digest(package)
    (package / "model.skops").write_bytes(b"broken")
    with pytest.raises(Corrupt):
        try_package(package, digest, trusted=False)


def test_a_process_that_is_not_ready_in_time_is_ended(package: Path) -> None:
    with pytest.raises(Unavailable, match="in time"):
        try_package(package, package_digest(package), trusted=False, seconds=0.05)
    wait_until_ended(package)


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found in /proc")
def test_nothing_is_left_when_the_measuring_process_is_killed(package: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from plimsoll.registry.trial import try_package; "
        "try_package(Path(sys.stdin.readline().strip()), sys.argv[1], trusted=False, seconds=300, requests=10**6)"
    )
    with subprocess.Popen([sys.executable, "-c", program, package_digest(package)], stdin=subprocess.PIPE) as measuring:
        assert measuring.stdin is not None
        measuring.stdin.write(f"{package}\n".encode())
        measuring.stdin.flush()
        try:
            until = clock.monotonic() + PATIENCE
            while len(of_group(package)) < 2:
                assert measuring.poll() is None
                assert clock.monotonic() < until, "the server and its replica did not start"
                clock.sleep(0.02)
        finally:
            measuring.kill()
    wait_until_ended(package)


def test_a_reference_that_the_server_refuses_counts_as_failed_requests(package: Path) -> None:
    frame = pl.read_parquet(package / "answers.parquet").with_columns(a=pl.lit(float("inf")))
    frame.write_parquet(package / "answers.parquet")
    trial = try_package(package, package_digest(package), trusted=False, seconds=PATIENCE, requests=5)
    assert codec.to_json(float("inf")) == b"null"
    assert trial.failed > 0
    assert np.isnan(trial.answered).all()
