"""The composition root: everything opened from one folder (and one database address), and one way to ask for anything.

A home folder holds the database (unless it is PostgreSQL), the blobs, and tokens that only its owner can read. Being
killed at any point leaves a home that opens again: the database is transactional, blobs are whole or absent, a token's
file appears after the row that knows its digest and is made anew, with the row, when it is missing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from plimsoll import access, clock, codec, verbs
from plimsoll.data.refs.pipeline import check_pipeline
from plimsoll.errors import Conflict, Denied, InvalidInput, NotFound, PlimsollError, StorageFull
from plimsoll.records.access import Actor, Job
from plimsoll.records.request import Request
from plimsoll.runs.experiments import make_default
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Context, JobContext, Stores
from plimsoll.store.database import open_database, shown
from plimsoll.store.disk.secrets import LocalSecrets
from plimsoll.store.events import SqlEvents
from plimsoll.store.points.history import SqlPoints
from plimsoll.store.queue import SqlQueue
from plimsoll.store.schema import actors, environments, jobs
from plimsoll.store.segments.rows import SqlSegments

R = TypeVar("R")

#: Does the worker's own verbs: verdicts and window reports.
WORKER = Actor(name="worker", roles=("read", "write", "operate", "work"), person=False)

#: Asks for the desired state and appends predictions.
PLANE = Actor(name="plane", roles=("read", "serve"), person=False)

#: Environments of a new home -> their policies, as JSON has them. In ``dev`` nothing is asked; ``production`` has the default rules.
ENVIRONMENTS: Mapping[str, Any] = {
    "dev": {"checks": False, "approvals": 0, "steps": [{"share": 1.0, "requests": 1}]},
    "production": {},
}


@dataclass(frozen=True, slots=True)
class Workspace:
    """An opened home."""

    #: The home folder.
    home: Path
    #: Folder of the project whose code may be run.
    project: Path
    #: Address of the database, without its password.
    address: str
    #: Everything durable.
    stores: Stores

    def do(self, request: Request[R], actor: Actor) -> R:
        """Do a verb now and return its result; a job is done in this process.

        Args:
            request: what to do.
            actor: who asks.

        Raises:
            Denied: the actor lacks the verb's role.
            PlimsollError: whatever the verb refuses.
        """
        verb = verbs.find(type(request).__name__)
        access.require(actor, verb.role, verb.name)
        self._look(request)
        function = verb.load()
        if verb.kind == "job":
            return self.work(request, actor, _silent)
        opened = self.stores.database.read() if verb.kind == "read" else self.stores.database.write(verb.durable)
        with opened as tx:
            result: R = function(request, Context(actor=actor, tx=tx, stores=self.stores))
            if verb.audited and verb.kind == "write":
                self.stores.events.append(tx, actor.name, verb.name, verbs.subject_of(request, result), codec.plain(request))
        return result

    def _look(self, request: Request[Any]) -> None:
        """Refuse what names a pipeline that the project's files have not, while somebody is there to be told.

        A declared trigger is taken as it is: the table may be ahead of the code, and its home must open all the same.
        """
        # By name: importing their classes costs every command more than the question does.
        asked: Any = request
        name = type(request).__name__
        if name == "RunPipeline":
            check_pipeline(self.project, asked.pipeline, asked.params)
        elif name == "SetTrigger" and not asked.declared:
            check_pipeline(self.project, asked.rule.pipeline, asked.rule.params)

    def work(self, request: Request[R], actor: Actor, progress: Callable[[str], None]) -> R:
        """Do a job in this process, as the worker does it.

        Args:
            request: a request whose row is a job.
            actor: for whom; the worker's own verbs within the job are done as the worker.
            progress: gets one line whenever the job is further.
        """
        verb = verbs.find(type(request).__name__)
        access.require(actor, verb.role, verb.name)

        def do(inner: Request[Any]) -> Any:
            own = verbs.find(type(inner).__name__).role == "work"
            return self.do(inner, WORKER if own else actor)

        context = JobContext(actor=actor, stores=self.stores, project=self.project, home=self.home, do=do, progress=progress)
        result: R = verb.load()(request, context)
        return result

    def submit(self, request: Request[Any], actor: Actor, due: int = 0, key: str | None = None) -> Job:
        """Leave a job for the worker.

        Args:
            request: a request whose row is a job.
            actor: for whom.
            due: not before this time, UTC microseconds.
            key: a waiting or working job with the same key is returned instead.

        Raises:
            InvalidInput: the verb is done at once and needs no worker.
            Conflict: another verb's job has the key.
        """
        verb = verbs.find(type(request).__name__)
        access.require(actor, verb.role, verb.name)
        if verb.kind != "job":
            raise InvalidInput(f"{verb.name} is no job.", "Do it directly.")
        self._look(request)
        with self.stores.database.write() as tx:
            of_key = select(func.count()).select_from(jobs).where(jobs.c.key == key)
            known = tx.execute(of_key).scalar_one()
            job = self.stores.queue.put(tx, request, actor.name, due, key)
            if job.verb != verb.name:
                raise Conflict(f"The key {key!r} belongs to a {job.verb} that is {job.state}.", "Use another key.")
            if key is None or tx.execute(of_key).scalar_one() > known:
                self.stores.events.append(tx, actor.name, f"Submit{verb.name}", f"job:{job.id}", codec.plain(request))
        return job

    def identify(self, token: str) -> Actor:
        """Return the actor whom a token names.

        Args:
            token: the bearer token.

        Raises:
            Unauthenticated: nobody here has this token.
        """
        with self.stores.database.read() as tx:
            return access.identify(Context(actor=WORKER, tx=tx, stores=self.stores), token)

    def actor(self, name: str) -> Actor:
        """Return an actor by name, for a job that was left in the queue.

        Args:
            name: the actor's name.

        Raises:
            NotFound: there is no such actor any more.
        """
        if name == WORKER.name:
            return WORKER
        with self.stores.database.read() as tx:
            row = tx.execute(select(actors).where(actors.c.name == name)).one_or_none()
        if row is None:
            raise NotFound(f"There is no actor {name!r}.", "List actors with: plimsoll actors list")
        return Actor(name=row.name, roles=tuple(row.roles), person=row.person)

    def token(self, name: str) -> str:
        """Return the token that this home keeps for its owner, its worker or its plane.

        Args:
            name: ``owner``, ``worker`` or ``plane``.

        Raises:
            NotFound: the file is not there or cannot be read by this user.
        """
        path = self.home / "secrets" / name
        try:
            return path.read_text().strip()
        except OSError as error:
            raise NotFound(f"The token file {path} cannot be read: {error.strerror}.", "Only the home's owner can read it.") from error

    def close(self) -> None:
        """Give back all connections."""
        self.stores.database.close()


def _silent(line: str) -> None:
    """Progress of a job that nobody watches."""


def _draft_token(path: Path, token: str) -> Path:
    """Write a token beside its place and return where; the caller moves it there once the database knows its digest."""
    draft = path.with_name(f"{path.name}.{clock.new_id()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"The disk of {path.parent} is full; no token was written.", "Free some room and do it again.") from error
        raise Denied(f"The token {path} cannot be written: {error.strerror}.", "Give yourself write access to its folder.") from error
    return draft


@contextlib.contextmanager
def _alone(secrets: Path) -> Iterator[None]:
    """Let one process at a time prepare a home; a killed one gives its place away."""
    try:
        secrets.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(secrets, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"The disk of {secrets.parent} is full; no token was written.", "Free some room and do it again.") from error
        raise Denied(f"The folder {secrets} cannot be used: {error.strerror}.", "Give yourself write access to it.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _owner(tx: Connection, name: str) -> Actor | None:
    """Return who owns the home: its first admin who is a person, or, as long as there is nobody at all, a new one of this name."""
    rows = tx.execute(select(actors).order_by(actors.c.created, actors.c.name)).all()
    for row in rows:
        if row.person and "admin" in row.roles:
            return Actor(name=row.name, roles=tuple(row.roles))
    return None if rows else Actor(name=name, roles=("admin",))


def _lacking(tx: Connection, secrets: Path, owner: str) -> tuple[dict[str, Actor], list[str]]:
    """Return whose tokens are to be made, by their files' names, and which environments."""
    known = set(tx.execute(select(actors.c.name)).scalars())
    placed = set(tx.execute(select(environments.c.name)).scalars())
    wanted = {"owner": _owner(tx, owner), "worker": WORKER, "plane": PLANE}
    lost = {file: actor for file, actor in wanted.items() if actor is not None and not (actor.name in known and (secrets / file).exists())}
    return lost, [name for name in ENVIRONMENTS if name not in placed]


