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
