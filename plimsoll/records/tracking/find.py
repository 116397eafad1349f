"""Finding runs."""

from __future__ import annotations

from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request
from plimsoll.records.run import ModelUse, RunDetail, RunState
from plimsoll.records.tracking.dataset import DatasetUse

#: Which records a search sees.
View = Literal["active", "deleted", "all"]

#: A metric's name, and its last point: value, step and UTC microseconds.
LastPoint = tuple[str, float, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Some of the runs that a search found, in its order."""

    #: The runs, without artifacts and inputs; with datasets and models where they were asked for.
    runs: tuple[RunDetail, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunText:
    """A run as a line of a page whose params and tags are text already: whoever hands them on need not read them."""

    #: The run's id.
    id: str
    #: Id of the experiment.
    experiment_id: str
    #: A name for people.
    name: str
    #: Where it stands.
    state: RunState
    #: Who MLflow's client says that he is, else who began it.
    user: str
    #: UTC microseconds.
    started: int
    #: UTC microseconds, or None while running.
    ended: int | None
    #: UTC microseconds, or None while it is in use.
    deleted: int | None
    #: JSON: a list, in no certain order, of objects with ``key`` and ``value``, a text, for each parameter.
    params: str
    #: The same of the tags, but for ``mlflow.runName``: the name is the run's own.
    tags: str
    #: One a metric, by name.
    metrics: tuple[LastPoint, ...] = ()
    #: Which data it says it read.
    datasets: tuple[DatasetUse, ...] = ()
    #: Which logged models it read or made.
    models: tuple[ModelUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPage:
    """Some of the runs that a search found, in its order."""

    #: The runs.
    runs: tuple[RunText, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRuns(Request[RunPage]):
    """Return a page of the runs that a filter lets through."""

    #: Ids of experiments; None is all of them.
    experiments: tuple[str, ...] | None = None
    #: The filter, such as ``metrics.auc > 0.8 and params.depth = '5'``; empty lets all through.
    where: str = ""
    #: What orders the runs, such as ``metrics.auc DESC``; ties, and all without any, go by start, newest first.
    order: tuple[str, ...] = ()
    #: Whether deleted runs are seen.
    view: View = "active"
    #: At most so many, up to 50,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None
    #: Names of the metrics that come back; None is all of them.
    metrics: tuple[str, ...] | None = None
    #: Names of the params that come back; None is all of them.
    params: tuple[str, ...] | None = None
    #: Names of the tags that come back; None is all of them.
    tags: tuple[str, ...] | None = None
    #: Whether the datasets and logged models that they read come back, and the models that they made.
    uses: bool = False

    def __post_init__(self) -> None:
        for names in (self.metrics, self.params, self.tags):
            if names is not None and len(names) > 1000:
                raise InvalidInput(f"{len(names):,} names are too many.", "Name at most 1,000 metrics, params or tags, or none for all.")
        if not 1 <= self.limit <= 50_000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 50,000 runs.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRunTexts(Request[TextPage]):
    """Return what ``SearchRuns`` finds, with params and tags as text; the tokens of its pages are the same."""

    #: Which runs. All of what they logged comes back.
    search: SearchRuns
