"""Both doors give the same results and the same errors, in process and through a real server."""

from __future__ import annotations

import dataclasses
import math
import socket
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from plimsoll import clock, codec, verbs
from plimsoll.errors import Denied, InvalidInput, NotFound, PlimsollError, Refused, Unauthenticated, Unreachable, _tree, from_wire, to_wire
from plimsoll.records.access import AddActor, GetJob, ListJobs, WhoAmI
from plimsoll.records.deployment import ApproveRelease, CreateRelease, GetDeployment, ReleasePolicy
from plimsoll.records.model import CheckVersion, GetVersion, TrustPackage
from plimsoll.records.monitor import SealPredictions, WatchWindow
from plimsoll.records.pipelines.trigger import TriggerRule
from plimsoll.records.registry.catalog import AdoptFiles
from plimsoll.records.registry.webhooks import CreateWebhook, UpdateWebhook
from plimsoll.records.request import Request, result_type
from plimsoll.records.run import AppendPoints, CodeVersion, FinishRun, GetRun, GetSeries, PointColumns, ResumeRun, StartRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.records.tracking.logged_model import CreateLoggedModel
from plimsoll.records.tracking.traces.span import Span
from plimsoll.records.tracking.traces.trace import DeleteTraces, RequestTrace
from plimsoll.sdk.door import connect, open_door
from plimsoll.sdk.http import HttpDoor
from plimsoll.workspace import open_workspace
from tests.unit.conftest import Running

#: Fits every field of text: a name, a digest and an id.
TEXT = "0" * 64


