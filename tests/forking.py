"""Runs command lines of Plimsoll, each in a process forked from this one, which has imported what takes most of them half a second.

It is told on its standard input, a line of JSON for each command: ``words``, ``folder``, ``variables`` (its whole environment), ``out``
and ``err`` (where its output goes). It answers ``ready`` once, and after each command how that ended.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

import plimsoll.cli.app
import plimsoll.cli.commands.run
import plimsoll.pipelines.engine


def become(command: dict[str, Any]) -> None:
    """Be the process that the command would have been given: its arguments, folder, environment, and where its output goes."""
    for to, path in enumerate((os.devnull, command["out"], command["err"])):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if to else os.O_RDONLY)
        os.dup2(opened, to)
        os.close(opened)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["variables"])
    sys.argv = [str(plimsoll.cli.app.__file__), *command["words"]]
    # Where ``python -m`` looks first.
    sys.path[0] = os.getcwd()


def main() -> bool:
    """Begin every command that is asked for; return True in each of its processes, and False at the end."""
    # What is there now is not looked at again by any collector, so that the processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            return True
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return False


if __name__ == "__main__" and main():
    plimsoll.cli.app.main()
