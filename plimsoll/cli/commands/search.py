"""``plimsoll search``: the best parameters of a pipeline."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from plimsoll.cli.asked import Asked, Told, asked
from plimsoll.cli.output import Format, Id, next_step, say, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.errors import InvalidInput, PlimsollError
from plimsoll.pipelines.executors.choice import chosen_executor
from plimsoll.pipelines.search.goals import read_constraint, read_objectives
from plimsoll.pipelines.search.space import read_space
from plimsoll.pipelines.search.study import importances as shares_of
from plimsoll.pipelines.search.trials import Place, check, search
from plimsoll.pipelines.search.winner import register as number
from plimsoll.pipelines.search.winner import winner
from plimsoll.records.pipelines.part import ExecutorName
from plimsoll.records.pipelines.search import GetSearch, ListSearches, Pruner, Sampler, SearchDetail, SearchPlan, Trial
from plimsoll.records.run import GetRun

app = App(name="search")

Several = Annotated[list[str] | None, Parameter(negative=())]


@app.default
def start(
    pipeline: str | None = None,
    *,
    trials: int,
    space: Annotated[list[str], Parameter(negative=())],
    maximize: Several = None,
    minimize: Several = None,
    constraint: Several = None,
    set: Several = None,
    variation: str | None = None,
    profile: str | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "none",
    report: str = "",
    seed: int = 0,
    jobs: int = 1,
    executor: ExecutorName | None = None,
    experiment: str = "",
    name: str = "",
) -> None:
    """Search for a pipeline's best parameters. The same command goes on with a search that was interrupted.

    Args:
        pipeline: ``path.py:name``, ``module:name``, ``folder:name`` or ``name``; without it, the pipeline of the project's only model.
        trials: how many.
        space: what may vary, as ``depth=int(2,10)``, ``lr=log(1e-4,1e-1)``, ``kind=choice(a,b)``; may be given several times.
        maximize: metric to make as large as possible; with several objectives the trade-offs between them are searched for.
        minimize: metric to make as small as possible.
        constraint: what a trial must keep to count, as ``"memory_mb <= 500"``.
        set: a parameter that all trials share, as ``name=value``.
        variation: name of a declared set of parameters that all trials share.
        profile: name of a declared profile: settings and parameters.
        sampler: what proposes trials.
        pruner: what ends a trial early that does worse than others at the same step of a logged series.
        report: the series that the pruner looks at; the objective's unless given.
        seed: the same seed proposes the same trials.
        jobs: trials at the same time.
        executor: where steps run; the setting ``executor`` unless given.
        experiment: groups runs; the pipeline's name unless given.
        name: a name of the search for people.
    """
    wanted = asked(pipeline, Told(set=set, variation=[variation] if variation else None, profile=profile))
    if len(wanted.variations) > 1:
        raise InvalidInput("A search has one set of parameters.", "Search for each variation by itself.")
    how: dict[str, Any] = {"sampler": sampler, "pruner": pruner, "report": report, "seed": seed}
    goals, kept = read_objectives(maximize, minimize), tuple(map(read_constraint, constraint or ()))
    within = {parameter: str(one) for parameter, one in read_space(_pairs(space), wanted.params).items()}
    plan = SearchPlan(pipeline=wanted.ref, space=within, objectives=goals, constraints=kept, **how)
    chosen = chosen_executor(executor, wanted.project, wanted.profile)
    detail = _through(wanted, plan, trials, name, {"experiment": experiment, "executor": chosen, "jobs": jobs})
    counts = [trial.state for trial in detail.trials]
    said = ", ".join(f"{counts.count(state)} {state}" for state in ("finished", "pruned", "failed") if state in counts)
    say(f"{said}; best: {', '.join(map(str, detail.best)) or 'none'}.")
    print(detail.search.id)
    next_step(f"plimsoll search {'best' if detail.best else 'show'} {detail.search.id[:16]}")


def _through(wanted: Asked, plan: SearchPlan, trials: int, name: str, where: dict[str, Any]) -> SearchDetail:
    # Before a home is made for it: what cannot run must leave nothing behind.
    function = wanted.load()
    (settled,) = wanted.settled(function).values()
    check(function, plan, settled.params, trials=trials, jobs=where["jobs"])
    with door(create=True, profile=wanted.profile) as opened:
        place = Place(do=opened.do, blobs=opened.blobs, project=wanted.project, tags=settled.tags, **where)
        try:
            return search(function, plan, settled.params, place, trials=trials, name=name, on_trial=lambda trial: _tell(trial, plan))
        except PlimsollError as error:
            sys.stderr.write(error.details.get("traceback", ""))
            raise


@app.command(name="list")
def list_(*, limit: int = 20, form: Format = Format()) -> None:
    """List searches, newest first.

    Args:
        limit: at most so many, up to 1,000.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListSearches(limit=limit))
    rows = [
        {
            "id": Id(one.id),
            "name": one.name,
            "pipeline": one.plan.pipeline,
            "objectives": [f"{objective.direction} {objective.metric}" for objective in one.plan.objectives],
            "trials": one.trials,
            "state": one.state,
            "author": one.author,
            "created": when(one.created),
        }
        for one in found
    ]
    show_list(rows, form, "There are no searches yet. Begin one with: plimsoll search PIPELINE --trials 50 --space … --maximize …")


