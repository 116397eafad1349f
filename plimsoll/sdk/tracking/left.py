"""What earlier runs have left in their journals is sent, each thing once."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from plimsoll import clock
from plimsoll.data.project import find_project, setting
from plimsoll.errors import Conflict, Denied, NotFound, PlimsollError, StorageFull, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import FinishRun, ResumeRun, StartRun
from plimsoll.sdk.door import Door, FolderDoor
from plimsoll.sdk.journal import BEGUN, Journal
from plimsoll.sdk.sender import REFUSED, deliver
from plimsoll.sdk.tracking.forked import begun_by
from plimsoll.sdk.tracking.spool import Spool
from plimsoll.workspace import is_home

#: Microseconds within which a file that was begun has its name as a journal.
_UNNAMED = 60_000_000

#: Microseconds by which a file may be younger than its time says: a system stamps files with the time of its last tick. Without them
#: a process that was killed at once after it was answered would seem to have spoken later than it wrote.
_TICK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A journal that an earlier run has left, and what became of it."""

    #: The file.
    path: Path
    #: The run; empty when the journal has no beginning.
    run_id: str
    #: Where the platform is that it belongs to.
    address: str
    #: ``sent`` and gone; ``waiting`` for its platform; ``refused`` for good and set aside; ``busy``: its run is under way.
    state: Literal["sent", "waiting", "refused", "busy"]
    #: Points that it had to send.
    points: int = 0
    #: Params, tags, artifacts and the like that it had to send.
    requests: int = 0
    #: How the run ended; empty when it stays as it is.
    end: str = ""
    #: Why it waits or was refused, or what was refused of it.
    fact: str = ""


def journals(door: Door | None) -> Path:
    """Return where journals lie: in the home, or for a server elsewhere beside the project, or in the user's state folder.

    Args:
        door: the platform; None for a server.
    """
    if isinstance(door, FolderDoor):
        return door.workspace.home / "journal"
    try:
        return Path(str(setting("home", None, find_project(Path.cwd()))[0])) / "journal"
    except NotFound:
        return _own()


def all_journals() -> list[Path]:
    """Return the folders in which this project's journals may lie: of the platform that the settings name, the home, the user's."""
    try:
        project: Path | None = find_project(Path.cwd())
    except NotFound:
        project = None
    url = str(setting("url", None, project)[0])
    places = [] if url.startswith(("http://", "https://")) else [Path(url) / "journal"]
    return list(dict.fromkeys([*places, Path(str(setting("home", None, project)[0])) / "journal", _own(), *_passing()]))


def begin_journal(door: Door, id: str, begin: Callable[[Journal], None], tell: Callable[[str], None]) -> Journal:
    """Return a journal that has begun, in the first folder that takes one: a full disk or a project that is only read ends no training.

    Args:
        door: the platform.
        id: names the journal.
        begin: writes what it begins with.
        tell: is told where it lies, if that is not its usual place.

    Raises:
        StorageFull: there is no room for it anywhere.
        Denied: this user may not write it anywhere.
    """
    refused: PlimsollError | None = None
    for folder in dict.fromkeys([journals(door), _own(), *_passing()]):
        journal: Journal | None = None
        try:
            journal = Journal(folder / f"{id}.journal")
            begin(journal)
        except BaseException as error:
            if journal is not None:
                journal.remove()
            if not isinstance(error, (StorageFull, Denied)):
                raise
            refused = refused or error
            continue
        if refused is not None:
            tell(f"{refused.fact} It lies in {folder} for this run, and is sent from there.")
        return journal
    assert refused is not None
    raise refused


def _own() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "plimsoll" / "journal"


def _passing() -> Iterator[Path]:
    """Yield this user's folders for journals where nothing outlasts the machine's next start."""
    places = ["/dev/shm"]
    with contextlib.suppress(FileNotFoundError):
        places.insert(0, tempfile.gettempdir())
    for place in places:
        folder = Path(place) / f"plimsoll-{os.getuid()}"
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            # Anybody may make a folder there.
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                yield folder / "journal"


def again(folder: Path) -> None:
    """Let the journals of a folder be sent that were refused before: what refused them, such as a deleted run, may be otherwise now.

    Args:
        folder: of the journals.
    """
    for path in folder.glob("*.refused"):
        if not (journal := path.with_suffix(".journal")).exists():
            with contextlib.suppress(FileNotFoundError):
                path.rename(journal)


def replay(folder: Path, doors: Callable[[str], Door | None]) -> Iterator[Left]:
    """Send what earlier runs left in the journals of a folder, each thing once, and yield what became of each.

    A run whose process died without saying how is ended as lost, unless another process goes on with it. A journal that the
    platform refuses for good is kept beside the others under another name. One that cannot be sent now stays as it is.

    Args:
        folder: of the journals.
        doors: address -> the platform there, or None when it is not to be asked now.
    """
    # A run's own journal before those of processes that were forked from its own.
    yield from send(sorted(folder.glob("*.journal"), key=lambda path: path.stem) if folder.is_dir() else (), doors)
    _sweep(folder)


