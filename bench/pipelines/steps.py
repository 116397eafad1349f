"""What one step costs that does nothing: computed for the first time, and found again. ``python -m bench steps [--peers]``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bench.pipelines.peers import PEERS, PLIMSOLL, Peer

ROOT = Path(__file__).parents[2]

#: Length of the chain.
STEPS = 100

#: Times that a run is repeated; the least is told, since the machine may be busy.
TIMES = 3


def main(peers: bool) -> None:
    """Measure and print one JSON line a tool: milliseconds a step.

    Args:
        peers: also measure the peers, each in an environment of its own, installed for the run.
    """
    ours = _measure(PLIMSOLL, sys.executable)
    print(json.dumps(ours), flush=True)
    for peer in PEERS if peers else ():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            venv.create(folder, with_pip=True)
            python = str(Path(folder, "bin", "python"))
            subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.install], check=True)
            theirs = _measure(peer, python)
        ratios = {f"{name}_ratio": round(theirs[name] / ours[name], 2) for name in ("cold_cpu_ms", "hit_cpu_ms")}  # type: ignore[operator]
        print(json.dumps(theirs | ratios), flush=True)


def _measure(peer: Peer, python: str) -> dict[str, float | str]:
    least: dict[str, float] = {}
    script = peer.script.replace("STEPS", str(STEPS))
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            for state in ("cold", "hit"):
                for name, value in _run(script, python, folder).items():
                    label = f"{state}_{name}_ms"
                    least[label] = min(least.get(label, float("inf")), round(1e3 * value / STEPS, 3))
    return {"subject": peer.name, "steps": STEPS, **least}


def _run(script: str, python: str, folder: str) -> dict[str, float]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)} if python == sys.executable else dict(os.environ)
    Path(folder, "script.py").write_text(script)
    done = subprocess.run([python, "script.py"], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds
