"""What does it take from its host: load time, memory and latency of a fresh process against the declared budget."""

from __future__ import annotations

import math

from plimsoll.records.model import Budget, Outcome, Verdict
from plimsoll.records.request import Json
from plimsoll.registry.trial import Trial

#: Share of a budget from which the approver is told that it is nearly used up.
NEAR = 0.8


def check_footprint(trial: Trial, budget: Budget) -> Verdict:
    """Fail a package that takes more than its budget; warn when it comes near, or when something could not be measured.

    Args:
        trial: what the package did in a fresh process.
        budget: what it may take.
    """
    measured = (
        ("load_seconds", "The first answer came after", "s", trial.load_seconds, budget.load_seconds),
        ("memory_mib", "Peak memory was", "MiB", trial.memory_mib, budget.memory_mib),
        ("latency_ms", "The 99th percentile of one-row requests was", "ms", trial.latency_p99_ms, budget.latency_ms),
    )
    numbers: dict[str, Json] = {"latency_p50_ms": trial.latency_p50_ms, "requests": trial.requests}
    outcome: Outcome = "pass"
    said = []
    for name, what, unit, value, allowed in measured:
        numbers |= {name: value, f"{name}_allowed": allowed}
        if value is None:
            outcome = "warn" if outcome == "pass" else outcome
            said.append(f"{what} not measured: this system does not tell.")
        elif math.isnan(value):
            outcome = "fail"
            said.append(f"{what} not measured: no request was answered.")
        else:
            over, near = value > allowed, value > NEAR * allowed
            outcome = "fail" if over or outcome == "fail" else "warn" if near or outcome == "warn" else "pass"
            verdict = ", which is too much" if over else ", which is close" if near else ""
            said.append(f"{what} {value:.3g} {unit} of {allowed:g} {unit} allowed{verdict}.")
    return Verdict(check="footprint", outcome=outcome, reason=" ".join(said), numbers=numbers)
