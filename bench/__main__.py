"""``python -m bench [NAME …]``: run the named benchmarks, or all of them."""

from __future__ import annotations

import sys

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


def main() -> int:
    """Run what the command line names."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    for name in names:
        BENCHMARKS[name](peers="--peers" in sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
