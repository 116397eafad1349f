"""Whose thread acts is found out beside threads that begin and end all the time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]

#: Collects garbage at each moment, in which another thread gets its turn.
BUSY = """
import gc, os, sys, threading, time
from plimsoll.data.trace.origin import Origins
from plimsoll.data.trace.watched.threads import Threads

class Slow:
    def __del__(self):
        time.sleep(0)

def begin():
    while True:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

sys.setswitchinterval(1e-6)
gc.set_threshold(1)
for _ in range(3):
    threading.Thread(target=begin, daemon=True).start()
end = time.monotonic() + 2
while time.monotonic() < end:
    slow = Slow()
    slow.own = slow
    assert Threads(False, Origins()).mine()
print("ended", flush=True)
os._exit(0)
"""


def test_a_step_begins_although_threads_begin_beside_it() -> None:
    """Python 3.11 waits for ever where it is asked for all frames at such a moment."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", BUSY], env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout == "ended\n", done.stderr


#: Runs in several threads, while others read variables; each thread gets its turn at any moment.
BEGUN = """
import os, pathlib, sys, threading, time
from plimsoll.data.trace import recording

recorder, troubles, end = recording.Recorder(pathlib.Path.cwd()), [], time.monotonic() + 1

def record():
    while time.monotonic() < end:
        with recorder.recording(record, frozenset(), 1) as made:
            os.environ.get("HERE")
        troubles.extend(made.trace().effects)

def read():
    while time.monotonic() < end:
        assert dict(os.environ) and "HERE" not in os.environ and len(os.environ.copy()) == len(os.environ)

def tried(work):
    try:
        work()
    except BaseException as error:
        troubles.append(repr(error))

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=tried, args=(work,)) for work in (record, record, record, read, read)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(set(troubles)), recording._HOOK.active, type(os.environ) is recording._VARIABLES._watched)
"""


def test_recordings_of_several_threads_begin_and_end_at_any_moment(tmp_path: Path) -> None:
    """What listens is one a process: it stays for those that go on, and nothing is left of it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", BEGUN], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout == "[] () False\n", done.stderr
