"""The key of a step whose code reaches 900 functions in 30 modules, at first and after an edit of one. ``python -m bench key``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULES, FUNCTIONS = 30, 30

#: Times that each is measured, in a process of its own; the least is told, since the machine may be busy.
TIMES = 5

#: Its argument is the folder in which the home remembers what functions say.
_SCRIPT = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, ".")
import m0
from plimsoll.data.code.source import Sources
from plimsoll.pipelines.keys import code_parts
wall, cpu = time.perf_counter(), time.process_time()
parts = code_parts(m0.f0, Sources(Path(sys.argv[1])))
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "functions": len(parts)}))
"""


def main(peers: bool) -> None:
    """Measure and print a JSON line for a key that nothing is remembered for, and one for the key after an edit; no peer makes such keys.

    Args:
        peers: not used.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        folder = Path(made)
        for module in range(MODULES):
            (folder / f"m{module}.py").write_text(_module(module))
        # At first nothing is remembered, and what is read is written down; then one module of the thirty is another one each time.
        _tell("first", [_run(folder, Path(made, "recall", f"first{time}")) for time in range(TIMES)])
        _tell("after an edit", [_run(_edited(folder, time), Path(made, "recall", "first0")) for time in range(TIMES)])


def _tell(which: str, seen: list[dict[str, float]]) -> None:
    best = min(seen, key=lambda each: each["cpu_s"])
    print(json.dumps({"subject": "plimsoll", "key": which, **{name: round(value, 3) for name, value in best.items()}}), flush=True)


def _edited(folder: Path, time: int) -> Path:
    (folder / "m7.py").write_text(_module(7).replace("total = 0.0", f"total = {time}.5"))
    return folder


def _module(index: int) -> str:
    """Return a module whose functions form a chain, the last one going on in the next module."""
    lines = [f"import m{index + 1}"] if index + 1 < MODULES else []
    lines.append(f"SCALE = {index}.5\nLIMITS = {{'low': {index}, 'high': [1, 2, 3]}}\n")
    for number in range(FUNCTIONS):
        after = f"f{number + 1}" if number + 1 < FUNCTIONS else f"m{index + 1}.f0" if index + 1 < MODULES else "abs"
        lines.append(
            f"def f{number}(rows, depth=4):\n"
            f'    """Return what {after} makes of the rows."""\n'
            "    total = 0.0\n"
            "    for row in rows:\n"
            f"        if row > LIMITS['low'] and depth > {number}:\n"
            f"            total += row * SCALE + {number}\n"
            "        else:\n"
            "            total -= min(row, depth)\n"
            f"    return {after}([total]) if total > {number} else total\n"
        )
    return "\n".join(lines)


def _run(folder: Path, remembered: Path) -> dict[str, float]:
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    command = [sys.executable, "-c", _SCRIPT, str(remembered)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    seen: dict[str, float] = json.loads(done.stdout)
    return seen
