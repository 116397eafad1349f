"""A process that was forked from one that has the database open cannot use it: what it wrote could be lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FORKS = """
import os, sys
from plimsoll.errors import Conflict
from plimsoll.store.database import open_database
from plimsoll.store.events import SqlEvents

def refused(act):
    try:
        act()
    except Conflict as error:
        return "was forked" in error.fact and "plimsoll.current_run()" in error.remedy
    return False

def write(database):
    with database.write() as tx:
        SqlEvents().append(tx, "dana", "StartRun", "run:1", {})

def in_child(act):
    child = os.fork()
    if child == 0:
        os._exit(0 if act() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

url = sys.argv[1]
def twice():
    first, second = open_database(url), open_database(url)
    write(first), write(second)
    return True
# Nobody has it open: the child may open it, as often as it likes.
open_database(url).close()
in_child(twice)
opened = open_database(url)
in_child(lambda: refused(lambda: write(opened)))
in_child(lambda: refused(lambda: opened.read()))
if url.startswith("sqlite"):
    in_child(lambda: refused(lambda: open_database(url)))
else:
    in_child(twice)
write(opened)
opened.close()
in_child(twice)
opened = open_database(url)
with opened.read() as tx:
    found = SqlEvents().verify(tx)
assert (found.events, found.broken_at) == ((5 if url.startswith("sqlite") else 7), None), found
opened.close()
print("sound")
"""


def test_a_forked_process_is_refused_what_its_parent_has_open_and_opens_what_nobody_has(database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKS, database_url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "sound"), done.stderr


def test_the_run_of_the_parent_is_what_a_forked_process_has_on_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "late"\n')
    program = """
import os, plimsoll
from plimsoll.errors import Conflict
with plimsoll.run() as run:
    child = os.fork()
    if child == 0:
        try:
            plimsoll.run(nested=True).start()
        except Conflict as error:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
