"""Calls of steps on the nodes of a Ray cluster.

Keys are made and the cache is asked on the driver, so a hit never reaches a node. A node that sees the driver's folder of
blobs (the same machine, a shared disk) works on it; to another node bytes and the project's sources travel through Ray's
object store, for the calls that really run. Nothing of the user's is pickled: tasks are msgpack, results are blobs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from plimsoll import clock, codec, errors, extras
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.trace.files.contents import Contents, held
from plimsoll.data.trace.files.places import OWN
from plimsoll.errors import Corrupt, InvalidInput, NotFound, PlimsollError, StepFailed, Unreachable
from plimsoll.pipelines.executors.call import Call, Ran
from plimsoll.pipelines.executors.cluster.carried import pack, parts_of, receive
from plimsoll.pipelines.executors.cluster.node import machine, work_on_node
from plimsoll.pipelines.executors.task import task_of
from plimsoll.pipelines.loop.late import remembered_by
from plimsoll.pipelines.loop.room import elsewhere
from plimsoll.records.pipeline import Output
from plimsoll.records.run import PointColumns
from plimsoll.runs.step_log import LOGGED
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs

#: For a cluster of this machine: Ray's own name for using the loopback address only, and no report to its makers.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

#: How often a call is begun when its node is lost each time.
_TRIES = 3

#: Calls that the cluster is asked to run at the same time; it begins as many as it has room for.
_AT_ONCE = 256

#: Seconds between two looks at a call that no node has begun.
_LOOK = 5.0

#: Seconds that the nodes may take to end what was cancelled.
_GRACE = 10.0

#: Seconds for which a cluster that was running before may lack a node with what a step asks for: it may be growing.
_PATIENCE = 300.0


class RayCluster:
    """Runs each call on a node of a Ray cluster, in a fresh process there. It connects when the first call comes.

    Args:
        blobs: where outputs are.
        project: folder of the project, from which steps are imported.
        address: of a running cluster (``host:port``, or ``auto``); None takes ``RAY_ADDRESS``, and without it begins a
            cluster on this machine that ends with this executor. A connection that the program has made itself is used
            and left open.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidInput: the address is one of Ray's client server.
    """

    def __init__(self, blobs: Blobs, project: Path, address: str | None = None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        if "://" in self._address:
            raise InvalidInput(
                f"The Ray address {self._address!r} is that of a client server, which cannot stream a step's messages.",
                "Run on a machine of the cluster, with its host:port or 'auto'.",
            )
        with self._variables():
            self._ray: Any = extras.require("ray")
            self._errors: Any = extras.require("ray.exceptions")
            # Ray's progress bars replace the builtin `print` when a node's output is first shown, and with it the key of
            # every step that prints; made now, they do not.
            extras.require("ray.experimental.tqdm_ray").instance()
        self._blobs = blobs
        self._project = project
        self._contents = Contents(remembered_by(blobs))
        self.room = elsewhere()
        self._stage = None if isinstance(blobs, LocalBlobs) else tempfile.TemporaryDirectory(prefix=f"{OWN}stage-")
        self._local = blobs if isinstance(blobs, LocalBlobs) else LocalBlobs(Path(self._stage.name if self._stage else ""))
        #: A blob that no other folder has: a node that sees it sees this folder.
        self._probe = "" if self._stage is not None else self._local.put(f"plimsoll probe {clock.new_id()}".encode())
        #: Some node sees nothing of this machine, so calls bring what they need.
        self._apart = self._stage is not None
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="plimsoll-ray")
        self._lock = threading.Lock()
        self._streams: set[Any] = set()
        #: Those that were asked to end.
        self._cancelled: set[Any] = set()
        #: Digest -> the parts that were sent, once for all calls.
        self._sent: dict[str, tuple[Any, ...]] = {}
        self._sources: Any = None
        self._connected = self._own = self._closed = False

    def submit(self, call: Call) -> Future[Ran]:
        """Begin a call and return the future of what it gives.

        Args:
            call: what to run.

        Raises:
            Unreachable: there is no cluster at the address.
        """
        try:
            task = task_of(call, self._local, self._project)
            # On another machine a path may name another file.
            task["paths"] = {path: held(os.path.join(task["folder"], path), self._contents) for path in _named(task, "path")}
            self._connect()
        except PlimsollError as error:
            refused: Future[Ran] = Future()
            refused.set_exception(error)
            return refused
        return self._threads.submit(self._supervise, call, task)

    def close(self) -> None:
        """Cancel every call that still runs, and end the cluster that was begun for them."""
        with self._lock:
            self._closed = True
            for stream in self._streams:
                self._cancel(stream, force=False)
        deadline = clock.monotonic() + _GRACE
        while self._streams and clock.monotonic() < deadline:
            clock.sleep(0.02)
        with self._lock:
            for stream in self._streams:
                self._cancel(stream, force=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._sent.clear()
        self._sources = None
        if self._own:
            self._ray.shutdown()
            self._own = False
        if self._probe:
            self._local.delete(self._probe)
        if self._stage is not None:
            self._stage.cleanup()

    def _connect(self) -> None:
        with self._lock:
            if self._connected or self._closed:
                return
            if not self._ray.is_initialized():
                self._begin()
                self._own = True
            self._connected = True

    def _begin(self) -> None:
        quiet = {"configure_logging": False, "logging_level": "ERROR", "log_to_driver": True}
        if self._address != "local":
            try:
                _check_answers(self._address)
                self._ray.init(address=self._address, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                raise Unreachable(
                    f"There is no Ray cluster at {self._address}: {error}", "Correct ray_address, or leave it out to run on this machine."
                ) from error
            return
        with self._variables():
            self._ray.init(address="local", include_dashboard=False, **quiet)

    def _variables(self) -> contextlib.AbstractContextManager[None]:
        """Set what Ray reads when it is imported and when it begins a cluster: one of this machine alone listens to no other."""
        return _environment({"RAY_TQDM_PATCH_PRINT": "0", **(_ALONE if self._address == "local" else {})})

    def _supervise(self, call: Call, task: dict[str, Any]) -> Ran:
        lost = (
            *(self._errors.WorkerCrashedError, self._errors.NodeDiedError, self._errors.LocalRayletDiedError),
            *(self._errors.ObjectLostError, self._errors.OwnerDiedError),
        )
        label = call.node.label
        for _ in range(_TRIES):
            try:
                ran = self._try(call, task)
                if ran is None:
                    # The node sees nothing of this machine; from now on calls bring what they need.
                    self._apart = True
                    ran = self._try(call, task)
                assert ran is not None
                return ran
            except lost as error:
                # The step is a process of its own, so its death is told by its node; here the node itself was lost.
                self._check_open(label)
                call.again()
                last = error
            except self._errors.TaskCancelledError as error:
                raise StepFailed(f"{label} was cancelled.", "Run again.") from error
            except self._errors.OutOfMemoryError as error:
                raise StepFailed(f"{label} took the last memory of its node: {error}", "Give it @step(memory=...).") from error
            except self._errors.RayError as error:
                raise StepFailed(f"Ray could not run {label}: {error}", "Look at the cluster: ray status") from error
        raise StepFailed(f"{label} was begun {_TRIES} times and lost its node each time: {last}", "Look at the cluster: ray status")

    def _try(self, call: Call, task: dict[str, Any]) -> Ran | None:
        """Run a call on some node; None says that the node needs the bytes."""
        carried = self._carried(call, task) if self._apart else None
        options = call.node.step.options
        resources = {"num_cpus": options.cpu or 1, "num_gpus": options.gpu}
        remote = self._ray.remote(max_retries=0, name=call.node.label, memory=options.memory, **resources)(work_on_node)
        sources = [self._packed()] if self._apart else []
        limits = codec.to_msgpack(options)
        with self._lock:
            self._check_open(call.node.label)
            stream = remote.remote(codec.to_msgpack(task), call.node.label, limits, machine(), self._probe, carried, sources)
            self._streams.add(stream)
        try:
            self._wait(stream, call.node.label, {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"], "memory": options.memory or 0})
            end = self._listen(call, stream)
        except self._errors.RayError:
            # The task is over.
            raise
        except BaseException:
            with self._lock:
                self._cancel(stream, force=False)
            raise
        finally:
            with self._lock:
                self._streams.discard(stream)
                self._cancelled.discard(stream)
        if "error" in end:
            raise errors.from_wire(end["error"])
        if "ran" in end:
            return codec.convert(end["ran"], Ran, "What the step gave")
        if "apart" in end:
            return None
        raise StepFailed(f"{call.node.label} ended on its node and gave no result.", "Look at the cluster: ray status")

    def _listen(self, call: Call, stream: Any) -> dict[str, Any]:
        """Take in what a node says, and return the last of it."""
        parts: list[bytes] = []
        end: dict[str, Any] = {}
        # To its last message, so that the node has tidied up.
        for reference in stream:
            said = codec.from_msgpack(self._ray.get(reference), dict[str, Any], "The node's message")
            if "part" in said:
                parts.append(said["part"])
            elif "file" in said:
                receive(self._blobs, said["file"], parts)
                parts.clear()
            elif "points" in said:
                call.heard(codec.convert(said["points"], PointColumns, "The step's points"))
            elif "do" in said:
                call.heard(codec.convert(said["request"], LOGGED[said["do"]], "The step's request"))
            else:
                end = said
        return end

    def _wait(self, stream: Any, label: str, needed: dict[str, float]) -> None:
        """Wait until a node has begun the call."""
        deadline = clock.monotonic() + (_PATIENCE if self._address != "local" else 0.0)
        while not self._ray.wait([stream], timeout=_LOOK, fetch_local=False)[0]:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            fits = any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes)
            if not fits and clock.monotonic() >= deadline:
                asked = ", ".join(f"{name} {amount:g}" for name, amount in needed.items() if amount)
                raise StepFailed(f"No node of the Ray cluster has what {label} asks for: {asked}.", "Ask for less in @step(...).")

    def _carried(self, call: Call, task: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Put into Ray's object store what a call needs and was not put there before."""
        found: dict[str, tuple[Any, ...]] = {}
        for index, output in call.inputs.items():
            try:
                found.update(self._parts(self._blobs, output.digest))
            except (Corrupt, NotFound) as error:
                raise Corrupt(error.fact, error.remedy, input=index) from error
        for output in _named(task, "output"):
            found.update(self._parts(self._local, codec.convert(output, Output, "The step's argument").digest))
        return found

    def _parts(self, blobs: Blobs, digest: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
        for needed in (*(entry.digest for entry in get_manifest(blobs, digest).files), digest):
            if needed not in self._sent:
                self._sent[needed] = tuple(self._ray.put(part) for part in parts_of(blobs, needed))
            yield needed, self._sent[needed]

    def _packed(self) -> Any:
        with self._lock:
            if self._sources is None:
                home = self._local.folder.parent if self._stage is None else None
                self._sources = self._ray.put(pack(self._project, home))
            return self._sources

    def _cancel(self, stream: Any, force: bool) -> None:
        # Ray 2.60 ends this whole process ("Tried to complete task that was not pending") where a task is cancelled again
        # while its end is on its way.
        if stream in self._cancelled and not force:
            return
        self._cancelled.add(stream)
        # A worker that is killed instead cannot tidy up, but the step's process ends when its watcher is gone.
        with contextlib.suppress(self._errors.RayError):
            self._ray.cancel(stream, force=force)

    def _check_open(self, label: str) -> None:
        if self._closed:
            raise StepFailed(f"{label} was stopped, because the run is ending.")


def _check_answers(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself tries for minutes.

    Args:
        address: ``host:port``, or ``auto``, which Ray looks up itself.

    Raises:
        OSError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK).close()


def _named(task: dict[str, Any], wanted: str) -> Iterator[Any]:
    """Yield what a task's arguments name of one kind: ``path`` or ``output``."""
    waiting = [*task["args"], *task["kwargs"].values()]
    while waiting:
        kind, *rest = waiting.pop()
        if kind == wanted:
            yield rest[0]
        elif kind in ("list", "tuple", "dict"):
            waiting += [*rest[0], *rest[1]]
        elif kind == "named":
            waiting += rest[1]


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
