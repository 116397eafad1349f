"""Logged models: the files of a model with the params and metrics that belong to them, before anybody gives them a name."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request, check_key
from plimsoll.records.run import Artifact, ModelUse, check_artifact
from plimsoll.records.tracking.experiment import check_tags

#: ``pending`` while its files come, then ``ready``, or ``failed`` when they did not.
LoggedModelState = Literal["pending", "ready", "failed"]

#: What a logged model's name must not have, since it stands in addresses and filters.
_UNFIT = frozenset("/:.%\"'")

#: Characters of a param's or a tag's value at most. Agents log their prompts as params, and MLflow's server sets no limit.
_LONGEST_VALUE = 100_000
_ID = re.compile(r"m-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetric:
    """What a run measured of a logged model last, on one dataset or on none that it named."""

    #: The logged model's id.
    model_id: str
    #: The run that measured it.
    run_id: str
    #: The metric's name.
    name: str
    #: Any double.
    value: float
    #: As the run counts.
    step: int
    #: UTC microseconds.
    time: int
    #: Name of the dataset; empty when none was named.
    dataset: str = ""
    #: Its digest; empty when none was named.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """The files of a model in the layout of its framework, with what is known of them."""

    #: ``m-`` and 32 hex digits.
    id: str
    #: Id of the experiment that it belongs to.
    experiment_id: str
    #: A name for people; not unique.
    name: str
    #: What kind of model it is, as its client calls it; may be empty.
    kind: str
    #: The run that made it; empty when none did.
    run_id: str
    #: Where it stands.
    state: LoggedModelState
    #: Name of the actor who began it.
    author: str
    #: Parameters by name.
    params: dict[str, str]
    #: Tags by name.
    tags: dict[str, str]
    #: What was measured last.
    metrics: tuple[ModelMetric, ...]
    #: UTC microseconds.
    created: int
    #: UTC microseconds of the last change of state, params or tags.
    updated: int
    #: UTC microseconds, or None while it is in use.
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLoggedModel(Request[LoggedModel]):
    """Begin a logged model; its files come next."""

    #: Id of an experiment that is in use.
    experiment_id: str
    #: A name for people; empty gives one made from the id.
    name: str = ""
    #: What kind of model it is.
    kind: str = ""
    #: The run that makes it; empty for none.
    run_id: str = ""
    #: Parameters by name.
    params: dict[str, str] = field(default_factory=dict)
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: The id that it had elsewhere; one that is there already is returned as it is. Empty gives a new one.
    id: str = ""
    #: When it was begun elsewhere, in UTC microseconds; None is now.
    created: int | None = None

    def __post_init__(self) -> None:
        if self.id and not _ID.fullmatch(self.id):
            raise InvalidInput(f"{self.id[:80]!r} is no id of a logged model.", "Use m- and 32 hex digits, or none for a new one.")
        if len(self.name) > 500 or any(char in _UNFIT or ord(char) < 32 for char in self.name):
            raise InvalidInput(
                f"{self.name[:80]!r} is no name of a logged model.", "Use at most 500 characters, none of them / : . % or a quote."
            )
        check_tags(self.tags, _LONGEST_VALUE)
        check_params(self.params)


def check_params(params: dict[str, str]) -> None:
    """Refuse parameters that could not be found again.

    Args:
        params: values by name.

    Raises:
        InvalidInput: a name is not valid, or a value is longer than 100,000 characters.
    """
    for name, value in params.items():
        check_key("Param", name)
        if len(value) > _LONGEST_VALUE:
            raise InvalidInput(
                f"The value of the param {name!r} has {len(value):,} characters; {_LONGEST_VALUE:,} are allowed.",
                "Keep long text among the model's files.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLoggedModel(Request[LoggedModel]):
    """Return a logged model by its id."""

    #: The id.
    id: str
    #: Whether one that is deleted is returned as well.
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishLoggedModel(Request[LoggedModel]):
    """Say whether a logged model's files are all there."""

    #: The logged model's id.
    id: str
    #: Where it stands from now on.
    state: LoggedModelState = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLoggedModel(Request[LoggedModel]):
    """Put a logged model out of sight. Versions that were made of it keep their files."""

    #: The logged model's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLoggedModel(Request[LoggedModel]):
    """Add, replace and remove tags of a logged model."""

    #: The logged model's id.
    id: str
    #: To add or replace, by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Names to remove; one that is not there is ``NotFound``.
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_tags(self.tags, _LONGEST_VALUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogModelParams(Request[LoggedModel]):
    """Add parameters to a logged model; one that is there with another value is ``InvalidInput``."""

    #: The logged model's id.
    id: str
    #: Values by name.
    params: dict[str, str]

    def __post_init__(self) -> None:
        check_params(self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogModelMetrics(Request[None]):
    """Note what runs measured of logged models; of each metric, run and dataset the last step counts."""

    #: What was measured; the logged models and runs must be there.
    metrics: tuple[ModelMetric, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkModels(Request[None]):
    """Record which logged models a run read or made; the same again changes nothing but the step."""

    #: The run's id.
    run_id: str
    #: The models.
    uses: tuple[ModelUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModelFiles(Request[tuple[Artifact, ...]]):
    """Return the files of a logged model, by name."""

    #: The logged model's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepModelFile(Request[Artifact]):
    """Attach stored bytes to a logged model; the same name replaces."""

    #: The logged model's id.
    id: str
    #: Path among its files, with ``/``.
    name: str
    #: Digest of the bytes.
    digest: str
    #: Bytes.
    size: int

    def __post_init__(self) -> None:
        check_artifact(self.name, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropModelFiles(Request[None]):
    """Take files from a logged model; names that are not there are left out."""

    #: The logged model's id.
    id: str
    #: Their names.
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModelPage:
    """Some of the logged models that a search found, in its order."""

    #: The models.
    models: tuple[LoggedModel, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """One thing that orders logged models."""

    #: An attribute such as ``created``, or ``metrics.`` and a name.
    by: str
    #: Whether the largest comes first. What has no value comes last either way.
    descending: bool = False
    #: Only metrics on a dataset of this name count; empty takes all.
    dataset: str = ""
    #: Only metrics on the dataset with this digest count; empty takes all.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDataset:
    """A dataset on which metrics count."""

    #: Its name.
    name: str
    #: Its digest; empty takes any.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLoggedModels(Request[LoggedModelPage]):
    """Return a page of the logged models that a filter lets through."""

    #: Ids of experiments.
    experiments: tuple[str, ...]
    #: The filter, such as ``metrics.auc > 0.8 and tags.team = 'x'``; empty lets all through.
    where: str = ""
    #: Only metrics on these datasets count in the filter, and a model needs one on any of them; empty takes all.
    datasets: tuple[OnDataset, ...] = ()
    #: What orders the models; ties, and all without any, go by their beginning, newest first.
    order: tuple[ModelOrder, ...] = ()
    #: At most so many, up to 50,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 50_000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 50,000 logged models.")
