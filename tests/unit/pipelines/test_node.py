"""What a node of a cluster does with a call, done here: nothing of it needs Ray while the node sees the driver's disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plimsoll import codec, errors
from plimsoll.data.trace.files.contents import Contents, held
from plimsoll.data.values import load
from plimsoll.pipelines.executors.call import Call, Unsuitable
from plimsoll.pipelines.executors.cluster.carried import pack, parts_of, receive, unpack
from plimsoll.pipelines.executors.cluster.node import machine, work_on_node
from plimsoll.pipelines.executors.task import task_of
from plimsoll.pipelines.plan import trace
from plimsoll.records.pipeline import Output
from plimsoll.store.blobs import LocalBlobs
from tests.unit.pipelines.bench import Bench

PIPE = """
    import os
    from plimsoll.pipelines.step import pipeline, step

    @step
    def work(path):
        return [path.read_text(), os.environ.get("USER"), os.environ.get("OF_THE_DRIVER")]

    @pipeline
    def flow(path):
        return work(path)
"""


def said(bench: Bench, path: Path, origin: str, sources: bytes | None = None, **changed: Any) -> list[dict[str, Any]]:
    """Return what a node says to a call, which brings no blobs: its sources, or nothing."""
    bench.write("pipe.py", PIPE)
    (node,) = trace(bench.load(), {"path": path}).nodes
    blobs = bench.workspace.stores.blobs
    assert isinstance(blobs, LocalBlobs)
    call = Call(node=node, inputs={}, code="", run_id="r", heard=lambda logged: None)
    task = {**task_of(call, blobs, bench.project), "paths": {str(path): held(str(path), Contents())}, **changed}
    limits, probe = codec.to_msgpack(node.step.options), blobs.put(b"probe")
    carried: dict[str, Any] | None = None if sources is None else {}
    messages = work_on_node(codec.to_msgpack(task), "work", limits, origin, probe, carried, [] if sources is None else [sources])
    return [codec.from_msgpack(message, dict[str, Any]) for message in messages]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that the step takes."""
    made = tmp_path / "file.txt"
    made.write_text("content")
    return made


def value(bench: Bench, messages: list[dict[str, Any]]) -> Any:
    """Return the value that the last message names."""
    return load(codec.convert(messages[-1]["ran"]["output"], Output, "The output"), bench.workspace.stores.blobs)


def test_a_node_that_sees_the_drivers_folder_works_on_it(bench: Bench, path: Path) -> None:
    messages = said(bench, path, machine())
    assert messages[0] == {"began": True}
    assert value(bench, messages)[0] == "content"


def test_a_node_that_sees_nothing_and_was_sent_nothing_says_so(bench: Bench, path: Path, tmp_path: Path) -> None:
    assert said(bench, path, machine(), blobs=str(tmp_path / "none"))[1:] == [{"apart": True}]


def test_another_machine_keeps_what_tells_of_the_machine(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "node")
    given = [[b"USER", b"driver"], [b"OF_THE_DRIVER", b"there"]]
    assert value(bench, said(bench, path, "another machine", environment=given))[1:] == ["node", "there"]


def test_a_path_that_names_another_file_on_its_node_is_unsuitable(bench: Bench, path: Path) -> None:
    folder = path.parent / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_text("a")
    contents = Contents()
    seen = {str(each): held(str(each), contents) for each in (path, folder)}
    assert value(bench, said(bench, path, "another machine", paths=seen))[0] == "content"
    path.write_text("CONTENT")
    changed = {str(path): seen[str(path)]}
    (folder / "in" / "a.txt").write_text("b")
    # Every path is one of the driver's machine, where it named what it names no more.
    for paths in (changed, {str(folder): seen[str(folder)]}, {str(path.with_name("none")): seen[str(path)]}):
        message = said(bench, path, "another machine", paths=paths)[-1]
        error = errors.from_wire(message["error"])
        assert isinstance(error, Unsuitable)
        assert "is not the same on its node" in error.fact


def test_a_relative_path_that_has_not_travelled_is_unsuitable_on_the_drivers_own_machine(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plimsoll.extras.require", lambda name: SimpleNamespace(get=lambda part: part))
    monkeypatch.chdir(bench.project)
    bench.write("pipe.py", PIPE)
    for name in ("seen.txt", ".hidden.txt"):
        bench.write(name, "content")
    for taken in (Path("seen.txt"), Path(".hidden.txt").resolve()):
        assert "ran" in said(bench, taken, machine(), pack(bench.project, None), blobs=str(tmp_path / "none"))[-1]
    message = said(bench, Path(".hidden.txt"), machine(), pack(bench.project, None), blobs=str(tmp_path / "none"))[-1]
    assert isinstance(errors.from_wire(message["error"]), Unsuitable)


def test_the_projects_files_travel_without_what_is_hidden_or_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    for name in ("a.py", "in/b.txt", ".hidden/c.py", "__pycache__/d.pyc", "venv/pyvenv.cfg", "venv/e.py", "home/f.db"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    (project / "big.bin").write_bytes(bytes((4 << 20) + 1))
    unpack(pack(project, project / "home"), tmp_path / "there")
    found = sorted(path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").rglob("*") if path.is_file())
    assert found == ["a.py", "in/b.txt"]
    monkeypatch.setattr("plimsoll.pipelines.executors.cluster.carried._LIMIT", 5)
    with pytest.raises(Unsuitable, match="too many to send"):
        pack(project, None)


@pytest.mark.parametrize("size", [0, 1, 10])
def test_a_blob_travels_in_parts_and_arrives_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("plimsoll.pipelines.executors.cluster.carried._PART", 4)
    here, there = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "there")
    digest = here.put(bytes(range(size)))
    parts = list(parts_of(here, digest))
    assert len(parts) == -(-size // 4)
    receive(there, digest, parts)
    assert there.get(digest) == bytes(range(size))
    with pytest.raises(errors.Corrupt):
        receive(there, digest, [*parts, b"more"])
