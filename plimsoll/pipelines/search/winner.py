"""The winner of a search becomes versions: its run is the production-identical run already, so nothing is run again."""

from __future__ import annotations

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.running import package_meta
from plimsoll.records.model import CreateVersion, Version
from plimsoll.records.pipelines.search import SearchDetail, Trial
from plimsoll.records.run import GetRun
from plimsoll.store.contracts import Blobs, Do


def winner(detail: SearchDetail, number: int | None = None) -> Trial:
    """Return the trial that is meant: the best one, or the one of a number.

    Args:
        detail: a search.
        number: of a trial; None takes the best.

    Raises:
        NotFound: there is no such trial, or none that counts yet.
        InvalidInput: several are best and none was named.
    """
    id = detail.search.id[:12]
    if number is not None:
        found = next((trial for trial in detail.trials if trial.number == number), None)
        if found is None:
            raise NotFound(f"The search {id} has no trial {number}.", f"Look at: plimsoll search show {id}")
        return found
    if not detail.best:
        raise NotFound(f"The search {id} has no trial with a value that keeps its constraints.", f"Look at: plimsoll search show {id}")
    if len(detail.best) > 1 and len(detail.search.plan.objectives) > 1:
        front = ", ".join(map(str, detail.best))
        raise InvalidInput(f"The search {id} has {len(detail.best)} best trials: {front}.", "Name one: --trial NUMBER")
    return next(trial for trial in detail.trials if trial.number == detail.best[0])


def register(trial: Trial, do: Do, blobs: Blobs) -> tuple[Version, ...]:
    """Number the models that a trial's run has made, and return their versions; one that has a number keeps it.

    Args:
        trial: of a search of one's own.
        do: the door.
        blobs: where packages are.

    Raises:
        NotFound: the run made no model.
        Denied: it is another actor's run.
    """
    kept = () if trial.run_id is None else do(GetRun(id=trial.run_id)).artifacts
    made = []
    for artifact in kept:
        if artifact.kind == "model":
            try:
                model = package_meta(artifact.name, artifact.digest, blobs).model
            except NotFound as error:
                again = f"Search once more, which computes it again, or run the pipeline with its parameters: {trial.params}"
                raise NotFound(f"The model of trial {trial.number} was pruned from the cache.", again) from error
            made.append(do(CreateVersion(model=model, digest=artifact.digest, run_id=trial.run_id or "")))
    if not made:
        raise NotFound(f"Trial {trial.number} has made no model.", "A step makes one by returning plimsoll.Model.")
    return tuple(made)
