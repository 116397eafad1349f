"""A second run of the flights pipeline that changes nothing, from the start of the process. ``python -m bench rerun``.

It is the installed command that is measured, with bytecode written beforehand, as an installation has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Times that it is repeated; the least is told, since the machine may be busy.
TIMES = 7


def main(peers: bool) -> None:
    """Measure and print one JSON line. It needs the extra ``demo``.

    Args:
        peers: not used.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        project = Path(made, "flights")
        shutil.copytree(ROOT / "examples" / "flights", project, ignore=shutil.ignore_patterns("__pycache__", ".plimsoll"))
        first = _run(project)
        _run(project)  # what the first run has learnt is used from here on
        again = [_run(project) for _ in range(TIMES)]
    told: dict[str, str | float] = {"subject": "plimsoll"}
    for label, (wall, cpu) in (("first", first), ("again", map(min, zip(*again, strict=True)))):
        told |= {f"{label}_wall_s": round(wall, 3), f"{label}_cpu_s": round(cpu, 3)}
    print(json.dumps(told), flush=True)


def _run(project: Path) -> tuple[float, float]:
    before, begun = os.times(), time.perf_counter()
    command = [str(Path(sys.executable).with_name("plimsoll")), "run", "late/pipeline.py:late_arrivals"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(project.parent / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, cwd=project, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, cpu
