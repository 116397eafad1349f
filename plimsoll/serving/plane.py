"""The plane of an environment: serves what the server wants, and what it wanted last when the server is down.

Everything the plane knows lives in one folder: its name, the last desired state, the fetched packages and the journal of
predictions. A plane that is started again on the same folder is the same plane.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from plimsoll import clock, codec
from plimsoll.errors import Conflict, InvalidInput, NotFound, PlimsollError, Unavailable
from plimsoll.records.plane import DesiredState, GetDesiredState, ReportPlane, Track, TrackReport
from plimsoll.serving.batching import Packages, Replica, ReplicaKey
from plimsoll.serving.limits import Limits
from plimsoll.serving.predict import Answer, Call, Log, Predictor, too_late
from plimsoll.serving.traffic import Route, arrange

if TYPE_CHECKING:
    # The contracts need SQLAlchemy, which a plane has no use for.
    from plimsoll.store.contracts import Do

log = logging.getLogger(__name__)

#: Seconds between two looks at the desired state, and between two reports when nothing changed.
LOOK, REPORT = 0.3, 5.0
#: Seconds between two looks for processes that nobody needs any more.
SWEEP = 0.2
#: Seconds that shadow calls get to finish when the plane stops.
DRAIN_SECONDS = 5.0


class PlaneFolder:
    """The folder of one plane, held by one process at a time.

    Args:
        path: made when it is not there.

    Raises:
        Conflict: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock: IO[str] = (path / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Conflict(f"Another plane runs on {path}.", "Stop it first, or give this one a folder of its own.") from None
        #: Unique name of the plane, made once.
        self.name = self._read_name()

    def desired(self) -> DesiredState | None:
        """Return the last desired state, or None when there is none that this version can read."""
        path = self.path / "desired.json"
        try:
            return codec.from_json(path.read_bytes(), DesiredState, str(path)) if path.exists() else None
        except InvalidInput as error:
            # A newer or older plane wrote it; the server knows the state too.
            log.warning("desired state not readable", extra={"action": "state_ignored", "reason": str(error)})
            return None

    def keep(self, state: DesiredState) -> None:
        """Store the desired state; it is replaced as a whole or not at all.

        Args:
            state: what the server wants now.
        """
        _replace(self.path / "desired.json", codec.to_json(state))

    def tell(self, address: str) -> None:
        """Write where this plane answers, for whoever must find it later; only true while ``GET /plane`` there says so too.

        Args:
            address: such as ``http://127.0.0.1:5152``.
        """
        _replace(self.path / "address", address.encode())

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    def _read_name(self) -> str:
        path = self.path / "name"
        if not path.exists():
            _replace(path, f"plane-{clock.new_id()[-12:]}".encode())
        return path.read_text()


class PackageCache:
    """Packages on this host by digest, each fetched once however many replicas load it.

    Args:
        folder: made when it is not there; what an earlier process fetched in part is removed.
        fetch: writes the verified package of a digest into a folder that does not exist yet.
    """

    def __init__(self, folder: Path, fetch: Callable[[str, Path], object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob("*.part"):
            shutil.rmtree(part)
        self._folder = folder
        self._fetch = fetch
        self._lock = threading.Lock()

    def locate(self, digest: str) -> Path:
        """Return the folder that holds the package, fetching it when it is not there.

        Args:
            digest: of the package.
        """
        whole = self._folder / digest
        with self._lock:
            if not whole.exists():
                part = self._folder / f"{clock.new_id()}.part"
                try:
                    self._fetch(digest, part)
                    part.rename(whole)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
        return whole

    def forget(self, digest: str) -> None:
        """Remove a package that turned out to be corrupt.

        Args:
            digest: of the package.
        """
        with self._lock:
            self._remove(digest)

    def prune(self, keep: Callable[[], set[str]]) -> None:
        """Remove every package but those whose digests ``keep`` gives.

        Args:
            keep: asked while no package can be fetched, so that what is wanted by then is never removed.
        """
        with self._lock:
            wanted = keep()
            for path in self._folder.iterdir():
                if path.name not in wanted:
                    self._remove(path.name)

    def _remove(self, digest: str) -> None:
        whole = self._folder / digest
        if whole.exists():
            # Renamed first, so that a crash leaves a part and never half a package under its digest.
            shutil.rmtree(whole.rename(self._folder / f"{clock.new_id()}.part"))


class StoredPackages(Packages, Protocol):
    """Packages that can be cleared away."""

    def prune(self, keep: Callable[[], set[str]]) -> None:
        """Remove every package but those whose digests ``keep`` gives; may block."""
        ...


class Plane:
    """Routes of all models, the processes behind them, and the way of a request. Lives in one event loop.

    Args:
        environment: name of the environment.
        packages: where packages come from.
        prediction_log: gets every answered request, or None to log nothing.
        limits: what one request may ask for.
    """

    def __init__(self, environment: str, packages: StoredPackages, prediction_log: Log | None, limits: Limits | None = None) -> None:
        self.environment = environment
        self.limits = limits or Limits()
        #: What the server wants; None before it was ever known.
        self.state: DesiredState | None = None
        #: Model -> generation all of whose tracks were loaded.
        self.generations: dict[str, int] = {}
        #: What is said of each track; replaced as a whole, so that other threads may read it.
        self.tracks: tuple[TrackReport, ...] = ()
        #: Set after each change of what is reported.
        self.changed = threading.Event()
        self._packages = packages
        self._predictor = Predictor(prediction_log)
        self._routes: dict[str, Route] = {}
        self._left: list[Route] = []
        self._replicas: dict[ReplicaKey, Replica] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models, sorted."""
        return tuple(sorted(self._routes))

    @property
    def ready(self) -> bool:
        """Whether the desired state is known and every model of it can answer, none with a fallback while its release is first loaded."""
        return self.state is not None and all(self.can_answer(route) and self.has_begun(route) for route in self._routes.values())

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All processes."""
        return tuple(self._replicas.values())

    @staticmethod
    def can_answer(route: Route) -> bool:
        """Return whether a request on the route would get an answer now.

        Args:
            route: a model's route.
        """
        good = route.good
        return route.meta is not None and (route.fallback is not None or (good is not None and good.replica.state == "ready"))

    @staticmethod
    def has_begun(route: Route) -> bool:
        """Return whether the release that is to answer has been loaded once, or has failed to.

        Args:
            route: a model's route.
        """
        good = route.good
        return good is None or good.replica.meta is not None or good.replica.state != "loading"

    def route(self, model: str) -> Route:
        """Return a model's route.

        Args:
            model: registered name.

        Raises:
            NotFound: this environment has no such model.
        """
        found = self._routes.get(model)
        if found is None:
            known = ", ".join(self.models) or "none"
            raise NotFound(f"No model {model!r} is served in {self.environment!r}.", f"Models served here: {known}.")
        return found

    def deadline(self, route: Route, arrived: float) -> float:
        """Return when an answer comes too late, in seconds on the monotonic clock.

        Args:
            route: a model's route.
            arrived: seconds on the same clock.
        """
        lane = route.stable or route.canary
        return arrived + (lane.track.config.deadline_ms if lane is not None else 10_000) / 1000

    def admit(self, route: Route, arrived: float) -> None:
        """Refuse, before its body is read, a request that would be refused anyway.

        Args:
            route: a model's route.
            arrived: seconds on the monotonic clock.

        Raises:
            Overloaded: too many requests wait.
            Unavailable: nothing can answer.
        """
        if not self.can_answer(route):
            if route.good is not None:
                route.good.replica.check(self.deadline(route, arrived))
            raise Unavailable(f"Nothing can answer for {route.model!r} now.", "Send it again after the time in Retry-After.", retry_after=1)
        if route.stable is not None and route.kill is None and route.stable.replica.state == "ready":
            route.stable.replica.check(self.deadline(route, arrived))

    async def answer(self, route: Route, call: Call) -> Answer:
        """Return the answer to a request; raises as :meth:`plimsoll.serving.predict.Predictor.answer` does.

        Args:
            route: the model's route.
            call: the request.
        """
        too_late(call)
        return await self._predictor.answer(route, call)

    def apply(self, state: DesiredState) -> None:
        """Serve another state: load what is new, route to it when it is loaded, and stop what nobody needs.

        Args:
            state: what the server wants now.
        """
        if self._closed or state == self.state:
            return
        self.state = state
        for desired in state.models:
            for track in desired.tracks:
                key = _key(track)
                if key not in self._replicas:
                    self._replicas[key] = Replica(key, self._packages, self._arrange)
        self._arrange()

    async def close(self) -> None:
        """Finish the shadow calls, for a few seconds at most, and stop every process."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            await asyncio.wait_for(self._predictor.drain(), DRAIN_SECONDS)
        except TimeoutError:
            log.warning("shadow calls given up", extra={"action": "shadows_given_up"})
        await asyncio.gather(*(replica.close() for replica in self._replicas.values()), *self._closing)

    def _arrange(self) -> None:
        if self._closed or self.state is None:
            return
        reports: list[TrackReport] = []
        for desired in self.state.models:
            loaded = {track: self._replicas[_key(track)] for track in desired.tracks}
            before = self._routes.get(desired.model)
            self._routes[desired.model] = arrange(desired, loaded, before)
            if before is not None:
                self._left.append(before)
            if all(replica.state == "ready" for replica in loaded.values()):
                self.generations = {**self.generations, desired.model: desired.generation}
            reports += [
                TrackReport(model=desired.model, release_id=track.release_id, state=replica.state, reason=replica.reason)
                for track, replica in loaded.items()
            ]
        wanted = {desired.model for desired in self.state.models}
        self._left += [self._routes.pop(model) for model in self._routes.keys() - wanted]
        self.generations = {model: number for model, number in self.generations.items() if model in wanted}
        self.tracks = tuple(reports)
        self.changed.set()
        self._sweep()

    def _sweep(self) -> None:
        """Stop the processes that no route needs; look again while requests are on a route that was left."""
        if self._closed or self.state is None:
            return
        self._left = [route for route in self._left if route.users]
        used = {lane.replica.key for route in (*self._routes.values(), *self._left) for lane in route.lanes}
        used |= {_key(track) for desired in self.state.models for track in desired.tracks}
        idle = self._replicas.keys() - used
        for key in idle:
            self._spawn(self._replicas.pop(key).close())
        if idle:
            self._spawn(asyncio.to_thread(self._packages.prune, lambda: {key.package for key in list(self._replicas)}))
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep) if self._left else None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class Follower:
    """The thread that asks the server what to serve and tells it what is served.

    Args:
        plane: what follows.
        folder: the plane's folder.
        do: the door to the server.
        address: where the plane answers, such as ``http://127.0.0.1:5152``.
    """

    def __init__(self, plane: Plane, folder: PlaneFolder, do: Do, address: str) -> None:
        self._plane = plane
        self._folder = folder
        self._do = do
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._known: DesiredState | None = None
        self._reachable = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Serve the last known state at once and follow the server from now on; called in the plane's loop."""
        self._known = self._folder.desired()
        if self._known is not None:
            self._plane.apply(self._known)
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Stop following.

        Args:
            seconds: to wait at most.
        """
        self._stop.set()
        self._plane.changed.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        due = 0.0
        while not self._stop.is_set():
            changed = self._plane.changed.is_set()
            self._plane.changed.clear()
            told = True
            if self._try(self._look) and (changed or clock.monotonic() >= due):
                told = self._try(self._report)
                due = clock.monotonic() + REPORT
            if not told or (changed and not self._reachable):
                due = 0.0
            # A change wakes the thread at once, but an unreachable server is not asked in a tight loop.
            if self._reachable:
                self._plane.changed.wait(LOOK)
            else:
                self._stop.wait(LOOK)

    def _look(self) -> None:
        state = self._do(GetDesiredState(environment=self._plane.environment))
        if state != self._known:
            self._folder.keep(state)
            self._known = state
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._plane.apply, state)

    def _report(self) -> None:
        self._do(
            ReportPlane(
                plane=self._folder.name,
                environment=self._plane.environment,
                address=self._address,
                generations=self._plane.generations,
                tracks=self._plane.tracks,
            )
        )

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            # Whatever is wrong with the server or the disk, callers go on getting answers from what is known.
            if self._reachable:
                known = isinstance(error, PlimsollError | OSError)
                log.warning("server not followed", exc_info=not known, extra={"action": "not_followed", "reason": str(error)})
            self._reachable = False
            return False
        self._reachable = True
        return True


def _key(track: Track) -> ReplicaKey:
    return ReplicaKey(package=track.package, config=track.config, trusted=track.trusted)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
