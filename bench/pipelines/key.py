"""The key of a step whose code reaches 900 functions in 30 modules. ``python -m bench key``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULES, FUNCTIONS = 30, 30

_SCRIPT = """
import json, os, sys, time
sys.path.insert(0, ".")
import m0
from plimsoll.pipelines.keys import code_parts
wall, cpu = time.perf_counter(), time.process_time()
parts = code_parts(m0.f0)
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "functions": len(parts)}))
"""


def main(peers: bool) -> None:
    """Measure and print one JSON line; no peer makes such a key.

    Args:
        peers: not used.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        folder = Path(made)
        for module in range(MODULES):
            (folder / f"m{module}.py").write_text(_module(module))
        best = min((_run(folder) for _ in range(5)), key=lambda seen: seen["cpu_s"])
    print(json.dumps({"subject": "plimsoll", **{name: round(value, 3) for name, value in best.items()}}), flush=True)


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


def _run(folder: Path) -> dict[str, float]:
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=folder, env=env, capture_output=True, text=True, check=True)
    seen: dict[str, float] = json.loads(done.stdout)
    return seen