@app.command
def show(id: str, *, form: Format = Format()) -> None:
    """Print a search with its trials and its best ones.

    Args:
        id: the search's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        detail = opened.do(GetSearch(id=id))
    one, plan = detail.search, detail.search.plan
    if form.csv or form.md:
        show_list([_row(trial, detail) for trial in detail.trials], form, "It has no trials yet.")
        return
    lines = {
        "search": one.id,
        "name": one.name,
        "state": one.state,
        "author": one.author,
        "created": when(one.created),
        "pipeline": plan.pipeline,
        "space": plan.space,
        "objectives": [f"{objective.direction} {objective.metric}" for objective in plan.objectives],
        "constraints": [f"{constraint.metric} {constraint.operator} {constraint.bound:g}" for constraint in plan.constraints],
        "parameters": plan.params,
        "sampler": f"{plan.sampler}, seed {plan.seed}",
        "pruner": plan.pruner,
        "trials": f"{len(detail.trials)} of {one.trials}",
        "best": list(detail.best),
    }
    show_record(detail, form, lines)
    if not form.json:
        print()
        show_list([_row(trial, detail) for trial in detail.trials], form, "It has no trials yet.")


@app.command
def importances(id: str, *, form: Format = Format()) -> None:
    """Print each parameter's share of what made the trials of a search good, largest first.

    Args:
        id: the search's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        shares = shares_of(opened.do(GetSearch(id=id)))
    rows = [{"parameter": name, "importance": share} for name, share in shares.items()]
    show_list(rows, form, "Too few trials have a value to say what mattered.")


@app.command
def best(id: str, *, trial: int | None = None, register: Annotated[bool, Parameter(negative=())] = False, form: Format = Format()) -> None:
    """Print the best trials of a search; with ``--register`` make the winner's model a version.

    Args:
        id: the search's id, or the beginning of it.
        trial: number of another trial that is meant; with several objectives it says which of the best ones.
        register: number the model that the trial's run has made; a version that it is already stays.
        form: how to print.
    """
    with door() as opened:
        detail = opened.do(GetSearch(id=id))
        if not register:
            meant = [one for one in detail.trials if one.number in detail.best] if trial is None else [winner(detail, trial)]
            show_list([_row(one, detail) for one in meant], form, "No trial has a value that keeps the constraints.")
            made = () if not meant or form.json or meant[0].run_id is None else opened.do(GetRun(id=meant[0].run_id)).artifacts
            if any(artifact.kind == "model" for artifact in made):
                next_step(f"plimsoll search best {detail.search.id[:16]} --register")
            return
        versions = number(winner(detail, trial), opened.do, opened.blobs)
    rows = [
        {"version": f"{version.model}/{version.number}", "run": Id(version.run_id), "digest": version.digest[:12]} for version in versions
    ]
    show_list(rows, form, "")
    if not form.json:
        next_step(f"plimsoll checks run {versions[0].model}/{versions[0].number}")


def _row(trial: Trial, detail: SearchDetail) -> dict[str, Any]:
    plan = detail.search.plan
    values = trial.values or (None,) * len(plan.objectives)
    kept = all(over <= 0 for over in trial.violations)
    return {
        "trial": trial.number,
        "state": trial.state if kept else f"{trial.state}, breaks a constraint",
        **{objective.metric: value for objective, value in zip(plan.objectives, values, strict=True)},
        **{name: trial.params.get(name) for name in plan.space},
        "run": Id(trial.run_id or ""),
        "why": trial.error or ("best" if trial.number in detail.best else ""),
    }


def _tell(trial: Trial, plan: SearchPlan) -> None:
    values = ", ".join(f"{goal.metric} {value:.6g}" for goal, value in zip(plan.objectives, trial.values or (), strict=False))
    params = ", ".join(f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in trial.params.items())
    say(f"  trial {trial.number:<4} {trial.state:<8} {values or trial.error}  {params}")


def _pairs(written: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in written:
        name, sign, text = pair.partition("=")
        if not sign or not name.strip().isidentifier():
            raise InvalidInput(f"{pair!r} does not say what may vary.", 'Write --space "depth=int(2,10)"')
        if name.strip() in found:
            raise InvalidInput(f"What {name.strip()} may be is said twice.", "Give each parameter one --space.")
        found[name.strip()] = text
    return found