def sample(kind: Any) -> Any:
    """Return a value of a type: every optional thing is there, and every list has one item."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if kind is ReleasePolicy:
            return ReleasePolicy(approvals=2, alpha=0.05)
        if kind is WatchWindow:
            return WatchWindow(model="m", start=1, end=2, as_of=3)
        if kind is GetSeries:
            return GetSeries(run_id=TEXT, name=TEXT, steps=(1, 1), first=1, limit=1)
        if kind is DeleteTraces:
            return DeleteTraces(experiment_id=TEXT, until=1, limit=1)
        if kind is RequestTrace:
            return RequestTrace(id="tr-1", experiment_id=TEXT, state="ok", started=1, duration=1, tags={TEXT: TEXT})
        if kind is Span:
            return Span(trace_id="tr-1", id="a" * 16, parent_id="b" * 16, name=TEXT, started=1, ended=2, content={"a": [1]})
        if kind is AdoptFiles:
            return AdoptFiles(model=TEXT, owner="m-1", path="a/b", source=TEXT, description=TEXT, tags={TEXT: TEXT}, number=3, created=1)
        if kind is CreateWebhook:
            return CreateWebhook(name="w", url=TEXT, happenings=("model_version.created",), description=TEXT, secret=TEXT, active=False)
        if kind is UpdateWebhook:
            return UpdateWebhook(id=TEXT, name="w", url=TEXT, happenings=("model_version.created",), secret=TEXT, active=True)
        if kind is TriggerRule:
            return TriggerRule(on="call", pipeline="pipe.py:flow", params={"depth": 3})
        hints = typing.get_type_hints(kind)
        values = {field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)}
        if kind in (StartRun, ResumeRun):
            values["id"] = TEXT[:32]
        if kind is CreateLoggedModel:
            values["id"] = f"m-{TEXT[:32]}"
        return typing.cast(Any, kind)(**values)
    if origin is Literal:
        return arguments[-1]
    if origin is tuple:
        return tuple(sample(kind) for kind in arguments if kind is not Ellipsis)
    if origin is dict:
        return {sample(arguments[0]): sample(arguments[1])}
    if type(None) in arguments:
        return sample(next(argument for argument in arguments if argument is not type(None)))
    plain: dict[Any, Any] = {
        str: TEXT,
        int: 1,
        float: 1.0,
        bool: True,
        bytes: b"\x00\xff",
        Any: {"a": [1, "b", None, 0.5]},
        type(None): None,
    }
    return plain[None.__class__ if kind is None else kind]


@pytest.mark.parametrize("verb", verbs.VERBS, ids=lambda verb: verb.name)
def test_every_request_and_result_comes_back_from_both_formats(verb: verbs.Verb) -> None:
    for kind in (verb.request, result_type(verb.request)):
        value = sample(kind)
        assert codec.from_json(codec.to_json(value), kind) == value
        assert codec.from_msgpack(codec.to_msgpack(value), kind) == value
        assert codec.convert(codec.plain(value), kind) == value


@pytest.mark.parametrize("verb", verbs.VERBS, ids=lambda verb: verb.name)
def test_every_request_is_sent_whole_and_has_no_field_that_the_server_does_not_know(verb: verbs.Verb) -> None:
    value, fields = sample(verb.request), codec.Fields(verb.request)
    packed = codec.Brief(verb.request).pack(value)
    assert codec.from_msgpack(packed, verb.request) == value
    fields.check(packed, True, "It")
    fields.check(codec.to_json(value), False, "It")
    with pytest.raises(InvalidInput, match="'newer'"):
        fields.check(codec.to_json(codec.plain(value) | {"newer": 1}), False, "It")


def test_a_field_that_has_its_default_is_not_sent_so_that_an_older_server_does_not_miss_it() -> None:
    sent = codec.from_msgpack(codec.Brief(StartRun).pack(StartRun(key="k", code=CodeVersion(commit="c"))), dict[str, Any])
    assert sent == {"key": "k", "cause": {}, "code": {"commit": "c"}}


@pytest.mark.parametrize("error", _tree(PlimsollError).values(), ids=lambda error: error.__name__)
def test_every_error_crosses_the_wire_as_itself(error: type[PlimsollError]) -> None:
    raised = error("It is so.", "Do this.", field="x", count=3)
    for packed in (codec.to_msgpack(to_wire(raised)), codec.to_json(to_wire(raised))):
        wire = codec.from_msgpack(packed, dict[str, Any]) if packed[:1] != b"{" else codec.from_json(packed, dict[str, Any])
        back = from_wire(wire)
        assert type(back) is error
        assert (back.fact, back.remedy, back.details, str(back)) == (
            "It is so.",
            "Do this.",
            {"field": "x", "count": 3},
            "It is so. Do this.",
        )


def test_an_error_of_a_newer_server_is_still_an_error() -> None:
    back = from_wire({"code": "hull_breach", "fact": "Water.", "remedy": "Pump.", "details": {"fact": 1, "self": 2}})
    assert type(back) is PlimsollError
    assert back.details == {"fact": 1, "self": 2}


def failing(running: Running) -> list[tuple[tuple[Any, ...], Request[Any]]]:
    yard = running.yard
    version = yard.version(clock.new_id())
    yard.examine(version, "fail")
    ended = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(FinishRun(id=ended.id), yard.dana)
    return [
        ((), GetRun(id="abcdef01")),
        ((), GetRun(id="ab")),
        ((), GetVersion(ref="nothing@production")),
        ((), GetDeployment(model="nothing")),
        ((), FinishRun(id=ended.id, state="failed")),
        ((), CreateRelease(ref=version.digest)),
        ((), AddActor(name="worker")),
        (("read",), StartRun()),
        (("read",), SealPredictions()),
        (("write",), ApproveRelease(id="abcdef01", digest=TEXT)),
        (("operate",), TrustPackage(digest=TEXT)),
    ]


def test_both_doors_raise_the_same_error(running: Running) -> None:
    seen = set()
    for roles, request in failing(running):
        caught = []
        for door in (running.folder(*roles), running.http(*roles)):
            with pytest.raises(PlimsollError) as raised:
                door.do(request)
            error = raised.value
            caught.append((type(error), error.fact, error.remedy, error.details, str(error)))
        assert caught[0] == caught[1]
        seen.add(caught[0][0].__name__)
    assert seen == {"NotFound", "InvalidInput", "Conflict", "Refused", "Denied"}


def test_half_a_character_is_refused_by_both_doors(running: Running) -> None:
    """It stands in an argument of a command line that was no UTF-8."""
    for door in (running.folder(), running.http()):
        for request in (SearchRuns(where="name = '\udcff'"), GetRun(id="\udcff" * 32)):
            with pytest.raises(InvalidInput, match=r"surrogates|half a character"):
                door.do(request)


def test_both_doors_give_the_same_result(running: Running) -> None:
    run = running.http().do(StartRun(experiment="same", params={"depth": 3, "none": None}))
    assert running.folder().do(GetRun(id=run.id)) == running.http().do(GetRun(id=run.id))
    assert running.http().do(WhoAmI()) == running.yard.owner


def test_points_keep_every_bit_through_the_server(running: Running) -> None:
    door = running.http()
    run = door.do(StartRun())
    values = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1)
    count = len(values)
    points = PointColumns(names=("m",) * count, steps=tuple(range(count)), times=(1,) * count, values=values)
    door.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points))
    back = door.do(GetSeries(run_id=run.id, name="m")).values
    assert [repr(value) for value in back] == [repr(value) for value in values]
    (summary,) = door.do(GetRun(id=run.id)).metrics
    assert (summary.count, summary.min, summary.max) == (count, -math.inf, math.inf)
    nothing = PointColumns(names=("n",), steps=(0,), times=(1,), values=(math.nan,))
    door.do(AppendPoints(run_id=run.id, writer="v", sequence=1, points=nothing))
    assert math.isnan(door.do(GetRun(id=run.id)).metrics[1].last)


def test_bytes_go_up_once_and_come_down_verified(running: Running, tmp_path: Path) -> None:
    blobs = running.http("read", "write").blobs
    data = bytes(range(256)) * 20_000
    (tmp_path / "up").write_bytes(data)
    digest, size = blobs.put_file(tmp_path / "up")
    assert (digest, size) == (codec.digest(data), len(data))
    assert blobs.put(data) == digest
    assert (blobs.has(digest), blobs.size(digest), blobs.get(digest) == data) == (True, len(data), True)
    blobs.get_file(digest, tmp_path / "deep" / "down")
    assert (tmp_path / "deep" / "down").read_bytes() == data
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["down"]


def test_an_empty_blob_is_a_blob(running: Running, tmp_path: Path) -> None:
    blobs = running.http("read", "write").blobs
    (tmp_path / "empty").touch()
    assert blobs.put_file(tmp_path / "empty") == (blobs.put(b""), 0)
    assert blobs.get(blobs.put(b"")) == b""


def test_a_blob_that_is_not_there_is_not_found(running: Running, tmp_path: Path) -> None:
    blobs = running.http().blobs
    assert not blobs.has("1" * 64)
    for ask in (blobs.get, blobs.size, lambda digest: blobs.get_file(digest, tmp_path / "x")):
        with pytest.raises(NotFound):
            ask("1" * 64)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInput):
        blobs.has("short")


def test_who_may_not_write_or_read_blobs_is_told_so(running: Running, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(clock.new_id().encode() * 300_000)
    with pytest.raises(Denied):
        running.http("read").blobs.put_file(tmp_path / "large")
    stored = running.yard.workspace.stores.blobs.put(b"stored")
    blind = running.http("write").blobs
    asks: tuple[Callable[[str], object], ...] = (blind.has, blind.size, blind.get)
    for ask in asks:
        with pytest.raises(Denied):
            ask(stored)


def test_a_token_that_is_not_known_is_refused_for_verbs_and_bytes(running: Running) -> None:
    door = HttpDoor(running.address.url, "wrong")
    for ask in (lambda: door.do(WhoAmI()), lambda: door.blobs.has(TEXT), lambda: door.blobs.get(TEXT)):
        with pytest.raises(Unauthenticated):
            ask()
    door.close()


def test_a_new_token_ends_the_old_one(running: Running) -> None:
    first = running.http("read")
    assert first.do(WhoAmI()).name == "read"
    running.http("read")
    with pytest.raises(Unauthenticated):
        first.do(WhoAmI())


def test_sound_bytes_are_not_deleted_by_a_client(running: Running) -> None:
    digest = running.yard.workspace.stores.blobs.put(b"to stay")
    with pytest.raises(Refused):
        running.http().blobs.delete(digest)
    assert running.yard.workspace.stores.blobs.has(digest)


def test_a_job_is_waited_for_and_its_result_returned(running: Running) -> None:
    with running.working():
        assert running.http().do(SealPredictions(minimum_rows=1)) == 0


def test_the_error_of_a_job_is_raised_as_if_it_had_been_done_here(running: Running) -> None:
    request = CheckVersion(ref="nothing/1")
    with pytest.raises(NotFound) as here:
        running.folder().do(request)
    with running.working(), pytest.raises(NotFound) as there:
        running.http().do(request)
    assert to_wire(here.value) == to_wire(there.value)


def test_a_job_left_in_the_queue_is_returned_at_once_and_only_jobs_are_left_there(running: Running) -> None:
    for door in (running.http(), running.folder()):
        job = door.submit(SealPredictions(), key="later")
        assert job.state == "waiting"
        assert door.do(GetJob(id=job.id)) == job
        with pytest.raises(InvalidInput, match="is no job"):
            door.submit(WhoAmI())
    assert sum(job.key == "later" for job in running.http().do(ListJobs())) == 1


def test_a_server_that_is_not_there_is_unreachable_with_the_command_that_starts_it() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        door = HttpDoor(f"http://127.0.0.1:{held.getsockname()[1]}", "token")
        with pytest.raises(Unreachable, match="plimsoll up"):
            door.do(WhoAmI())
        with pytest.raises(Unreachable):
            door.blobs.has(TEXT)
        door.close()


def test_an_address_is_http_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_TOKEN", raising=False)
    with pytest.raises(InvalidInput, match="neither http"):
        open_door("ftp://somewhere")
    door = open_door(str(tmp_path / "home"))
    assert door.do(WhoAmI()).roles == ("admin",)
    door.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://plimsoll.example",
        "https://plimsoll.example:7600",
        "http://127.0.0.1@plimsoll.example",
        "http://127.0.0.1.plimsoll.example",
        "http://10.0.0.7:7600",
        "http://localhost.plimsoll.example",
        "http://",
    ],
)
def test_the_homes_own_token_is_not_sent_to_another_machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_workspace(tmp_path / "home").close()
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PLIMSOLL_TOKEN", raising=False)
    with pytest.raises(Unauthenticated, match="Set PLIMSOLL_TOKEN"):
        open_door(url)
    monkeypatch.setenv("PLIMSOLL_URL", url)
    with pytest.raises(Unauthenticated, match="Set PLIMSOLL_TOKEN"):
        connect()
    with pytest.raises(Unauthenticated, match="Set PLIMSOLL_TOKEN"):
        connect(url)
    open_door(url, "given").close()
    monkeypatch.setenv("PLIMSOLL_TOKEN", "given")
    connect().close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_the_homes_own_token_is_for_a_server_on_this_machine(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_workspace(tmp_path / "home").close()
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PLIMSOLL_TOKEN", raising=False)
    open_door(f"http://{host}:7600").close()


def test_an_address_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_TOKEN", raising=False)
    with pytest.raises(InvalidInput, match="is not a URL"):
        open_door("http://127.0.0.1:port")
