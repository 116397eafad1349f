"""The way of a model that MLflow's own client wrote: registered, packed, checked, approved, released, and asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from plimsoll.data.snapshot import get_tree
from plimsoll.data.tables.table import put_table
from plimsoll.errors import Refused, Untrusted
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.deployment import ApproveRelease, CreateRelease, GetRelease
from plimsoll.records.model import CheckVersion, GetReport, GetVersion, TrustPackage
from plimsoll.records.registry.catalog import CreateModel
from plimsoll.records.registry.packing import PackVersion
from plimsoll.records.registry.webhooks import CreateWebhook, GetWebhook
from plimsoll.registry.package import open_package
from tests.flows.real_platform import APPROVER, AUTHOR, Platform, until
from tests.unit.registry.webhooks.receiver import receiving
from tests.wire.conftest import Served, work

pytestmark = pytest.mark.slow

#: What the models of ``clients/packed.py`` are for.
DECLARED = """
[tool.plimsoll.models.{}-{}]
goal = "Say what is late."
label = "late"
unit = "id"
time = "at"
costs = {{ false_alarm = 1.0, missed = 3.0 }}
budget = {{ load_seconds = 1200.0, memory_mib = 1500.0, latency_ms = 60000.0 }}
"""


class _Reaching(Platform):
    """A platform whose operator lets webhooks tell this very machine."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every process that is started here."""
        return {**super().environment, "PLIMSOLL_WEBHOOK_HOSTS": "127.0.0.1"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform whose project says what the models are for."""
    folder = tmp_path_factory.mktemp("released")
    made = _Reaching(folder, f"sqlite:///{folder}/plimsoll.db")
    with (made.project / "pyproject.toml").open("a") as file:
        file.write("".join(DECLARED.format(name, generation) for name in ("late", "grown", "fitted") for generation in (2, 3)))
    try:
        made.start()
        yield made
    finally:
        made.close()


def keep_data(platform: Platform, rows: pl.DataFrame, labels: list[int]) -> tuple[str, str]:
    """Keep what the model was fitted to and what it never saw; return their digests."""
    # Over weeks: days are the unit of evidence.
    at = pl.datetime_range(datetime(2026, 1, 1), datetime(2026, 4, 1), interval="2h", time_zone="UTC", eager=True).head(rows.height)
    whole = rows.with_columns(late=pl.Series(labels), id=pl.int_range(rows.height), at=at)
    stored = [put_table(platform.author.blobs, part)[0] for part in (whole.head(500), whole.tail(300))]
    training, holdout = (platform.author.do(RegisterSnapshot(name="rows", digest=digest)).digest for digest in stored)
    return training, holdout


def test_a_model_that_a_client_wrote_goes_all_the_way_into_production(python: Path, platform: Platform, tmp_path: Path) -> None:
    generation = python.parts[-3][-1]
    name = f"late-{generation}"
    work("packed", python, Served(platform.url, platform.token), tmp_path)
    told = json.loads((tmp_path / "told.json").read_text())
    rows = pl.DataFrame(told["rows"])
    training, holdout = keep_data(platform, rows, told["labels"])

    # Checked and released is what was packed, and nothing else.
    for request in (CheckVersion(ref=f"{name}/1"), CreateRelease(ref=f"{name}/1")):
        with pytest.raises(Refused, match=f"plimsoll models pack {name}/1"):
            platform.author.do(request)
    # A pickle is not touched before a person has allowed that; skops with known classes needs nobody's word.
    pickled = "1" if generation == "2" else "2"
    refused = platform.command("models", "pack", f"{name}/{pickled}", "--training", training, "--holdout", holdout)
    assert refused.returncode == 3, refused.stderr
    assert "nobody has allowed that" in refused.stderr
    assert f"plimsoll models trust {name}/{pickled}" in refused.stderr
    if generation == "2":
        platform.author.do(TrustPackage(digest=platform.author.do(GetVersion(ref=f"{name}/1")).digest, reason="mine"))
    made = platform.author.do(PackVersion(ref=f"{name}/1", training=training, holdout=holdout))
    assert (made.author, made.tags["plimsoll.packed_from"]) == (AUTHOR, f"{name}/1")

    checked = platform.command("checks", "run", f"{name}/{made.number}", "--environment", "production")
    report = platform.author.do(GetReport(ref=f"{name}/{made.number}"))
    assert {verdict.check: verdict.reason for verdict in report.verdicts if verdict.outcome == "fail"} == {}
    assert checked.returncode == 0, checked.stderr
    verdicts = {verdict.check: verdict.outcome for verdict in report.verdicts}
    # A trial has served it, and compared its answers over HTTP with those of the file that MLflow wrote.
    assert (verdicts["parity"], verdicts["footprint"]) == ("pass", "pass"), report.verdicts

    release = platform.author.do(CreateRelease(ref=made.digest))
    with pytest.raises(Refused, match="is the author"):
        platform.author.do(ApproveRelease(id=release.id, digest=release.digest))
    assert platform.approver.do(ApproveRelease(id=release.id, digest=release.digest, note=f"{APPROVER} looked at it.")).state == "approved"
    until(lambda: platform.author.do(GetRelease(id=release.id)).state == "live", "the worker has put it live", 240)
    asked = {"dataframe_split": {"columns": rows.columns, "data": [list(row) for row in rows.rows()]}}
    path = f"/models/{name}/invocations"
    until(lambda: platform.plane_pid() is not None and platform.plane.post(path, json=asked).status_code == 200, "the plane serves it", 240)
    answer = platform.plane.post(path, json=asked)
    assert answer.headers["plimsoll-version"] == str(made.number)
    assert answer.json()["predictions"] == pytest.approx(told["answers"], rel=1e-9)
    # MLflow's clients are told the same: which version is in production.
    assert platform.author.do(GetVersion(ref=f"{name}@production")).digest == made.digest

    # A booster's text needs nobody's word, neither here nor where it is served; of an estimator the booster goes on, once it was read.
    with pytest.raises(Untrusted, match=f"plimsoll models trust fitted-{generation}/1"):
        platform.author.do(PackVersion(ref=f"fitted-{generation}/1"))
    platform.author.do(TrustPackage(digest=platform.author.do(GetVersion(ref=f"fitted-{generation}/1")).digest, reason="mine"))
    examined = {"2": "grown", "3": "fitted"}
    for kind in ("grown", "fitted"):
        made = platform.author.do(PackVersion(ref=f"{kind}-{generation}/1", training=training, holdout=holdout))
        get_tree(platform.author.blobs, made.digest, tmp_path / kind)
        assert open_package(tmp_path / kind, made.digest, trusted=False).predict(rows).tolist() == told[kind]
        # Both are a booster's text now, whichever client wrote them: each is examined once.
        if kind != examined[generation]:
            continue
        platform.author.do(CheckVersion(ref=f"{kind}-{generation}/{made.number}"))
        verdicts = {verdict.check: verdict.outcome for verdict in platform.author.do(GetReport(ref=made.digest)).verdicts}
        assert (verdicts["parity"], verdicts["footprint"]) == ("pass", "pass")


def test_what_a_webhook_was_not_told_when_the_platform_was_killed_is_told_by_the_next(platform: Platform) -> None:
    do = platform.author.do
    with receiving() as receiver:
        receiver.status = 503
        made = do(CreateWebhook(name="ours", url=receiver.url, happenings=("registered_model.created",), secret="s3cret"))
        do(CreateModel(name="first"))
        until(lambda: receiver.came, "it was tried")
        platform.kill()
        receiver.status = 200
        platform.start()
        do(CreateModel(name="second"))
        until(lambda: receiver.bodies()[-1]["data"]["name"] == "second", "both were told", 240)
        # One look: what is still on its way may come once more.
        came = list(receiver.came)
        names = [json.loads(body)["data"]["name"] for _, _, body in came]
        ids = {
            name: {headers["x-mlflow-delivery-id"] for (_, headers, _), named in zip(came, names, strict=True) if named == name}
            for name in names
        }
    # One after the other: the second comes when the first was taken, and nothing was given up.
    assert set(names[:-1]) == {"first"}
    assert do(GetWebhook(id=made.id)).dropped == 0
    # However often it was sent, it is known to be the same.
    assert [len(ids[name]) for name in ("first", "second")] == [1, 1]
    assert ids["first"] != ids["second"]
