"""What it costs to have Plimsoll: install size, import, the first command, and an idle server.

``python -m bench footprint`` installs the core into an empty environment of its own and measures it; ``--peers`` does the same
to MLflow in the same run. CPU times are the best of five, since the machine may be busy; memory is the proportional set size
of the whole process tree, so that shared pages count once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    name: str
    install: list[str]
    imported: str
    version: list[str]
    server: list[str]
    health: str


def main(peers: bool) -> None:
    """Measure and print one JSON line a subject.

    Args:
        peers: also measure MLflow.
    """
    subjects = [
        Subject(
            "plimsoll",
            ["--require-hashes", "-r", str(ROOT / "requirements" / "core.txt")],
            "plimsoll",
            ["plimsoll", "--version"],
            ["plimsoll", "up", "--port", "{port}", "--serving-port", "0"],
            "/health",
        )
    ]
    if peers:
        port = ["mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--port", "{port}"]
        subjects.append(Subject("mlflow", ["mlflow==3.17.2"], "mlflow", ["mlflow", "--version"], port, "/health"))
    for subject in subjects:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            print(json.dumps({"subject": subject.name} | _measure(subject, Path(folder))), flush=True)


def _measure(subject: Subject, folder: Path) -> dict[str, float]:
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    before = _size(site)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *subject.install], check=True)
    if subject.name == "plimsoll":
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(ROOT)], check=True)
    env = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PLIMSOLL_HOME": str(folder / "home")}
    (folder / "pyproject.toml").write_text('[project]\nname = "bench"\nversion = "0"\n\n[tool.plimsoll]\n')
    return {
        "install_mb": round((_size(site) - before) / 1e6, 1),
        "import_cpu_s": _cpu([str(python), "-c", f"import {subject.imported}"], env, folder)
        - _cpu([str(python), "-c", "pass"], env, folder),
        "version_cpu_s": _cpu(subject.version, env, folder),
        **_idle(subject, env, folder),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _cpu(command: list[str], env: dict[str, str], folder: Path) -> float:
    best = float("inf")
    for _ in range(5):
        before = os.times()
        subprocess.run(command, env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        best = min(best, after.children_user + after.children_system - before.children_user - before.children_system)
    return round(best, 3)


def _idle(subject: Subject, env: dict[str, str], folder: Path) -> dict[str, float]:
    port = 17600
    command = [word.format(port=port) for word in subject.server]
    begun = time.monotonic()
    server = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while time.monotonic() - begun < 120:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{subject.health}", timeout=1).read()
                break
            except OSError:
                time.sleep(0.02)
        ready = time.monotonic() - begun
        time.sleep(5)
        tree = _tree(server.pid)
        return {"ready_s": round(ready, 2), "idle_pss_mb": round(sum(map(_pss, tree)) / 1e3, 1), "processes": len(tree)}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(re.sub(r"^.*\)", "", (entry / "stat").read_text()).split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE).group(1))  # type: ignore[union-attr]


if __name__ == "__main__":
    main("--peers" in sys.argv)
