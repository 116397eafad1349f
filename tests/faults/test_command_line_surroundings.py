"""The command line among what can go wrong around it: a server, another user's files, a full disk, closed streams."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.faults.command_line import ASKING, LIMIT, ROOT, Filled, Run, Said, process, project, state

# The server


@pytest.fixture(scope="module")
def nobody_listens() -> Iterator[str]:
    """An address that is kept, and at which nobody answers."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.mark.parametrize("line", [*ASKING])
def test_a_server_that_does_not_answer_is_unreachable(run: Run, filled: Filled, nobody_listens: str, line: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder, PLIMSOLL_URL=nobody_listens).failed(5, nobody_listens, "plimsoll up")
    assert state(filled.folder) == before


@pytest.mark.parametrize("line", [*ASKING, "init"])
def test_a_token_that_nobody_has_is_refused(run: Run, filled: Filled, line: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder, PLIMSOLL_TOKEN="wrong").failed(1, "token")
    assert state(filled.folder) == before


def test_a_server_without_a_token_asks_for_one(run: Run, tmp_path: Path, nobody_listens: str) -> None:
    run("runs list", tmp_path, PLIMSOLL_URL=nobody_listens).failed(1, "PLIMSOLL_TOKEN")


@pytest.mark.parametrize("flags", ["--port PORT --serving-port 0", "--port 0 --serving-port PORT"])
def test_a_port_that_is_taken_is_told_with_the_option_that_changes_it(run: Run, filled: Filled, flags: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        option = next(word for word, value in zip(flags.split()[::2], flags.split()[1::2], strict=True) if value == "PORT")
        run(f"up {flags.replace('PORT', port)}", filled.folder).failed(1, port, option)


def test_a_home_that_is_up_already_is_told_with_the_process_that_holds_it(filled: Filled) -> None:
    command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    up = subprocess.Popen(command, cwd=filled.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert up.stdout is not None
        url = up.stdout.readline().strip()
        process("up", "--port", "0", "--serving-port", "0", folder=filled.folder).failed(1, "already up", str(up.pid), url)
        assert process("runs", "list", folder=filled.folder, PLIMSOLL_URL=url).code == 0
        process("runs", "list", folder=filled.folder, PLIMSOLL_URL=url, PLIMSOLL_TOKEN="wrong").failed(1, "token")
    finally:
        up.terminate()
        up.communicate(timeout=LIMIT)
    assert up.returncode == 0


# The disk


# Shows what lies in a closed folder (a Python in root's own, say) at the same paths to everybody; in its own view of the disk alone.
OPENED = """
set -e
kept=$1; closed=$2; shift 2; count=0
while [ "$1" != -- ]; do
  count=$((count + 1)); mkdir -p "$kept/$count"; mount --bind "$1" "$kept/$count"; eval "path_$count=\\$1"; shift
done
shift
mount -t tmpfs -o mode=755 none "$closed"
while [ $count -gt 0 ]; do
  eval "path=\\$path_$count"; mkdir -p "$path"; mount --bind "$kept/$count" "$path"; count=$((count - 1))
done
exec "$@"
"""


@cache
def _somebody_else() -> tuple[str, ...]:
    """Return what begins a command line so that a user who is not root runs it."""
    if os.geteuid() != 0:
        return ()
    setpriv, unshare = shutil.which("setpriv"), shutil.which("unshare")
    if setpriv is None or unshare is None:
        pytest.skip("Root may read and write everything, and 'setpriv' and 'unshare' are not here.")
    user = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups")
    needed = [Path(path).resolve() for path in (sys.prefix, sys.base_prefix, ROOT)]
    above = sorted({folder for path in needed for folder in path.parents if not folder.stat().st_mode & 0o001})
    if above:
        closed = above[0]
        hidden = [str(path) for path in dict.fromkeys(needed) if path.is_relative_to(closed)]
        kept = tempfile.mkdtemp(prefix="plimsoll-")
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        user = (unshare, "-m", "sh", "-c", OPENED, "sh", kept, str(closed), *hidden, "--", *user)
    command = [*user, sys.executable, "-c", "import plimsoll.cli.app"]
    tried = subprocess.run(command, cwd="/", env=_environment(Path("/")), capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"Another user cannot reach this Python: {tried.stderr}")
    return user


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def _as_somebody_else(*words: str, folder: Path) -> Said:
    command = [*_somebody_else(), sys.executable, "-m", "plimsoll.cli.app", *words]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=LIMIT)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["as it is made", "opened to all"])
@pytest.mark.parametrize("line", ["runs list", "actors add nina read", "run works.py:chain", "init", "up --port 0 --serving-port 0"])
def test_a_home_that_may_not_be_used_is_told(template: Filled, reachable: Path, line: str, mode: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("Only root can act as another user than the home's owner.")
    folder = shutil.copytree(template.folder, reachable / "filled")
    folder.chmod(0o755)
    home = folder / ".plimsoll"
    home.chmod(mode)
    # What the home's owner alone may read: the tokens and the database.
    (home / "plimsoll.db").chmod(0o600)
    before = state(folder)
    said = _as_somebody_else(*line.split(), folder=folder)
    said.failed(1, str(home))
    assert state(folder) == before


@pytest.mark.parametrize("line", ["init", "init --home here", "run works.py:chain"])
def test_a_folder_that_may_not_be_written_is_told_and_stays_empty(reachable: Path, line: str) -> None:
    if "works" in line:
        project(reachable)
    for path in (reachable, *reachable.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(reachable)
    _as_somebody_else(*line.split(), folder=reachable).failed(2, str(reachable))
    assert state(reachable) == before


@pytest.mark.parametrize("line", ["init", "run works.py:chain", "actors add nina read", "models trust late/2 --reason seen"])
def test_a_full_disk_is_told_and_nothing_is_changed(template: Filled, tmp_path: Path, line: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("A small disk needs 'unshare -Urm' and 'mount', which do not work here.")
    disk, code = tmp_path / "disk", tmp_path / "fills.py"
    disk.mkdir()
    code.write_text(_FILLS)
    new = line == "init" or line.startswith("run")
    script = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" "$3" "$1" "$4" "$5"'
    words = ["sh", str(disk), sys.executable, str(code), "" if new else str(template.folder), line]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [unshare, "-Urm", "sh", "-c", script, *words], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stdout.strip() == "told", done.stdout + done.stderr


#: Fills a small disk to the last byte around a project, runs a command there, and looks at what it said and left.
_FILLS = """
import shutil, sys
from pathlib import Path
from tests.faults.command_line import process, project, state

disk, source, line = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
folder = disk / "project"
if source:
    shutil.copytree(source, folder)
else:
    folder.mkdir()
    if line != "init":
        project(folder)
with (disk / "ballast").open("wb", buffering=0) as file:
    try:
        while file.write(b"x" * 4096): pass
    except OSError: pass
before = state(folder)
process(*line.split(), folder=folder, PYTHONDONTWRITEBYTECODE="1").failed(1, "full")
assert state(folder) == before, (state(folder), before)
(disk / "ballast").unlink()
said = process(*line.split(), folder=folder, PYTHONDONTWRITEBYTECODE="1")
assert said.code == 0, said
print("told")
"""


# The streams


@pytest.mark.parametrize("line", ["runs list", "models show early", "sail", "--version"])
def test_a_reader_that_went_away_is_no_error_to_talk_about(line: str, filled: Filled) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "plimsoll.cli.app", *line.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=filled.folder, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    os.close(write)
    assert done.returncode == {"models show early": 4, "sail": 2}.get(line, 0), done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_full_disk_under_the_output_is_a_failure(filled: Filled) -> None:
    command = [sys.executable, "-m", "plimsoll.cli.app", "runs", "list"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=filled.folder, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    Said(done.returncode, "", done.stderr).failed(1, "No space left")


def test_a_traceback_comes_with_debug_alone(filled: Filled) -> None:
    assert "Traceback" not in process("runs", "show", "ffff", folder=filled.folder).err
    assert "Traceback" in process("runs", "show", "ffff", "--debug", folder=filled.folder).err