def _prepare(workspace: Workspace, name: str) -> None:
    """Make what a home lacks: its default experiment and its environments, and its owner, worker and plane with their tokens.

    Token files get their names after the commit. Killed before, the database knows nothing of them; killed after, their
    files are missing, and the next one to open the home makes them anew.
    """
    secrets = workspace.home / "secrets"
    with workspace.stores.database.read() as tx:
        if not any(_lacking(tx, secrets, name)):
            return
    drafts: dict[str, Path] = {}
    with _alone(secrets):
        for left in (path for file in ("owner", "worker", "plane") for path in secrets.glob(f"{file}.*")):
            left.unlink()
        try:
            with workspace.stores.database.write() as tx:
                lost, missing = _lacking(tx, secrets, name)
                make_default(tx)
                owner = _owner(tx, name) or WORKER
                context = Context(actor=owner, tx=tx, stores=workspace.stores)
                for file, actor in lost.items():
                    # A token of another database must not stand where nobody would look for a lost one.
                    (secrets / file).unlink(missing_ok=True)
                    drafts[file] = _draft_token(secrets / file, access.invite(context, actor).token)
                    workspace.stores.events.append(tx, owner.name, "AddActor", f"actor:{actor.name}", codec.plain(actor))
                setting = verbs.find("SetEnvironment")
                for environment in missing:
                    request: Any = codec.convert({"name": environment, "policy": ENVIRONMENTS[environment]}, setting.request)
                    setting.load()(request, context)
                    subject = f"environment:{environment}"
                    workspace.stores.events.append(tx, owner.name, setting.name, subject, codec.plain(request.policy))
        except BaseException:
            for draft in drafts.values():
                with contextlib.suppress(OSError):
                    draft.unlink(missing_ok=True)
            raise
        for file, draft in drafts.items():
            draft.replace(secrets / file)


