"""The worker: a door on the queue. Claim a job, do it in a process of its own, finish.

The loop itself is light and never loads a model or a user's code. A job that may do so runs in a fresh child process
(``python -m plimsoll.worker HOME --job ID``), so code that was edited is read anew and a job that is killed, or takes too
much memory, takes nothing else with it. If it opens a package, its process is forked from a child that stays for a while (``--forks``)
and has imported scikit-learn, which takes longer than most of these jobs (decision 0050). The other jobs are done by one child that
stays for a while (``--jobs``), and do not wait behind a training. Between jobs the loop starts approved releases, moves rollouts by
their evidence, and fires the triggers that are due, through the same verbs as a person; webhooks are told by threads beside the loop.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from plimsoll import clock, codec, extras, verbs
from plimsoll.data.environment import head
from plimsoll.errors import Internal, PlimsollError, Refused, StepFailed, to_wire
from plimsoll.forking import FINISHED, THREADLESS, fork_each
from plimsoll.records.access import Job
from plimsoll.records.deployment import (
    Deployment,
    JudgeRollout,
    ListDeployments,
    ListReleases,
    MoveRollout,
    RejectRelease,
    Release,
    StartRollout,
)
from plimsoll.records.monitor import SealPredictions
from plimsoll.records.pipelines.trigger import FireDue, ListTriggers
from plimsoll.records.tracking.collect import Collect
from plimsoll.registry.webhooks.couriers import Couriers
from plimsoll.registry.webhooks.taking import overdue
from plimsoll.runs.collection.overdue import due
from plimsoll.workspace import WORKER, Workspace, open_workspace

#: Seconds for which a job belongs to a worker that has stopped saying so.
LEASE = 15.0

#: Seconds between two looks at the queue and the rollouts.
PAUSE = 0.2

#: The same, for a second after a job has begun or ended.
QUICK = 0.02

#: Seconds without a job after which the child that stays is ended, so that an idle worker holds little memory.
IDLE = 60.0

#: Seconds between two looks at a database in which nothing was changed: leases end, and schedules are due.
AGAIN = 2.0

#: Seconds between two looks at the triggers, and between two at the project's commit.
FIRE, COMMIT = 1.0, 5.0

#: Seconds between two looks at whether it is time to collect.
LOOK = 60.0

#: Seconds between two looks at what webhooks are to be told.
TELL = 1.0

#: Waiting rows of a prediction log that make it worth sealing.
SEAL_ROWS = 50_000


def run_job(workspace: Workspace, id: str, worker: str) -> None:
    """Do one claimed job in this process and record how it ended.

    Args:
        workspace: the opened home.
        id: the job's id.
        worker: name under which it was claimed.
    """
    queue = workspace.stores.queue
    with workspace.stores.database.read() as tx:
        job = queue.get(tx, id)

    def progress(line: str) -> None:
        with workspace.stores.database.write() as tx:
            queue.beat(tx, id, worker, LEASE, line)

    result: Any = None
    error: Any = None
    try:
        request = codec.convert(job.payload, verbs.find(job.verb).request, f"The job's {job.verb}")
        result = codec.plain(workspace.work(request, workspace.actor(job.actor), progress))
    except PlimsollError as refused:
        error = to_wire(refused)
    except Exception as defect:
        traceback.print_exc()
        error = to_wire(Internal(f"{type(defect).__name__}: {defect}", "See the worker's log for the traceback.", job=id))
    with workspace.stores.database.write() as tx:
        queue.finish(tx, id, worker, result, error)


def run_jobs(workspace: Workspace, worker: str, ids: int, done: int) -> None:
    """Do claimed jobs one after another in this process, until there are no more ids to come.

    Args:
        workspace: the opened home.
        worker: name under which they were claimed.
        ids: handle to read ids from, a line each.
        done: handle that gets a byte for each job that has ended.
    """
    with os.fdopen(ids, "rb", closefd=False) as lines:
        while line := lines.readline():
            run_job(workspace, line.decode().strip(), worker)
            os.write(done, b".")


class Lane:
    """One job at a time, of some verbs, in a child process.

    A job that may run the project's code gets a child to itself. The others share one that stays while there is work, since
    importing polars and SciPy takes longer than such a job; it takes ids on stdin and says on stdout when each is done. So does the
    one that forks a process for each job that opens a package.

    Args:
        workspace: the opened home.
        name: the worker's name.
        user_code: which jobs are taken; see :class:`plimsoll.verbs.Verb`.
    """

    def __init__(self, workspace: Workspace, name: str, user_code: bool) -> None:
        self._workspace = workspace
        self._name = name
        self._stays = not user_code
        self._verbs = tuple(verb.name for verb in verbs.VERBS if verb.kind == "job" and verb.user_code == user_code)
        #: The process that has the job under way.
        self._child: subprocess.Popen[bytes] | None = None
        #: The process that stays, and how the folders of packages were when it began.
        self._kept: subprocess.Popen[bytes] | None = None
        self._folders: list[int] = []
        self._job: Job | None = None
        self._beaten = 0.0
        self._used = 0.0
        #: Whether the queue may hold a job that was not looked at.
        self._unseen = True

    def turn(self, changed: bool = True) -> bool:
        """Look after the job under way, or claim one; return whether a job has begun or ended.

        Args:
            changed: whether the queue may hold another job than at the last turn.
        """
        self._unseen = self._unseen or changed
        if self._job is not None and self._child is not None:
            code = self._child.poll()
            if code is None and not self._answered(self._child):
                self._beat(self._job)
                return False
            if code is not None:
                how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
                # A job that said how it ended stays as it is: only one that did not is still this worker's.
                self._fail(self._job, f"The process of the job {how} before the job was done.")
                self._drop(self._child)
            self._job, self._child, self._used = None, None, clock.monotonic()
            return True
        claimed = self._claimed() if self._unseen else None
        if claimed is None:
            if self._kept is not None and clock.monotonic() - self._used > IDLE:
                self.end()
            return False
        self._give(claimed)
        self._job, self._beaten = claimed, clock.monotonic()
        return True

    def _claimed(self) -> Job | None:
        queue, database = self._workspace.stores.queue, self._workspace.stores.database
        self._unseen = False
        with database.read() as tx:
            due = queue.due(tx, self._verbs)
        if not due:
            return None
        with database.write() as tx:
            return queue.claim(tx, self._name, LEASE, self._verbs)

    def end(self) -> None:
        """End the children; a job under way goes back to the queue."""
        for process in (self._child, self._kept):
            if process is not None:
                self._end(process)
        self._job = self._child = None

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._drop(process)

    def _give(self, job: Job) -> None:
        if not self._stays and not verbs.find(job.verb).package:
            self._child = self._begun("--job", job.id)
            return
        if self._kept is not None and (self._kept.poll() is not None or self._folders != _folders()):
            # What it has imported may have been replaced by another release.
            self._end(self._kept)
        if self._kept is None:
            self._folders = _folders()
            self._kept = self._begun("--jobs") if self._stays else self._begun("--forks", **THREADLESS)
        self._child = self._kept
        assert self._child.stdin is not None
        # A child that has ended this moment is found by the next turn, as one that ended while it worked.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._child.stdin.fileno(), f"{job.id}\n".encode())

    def _begun(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        home = [str(self._workspace.home), "--project", str(self._workspace.project), "--name", self._name, "--parent", str(os.getpid())]
        command = [sys.executable, "-m", "plimsoll.worker", *home, *words]
        pipe = None if "--job" in words else subprocess.PIPE
        return subprocess.Popen(command, start_new_session=True, stdin=pipe, stdout=pipe, env={**variables, **os.environ})

    def _answered(self, child: subprocess.Popen[bytes]) -> bool:
        if child.stdout is None or not select.select([child.stdout], [], [], 0)[0]:
            return False
        return os.read(child.stdout.fileno(), 1) != b""

    def _beat(self, job: Job) -> None:
        if clock.monotonic() - self._beaten < LEASE / 3:
            return
        self._beaten = clock.monotonic()
        with self._workspace.stores.database.write() as tx:
            kept = self._workspace.stores.queue.beat(tx, job.id, self._name, LEASE, None)
        if not kept:
            self.end()

    def _fail(self, job: Job, fact: str) -> None:
        error = to_wire(StepFailed(fact, "If it ran out of memory, give it less data or more memory, then submit it again."))
        with self._workspace.stores.database.write() as tx:
            self._workspace.stores.queue.finish(tx, job.id, self._name, None, error)

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if process is self._kept:
            self._kept = None


def _folders() -> list[int]:
    """Return when something was last installed or removed."""
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return [os.stat(folder).st_mtime_ns for folder in sorted(folders) if os.path.isdir(folder)]


class Worker:
    """One loop over the queue of one home.

    Args:
        workspace: the opened home.
        name: unique name, for leases.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name
        self.stopping = False
        self._lanes = tuple(Lane(workspace, name, user_code) for user_code in (True, False))
        self._quick = 0.0
        #: The database's version at the last look, and when to look again in any case.
        self._version: int | None = None
        self._again = 0.0
        self._fires = self._commits = self._looks = self._tells = 0.0
        self._couriers = Couriers(lambda request: workspace.do(request, WORKER))
        #: The commit and branch that the triggers were told last, and those that the project is at.
        self._told = self._head = ("", "")

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ask the loop to end; a job under way goes back to the queue.

        Args:
            number: the signal.
            frame: where it was caught.
        """
        self.stopping = True

    def run(self, parent: int | None = None) -> None:
        """Work until asked to stop.

        Args:
            parent: id of a process without which the worker ends as well.
        """
        rounds, waiting = 0.0, False
        while not self.stopping and (parent is None or os.getppid() == parent):
            changed = self._is_changed()
            waiting = waiting or changed
            with self._survive():
                self._work(changed)
            if waiting and clock.monotonic() >= rounds:
                for round in (self._roll, self._seal, self._fire, self._collect, self._tell):
                    with self._survive():
                        round()
                rounds, waiting = clock.monotonic() + PAUSE, False
            clock.sleep(QUICK if clock.monotonic() < self._quick else PAUSE)
        self._couriers.end()
        for lane in self._lanes:
            lane.end()

    def _is_changed(self) -> bool:
        """Return whether there may be something new in the database; also after a while without, since time does things too."""
        version = None
        with self._survive():
            version = self.workspace.stores.database.version()
        if version is not None and version == self._version and clock.monotonic() < self._again:
            return False
        self._version, self._again = version, clock.monotonic() + AGAIN
        return True

    def _work(self, changed: bool) -> None:
        for lane in self._lanes:
            if lane.turn(changed):
                self._quick = clock.monotonic() + 1.0

    @contextlib.contextmanager
    def _survive(self) -> Iterator[None]:
        """A full disk or a lost database must not end the worker; it is said once a round and tried again."""
        try:
            yield
        except PlimsollError as error:
            print(f"worker: {error}", file=sys.stderr, flush=True)
            clock.sleep(1.0)

    def _roll(self) -> None:
        # The oldest first, so that where nothing is asked the newest is what stays.
        for release in reversed(self.workspace.do(ListReleases(state="approved", limit=1000), WORKER)):
            with self._survive():
                self._begin(release)
        for found in self.workspace.do(ListDeployments(), WORKER):
            with self._survive():
                self._move(found)

    def _begin(self, release: Release) -> None:
        do = self.workspace.do
        for found in do(ListDeployments(environment=release.environment), WORKER):
            if found.model == release.model and (found.candidate is not None or found.kill is not None):
                return
        try:
            do(StartRollout(release_id=release.id), WORKER)
        except Refused as refused:
            # Where the rules ask for more people by now than have said yes, the others still can.
            if "wanted" not in refused.details:
                # Another version went live since its checks: what was approved cannot be rolled out any more.
                do(RejectRelease(id=release.id, reason=str(refused)), WORKER)

    def _move(self, found: Deployment) -> None:
        if found.candidate is None:
            return
        judgement = self.workspace.do(JudgeRollout(model=found.model, environment=found.environment), WORKER)
        if judgement.advice != "wait":
            move = MoveRollout(
                model=found.model,
                environment=found.environment,
                to=judgement.advice,
                reason=judgement.reason,
                generation=judgement.generation,
            )
            self.workspace.do(move, WORKER)

    def _fire(self) -> None:
        now = clock.monotonic()
        if now < self._fires:
            return
        self._fires = now + FIRE
        known = self.workspace.do(ListTriggers(), WORKER)
        if now >= self._commits and any(trigger.rule.on == "git" for trigger in known):
            self._commits, self._head = now + COMMIT, head(self.workspace.project)
        due = any(trigger.due and (trigger.rule.on != "git" or self._head[0]) for trigger in known)
        if due or self._head != self._told:
            self.workspace.do(FireDue(commit=self._head[0], branch=self._head[1]), WORKER)
            self._told = self._head

    def _seal(self) -> None:
        with self.workspace.stores.database.read() as tx:
            waiting = self.workspace.stores.segments.waiting(tx)
        if max(waiting.values(), default=0) >= SEAL_ROWS:
            self.workspace.submit(SealPredictions(), WORKER, key="seal")

    def _collect(self) -> None:
        now = clock.monotonic()
        if now < self._looks:
            return
        self._looks = now + LOOK
        with self.workspace.stores.database.read() as tx:
            wanted = due(tx)
        if wanted:
            self.workspace.submit(Collect(), WORKER, key="collect")

    def _tell(self) -> None:
        now = clock.monotonic()
        if now < self._tells:
            return
        self._tells = now + TELL
        with self.workspace.stores.database.read() as tx:
            wanted = overdue(tx)
        if wanted:
            self._couriers.send_out()


def _end_with(parent: int) -> None:
    """End this process once its parent was killed: another worker gets the job when its lease is over, and must not find it at work."""
    while os.getppid() == parent:
        clock.sleep(0.2)
    os._exit(1)


def main() -> None:
    """Run the worker of a home, or one job of it."""
    parser = argparse.ArgumentParser(prog="python -m plimsoll.worker")
    parser.add_argument("home", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--job")
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--forks", action="store_true")
    parser.add_argument("--name")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args()
    ids, done = 0, 1
    if given.jobs or given.forks:
        # Nothing that a library reads or prints may be an id or look like an answer.
        ids, done = os.dup(0), os.dup(1)
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), 0)
        os.dup2(2, 1)
    if given.forks:
        # Where it cannot be imported, a job that needs it says so.
        with contextlib.suppress(Exception):
            extras.require("skops.io")
        given.job, given.parent = fork_each(ids, done, given.parent or os.getppid())
        if not given.job:
            return
    if given.parent is not None and (given.job or given.jobs):
        threading.Thread(target=_end_with, args=(given.parent,), name="tether", daemon=True).start()
    workspace = open_workspace(given.home, given.project)
    try:
        name = given.name or f"worker-{clock.new_id()}"
        if given.job:
            run_job(workspace, given.job, name)
            if given.forks:
                sys.exit(FINISHED)
            return
        if given.jobs:
            run_jobs(workspace, name, ids, done)
            return
        verbs.load_all()
        worker = Worker(workspace, name)
        signal.signal(signal.SIGTERM, worker.stop)
        signal.signal(signal.SIGINT, worker.stop)
        worker.run(given.parent)
    finally:
        workspace.close()


if __name__ == "__main__":
    main()
