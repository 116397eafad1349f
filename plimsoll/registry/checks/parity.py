"""Does the server say what training said: the packaged model behind the real server, on the reference rows."""

from __future__ import annotations

import numpy as np

from plimsoll.records.model import Verdict
from plimsoll.registry.trial import Trial

#: Reference rows below which agreement proves little.
LEAST_ROWS = 100


def check_parity(trial: Trial) -> Verdict:
    """Pass a package whose server answers exactly, bit for bit, what training computed, without a failed request.

    Args:
        trial: what the package did in a fresh process.
    """
    gap = np.abs(trial.answered - trial.expected)
    differing = int(np.sum(~(trial.answered == trial.expected)))
    largest = float(np.nanmax(gap)) if np.isfinite(gap).any() else 0.0
    numbers = {"rows": trial.rows, "differing": differing, "largest_difference": largest, "failed_requests": trial.failed}
    problems = []
    if trial.failed:
        problems.append(f"{trial.failed} requests failed, the first with: {trial.failure}.")
    silent = int(np.sum(np.isnan(trial.answered) & ~np.isnan(trial.expected)))
    if silent:
        problems.append(f"{silent:,} of {trial.rows:,} reference rows got no answer.")
    if differing > silent:
        problems.append(
            f"The server answers {differing - silent:,} of {trial.rows:,} rows differently from training, by up to {largest:.3g}."
        )
    if trial.rows < LEAST_ROWS:
        problems.append(f"The package has {trial.rows} reference rows; at least {LEAST_ROWS} are needed. Give Model a longer holdout.")
    if problems:
        return Verdict(check="parity", outcome="fail", reason=" ".join(problems), numbers=numbers)
    reason = f"Behind the real server, in a fresh process, all {trial.rows:,} reference rows get exactly the answer that training computed."
    return Verdict(check="parity", outcome="pass", reason=reason, numbers=numbers)