def send(paths: Iterable[Path], doors: Callable[[str], Door | None]) -> Iterator[Left]:
    """Send what is in some journals, as :func:`replay` does.

    Args:
        paths: the journals; one that is gone is passed over.
        doors: address -> the platform there, or None when it is not to be asked now.
    """
    silent: dict[str, str] = {}
    for path in paths:
        try:
            last = path.stat().st_mtime_ns // 1000 + _TICK
            journal = Journal(path)
        except FileNotFoundError:
            continue  # another process has just sent it
        except PlimsollError as error:
            if isinstance(error, Conflict):
                yield Left(path=path, run_id="", address="", state="busy", fact=error.fact)
            else:
                yield Left(path=path, run_id="", address="", state="waiting", fact=f"{error} The journal {path} stays as it is.")
            continue
        try:
            found = _sent(journal, last, doors, silent)
            yield replace(found, fact=f"{journal.damage} {found.fact}".strip())
        finally:
            journal.close()


def _sent(journal: Journal, last: int, doors: Callable[[str], Door | None], silent: dict[str, str]) -> Left:
    found = Left(path=journal.path, run_id=journal.run_id, address=(address := _address(journal)), state="waiting")
    if not journal.run_id:
        # Its process died before the first word, or that is damaged and lies beside it.
        journal.remove()
        return replace(found, state="refused" if journal.damage else "sent")
    points, requests = journal.left
    found = replace(found, points=points, requests=requests)
    if address in silent:
        return replace(found, fact=silent[address])
    told: list[str] = []
    try:
        door = doors(address)
    except PlimsollError as error:
        silent[address] = str(error)
        return replace(found, fact=str(error))
    if door is None:
        return replace(found, fact=f"It belongs to {address}.")
    try:
        do = Spool(journal.bytes, door).do if journal.bytes.is_dir() else door.do

        def dead(request: Request[Any], /) -> Any:
            """Do a request of a process that does not live any more."""
            return do(replace(request, beats=False) if isinstance(request, StartRun | ResumeRun) else request)

        gone = FinishRun(id=journal.run_id, state="lost", error="Its process ended without saying how.", ended=last)
        # The end of a run is told by the process that began it.
        ended = deliver(journal, dead, None if journal.forked else journal.end or gone, told.append)
        journal.remove()
        return replace(
            found, state="sent", end="" if ended is None or ended.ended is None else ended.state, run_id=journal.run_id, fact=" ".join(told)
        )
    except REFUSED as error:
        if journal.forked and isinstance(error, NotFound) and begun_by(journal.path).exists():
            return replace(found, fact=f"{error} Its beginning is not sent yet.")
        return replace(found, state="refused", fact=f"{error} It is kept in {journal.set_aside()}.")
    except PlimsollError as error:
        if isinstance(error, Unreachable):
            silent[address] = str(error)
        return replace(found, fact=str(error))


def told(found: Iterable[Left], folder: Path, address: str) -> Iterator[str]:
    """Send what :func:`replay` finds, and yield what a person should know of it; that many wait for the same reason is one line.

    Args:
        found: of the folder.
        folder: of the journals.
        address: the platform that is asked.
    """
    others: set[str] = set()
    waiting: Counter[str] = Counter()
    for left in found:
        if left.state == "waiting" and left.address not in ("", address):
            others.add(left.address)
        elif left.state == "waiting" and waiting[left.fact]:
            waiting[left.fact] += 1
        elif left.fact and left.state != "busy":
            waiting[left.fact] += left.state == "waiting"
            yield f"{left.fact} ({left.path.name}, of an earlier run)"
    if more := sum(count - 1 for count in waiting.values()):
        yield f"{more} more of the journals in {folder} wait as well."
    if others:
        yield f"Runs on {', '.join(sorted(others))} have left journals in {folder}. Send them with: plimsoll sync"


def _address(journal: Journal) -> str:
    """Return where the platform is: a server, or the home in which the journal lies, wherever that was moved to since."""
    around = journal.path.absolute().parent.parent
    return str(around) if "://" not in journal.address and is_home(around) else journal.address


def _sweep(folder: Path) -> None:
    """Drop what has no journal: its process was killed between the two."""
    for left in folder.glob("*.blobs") if folder.is_dir() else ():
        if not left.with_suffix(".journal").exists() and not left.with_suffix(".refused").exists():
            shutil.rmtree(left, ignore_errors=True)
    for begun in folder.glob(f"*{BEGUN}") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if clock.now() - begun.stat().st_mtime_ns // 1000 > _UNNAMED:
                begun.unlink()
