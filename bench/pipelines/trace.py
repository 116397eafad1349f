"""What it costs to record what a step reads by itself: the same bodies plain and recorded. ``python -m bench trace``.

On Python 3.11 the watched functions of libraries tell of themselves; later Pythons tell of each place once. The static reading of the
body is part of what is measured. What a large file holds is remembered from the first round on, as it is from a home's first run after a
change of the file; that first reading is not part of the figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Rounds, in each of which every body runs plain and recorded by turns; the least of both are compared, since the machine may be busy.
ROUNDS = 24

_BODIES = """
import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

HERE = Path(__file__).parent


def pandas_csv():
    frame = pd.read_csv(HERE / "rows.csv")
    frame["hour"] = pd.to_datetime(frame["time"]).dt.hour
    return frame.groupby("hour")["delay"].mean().sum()


def polars_parquet():
    rows = [pl.read_parquet(HERE / "rows.parquet") for _ in range(16)]
    return pl.concat(rows).group_by("carrier").agg(pl.col("delay").mean()).sort("carrier").height


def python_loop():
    total = 0.0
    for number in range(3_000_000):
        total += number * 0.5 if number % 3 else -1.0
    return total


def small(number):
    return number + 1


def small_calls():
    total = 0
    for number in range(1_000_000):
        total = small(total) + len("ab") + int(math.sqrt(number))
    return total


def small_calls_with_text():
    return sum(len(pl.col("delay").meta.output_name()) + small(number) for number in range(100_000))


def sklearn_fit():
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(20_000, 10))
    return HistGradientBoostingClassifier(max_iter=150, early_stopping=False).fit(rows, rows[:, 0] > 0).n_iter_


def csv_and_loop():
    rows = pl.read_csv(HERE / "small.csv")
    return rows.height + small_calls()
"""

_SCRIPT = """
import json, sys, time
from pathlib import Path

import numpy as np
import polars as pl
from plimsoll.data.trace.recording import Recorder
from plimsoll.pipelines.keys import code_parts

HERE = Path.cwd()
chance = np.random.default_rng(1)
rows = pl.DataFrame({
    "time": pl.datetime_range(pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 1) + pl.duration(seconds=999_999), "1s", eager=True),
    "delay": chance.normal(size=1_000_000), "carrier": chance.choice(["AA", "UA", "DL"], 1_000_000),
})
rows.write_csv(HERE / "rows.csv")
rows.head(10).write_csv(HERE / "small.csv")
rows.write_parquet(HERE / "rows.parquet")
sys.path.insert(0, str(HERE))
import bodies
# What has just been written is never remembered.
time.sleep(61)


def plain(body):
    body()


def recorded(body):
    with Recorder(HERE, alone=True, remembered=HERE / "known").recording(body, known, 1) as recording:
        body()
    recording.trace()


def seconds(how, body):
    before = time.process_time()
    how(body)
    return time.process_time() - before


for name in NAMES:
    body = getattr(bodies, name)
    # What the key of a step knows before it runs.
    known = frozenset(part.name for part in code_parts(body) if part.kind == "environment")
    seconds(plain, body), seconds(recorded, body)
    pairs = []
    for turn in range(ROUNDS):
        order = (plain, recorded) if turn % 2 else (recorded, plain)
        spent = {how: seconds(how, body) for how in order}
        pairs.append((spent[plain], spent[recorded]))
    # What each half of the rounds tells by itself shows how far the figure can be trusted.
    parts = pairs, pairs[: ROUNDS // 2], pairs[ROUNDS // 2 :]
    ratios = [recorded_s / plain_s for plain_s, recorded_s in (map(min, zip(*part)) for part in parts)]
    all_of_them, one, other = (round(100 * (ratio - 1), 1) for ratio in ratios)
    told = {"plain_cpu_s": round(min(pairs)[0], 3), "overhead_percent": all_of_them, "halves_percent": [one, other]}
    print(json.dumps({"subject": "plimsoll", "body": name, "python": sys.version.split()[0], **told}), flush=True)
"""


def main(peers: bool) -> None:
    """Measure and print one JSON line a body: CPU seconds, and per cent that recording adds. It needs pandas and scikit-learn.

    Args:
        peers: not used.
    """
    names = [line[4:-3] for line in _BODIES.splitlines() if line.startswith("def ") and line.endswith("():")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder, "bodies.py").write_text(_BODIES)
        script = _SCRIPT.replace("NAMES", repr(names)).replace("ROUNDS", str(ROUNDS))
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, "-c", script], cwd=folder, env=env, check=True)
