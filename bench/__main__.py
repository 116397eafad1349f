"""``python -m bench [NAME …]``: run the named benchmarks, or all of them."""

from __future__ import annotations

import argparse

from bench import footprint
from bench.pipelines import key, rerun, search, steps, trace
from bench.tracking import artifacts, batches, finding, log, points

BENCHMARKS = {
    "footprint": footprint.main,
    "steps": steps.main,
    "rerun": rerun.main,
    "key": key.main,
    "search": search.main,
    "trace": trace.main,
    "tracking-artifacts": artifacts.main,
    "tracking-batches": batches.main,
    "tracking-log": log.main,
    "tracking-points": points.main,
    "tracking-search": finding.main,
}


def main() -> None:
    """Run what the command line names."""
    asked = argparse.ArgumentParser(
        prog="python -m bench", description="Run the named benchmarks, or all of them; each figure is a line of JSON."
    )
    asked.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    asked.add_argument("--peers", action="store_true", help="measure the peers as well, each in an environment that this makes")
    given = asked.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        asked.error(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(BENCHMARKS)}.")
    for name in given.names or BENCHMARKS:
        BENCHMARKS[name](peers=given.peers)


if __name__ == "__main__":
    main()
