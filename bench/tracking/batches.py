"""Batches of 1,000 metrics that MLflow's own client sends with ``log_batch``: ``python -m bench tracking-batches --peers``.

The same client sends the same batches to Plimsoll's server and to MLflow's. It is installed for the benchmark, so without
``--peers`` nothing is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from bench.tracking.lines import least, tell
from bench.tracking.live import Server, cpu_of_group, mlflow, server

#: Batches after the first, which makes the series.
BATCHES = 10

_SENDS = """
import json, sys, time
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
run = client.create_run("0").info.run_id
batches = [
    [Metric(f"m{at % 10}", 1.0 / (1 + at + 1000 * batch), 1_700_000_000_000 + at, batch * 100 + at // 10) for at in range(1000)]
    for batch in range(BATCHES + 1)
]
client.log_batch(run, metrics=batches[0])
print("begun", flush=True)
sys.stdin.readline()
began, cpu = time.perf_counter(), time.process_time()
for batch in batches[1:]:
    client.log_batch(run, metrics=batch)
took, cpu = time.perf_counter() - began, time.process_time() - cpu
assert len(client.get_metric_history(run, "m0")) == 100 * (BATCHES + 1)
print(json.dumps({"batch_ms": round(1e3 * took / BATCHES, 1), "client_cpu_ms": round(1e3 * cpu / BATCHES, 1)}), flush=True)
sys.stdin.readline()
"""


def main(peers: bool) -> None:
    """Measure and print one JSON line a server.

    Args:
        peers: install MLflow, whose client sends the batches.
    """
    if not peers:
        tell({"subject": "MLflow's log_batch of 1,000", "skipped": "It needs MLflow's client: add --peers."})
        return
    with mlflow() as (theirs, python):
        with server() as ours:
            own = _measure(ours, python)
        tell({"subject": "plimsoll"} | own)
        other = _measure(theirs, python)
        tell({"subject": "mlflow"} | other | {"ratio": round(other["batch_ms"] / own["batch_ms"], 1)}, {"ratio": least(5)})


def _measure(ready: Server, python: str) -> dict[str, float]:
    env = {**os.environ, "MLFLOW_TRACKING_TOKEN": ready.token} if ready.token else dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        script = Path(folder, "sends.py")
        script.write_text(_SENDS.replace("BATCHES", str(BATCHES)))
        command = [python, str(script), ready.url]
        with subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            if client.stdout.readline() != "begun\n":
                raise SystemExit(f"MLflow's client cannot log to {ready.url}.")
            spent = cpu_of_group(ready.pid)
            client.stdin.write("go\n")
            client.stdin.flush()
            line: dict[str, float] = json.loads(client.stdout.readline())
            spent = cpu_of_group(ready.pid) - spent
            client.stdin.write("done\n")
    return line | {"server_cpu_ms": round(1e3 * spent / BATCHES, 1)}