def is_home(folder: Path) -> bool:
    """Return whether somebody has made a home of a folder.

    Args:
        folder: where it would be.

    Raises:
        Denied: it is another user's.
    """
    try:
        (folder / "secrets" / "owner").stat()
    except PermissionError as error:
        raise Denied(
            f"The home {folder} is another user's.",
            "Ask its server, with PLIMSOLL_URL and a token of your own, or choose another home with PLIMSOLL_HOME.",
        ) from error
    except OSError:
        return (folder / "secrets").is_dir()
    return True


def open_workspace(home: Path, project: Path | None = None, *, database: str | None = None, owner: str | None = None) -> Workspace:
    """Open a home folder, and make it when it is new.

    Args:
        home: the folder; made when missing.
        project: folder whose code may be run; None takes the home's parent.
        database: ``postgresql://…``; None takes the environment variable ``PLIMSOLL_DATABASE``, else SQLite inside the home.
        owner: name of the actor who owns a new home; None takes the name of the operating system's user. A home that has
            actors keeps its owner: the first admin who is a person.

    Raises:
        PlimsollError: the home cannot be written, the database is newer, damaged or not reachable.
    """
    home = home.absolute()
    own = home / "plimsoll.db"
    elsewhere = database or os.environ.get("PLIMSOLL_DATABASE")
    if is_home(home) and not elsewhere and (home / "secrets" / "owner").exists() and not own.exists():
        # A new database would be empty, and its tokens would replace those of the old one.
        raise NotFound(
            f"The home {home} has tokens, but its database {own.name} is not there.",
            "Set PLIMSOLL_DATABASE to where the database is, or restore the file from a backup.",
        )
    new = not home.exists()
    try:
        # Database, blobs and logs lie behind it. Whoever made the folder before has chosen its mode.
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new:
            # Tokens must not be committed with the project that the home lies in.
            with contextlib.suppress(OSError):
                (home / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InvalidInput(f"The home {home} cannot be made: {error.strerror}.", "Choose another with --home or PLIMSOLL_HOME.") from error
    try:
        return _opened(home, project, elsewhere or f"sqlite:///{own}", owner)
    except PlimsollError:
        if new and not (home / "secrets" / "owner").exists():
            # Nothing that anybody could miss: what a full disk left of a home that was begun.
            shutil.rmtree(home, ignore_errors=True)
        raise


def _opened(home: Path, project: Path | None, url: str, owner: str | None) -> Workspace:
    opened = open_database(url)
    try:
        blobs = LocalBlobs(home / "blobs")
    except PlimsollError:
        opened.close()
        raise
    stores = Stores(
        database=opened,
        blobs=blobs,
        points=SqlPoints(),
        queue=SqlQueue(),
        events=SqlEvents(),
        segments=SqlSegments(blobs),
        secrets=LocalSecrets(home / "secrets"),
    )
    workspace = Workspace(home, (project or home.parent).absolute(), shown(url), stores)
    try:
        _prepare(workspace, owner or _user())
    except PlimsollError:
        workspace.close()
        raise
    return workspace


def _user() -> str:
    name = os.environ.get("USER") or os.environ.get("LOGNAME") or "owner"
    cleaned = "".join(char for char in name if char.isalnum() or char in "._-").lstrip("._-")
    return cleaned if cleaned and cleaned not in access.PROGRAMS else "owner"
