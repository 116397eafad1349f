"""Data that a run says it read, known by name and digest; a snapshot is data that is kept."""

from __future__ import annotations

from dataclasses import field

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request

#: A dataset's schema or profile has at most so many characters, as MLflow has it.
LONGEST_DESCRIPTION = 16_777_215


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Data that a run says it read, known by name and digest; a snapshot is data that is kept."""

    #: Its name.
    name: str
    #: What tells its states apart, as the client computed it.
    digest: str
    #: What kind of place it is from, such as ``local`` or ``http``.
    source_type: str
    #: Where it is from, as the client described it.
    source: str
    #: Its columns, as the client described them.
    schema: str | None = None
    #: Its numbers, as the client described them.
    profile: str | None = None

    def __post_init__(self) -> None:
        for what, value in (("name", self.name), ("digest", self.digest)):
            if not value or len(value) > 500:
                raise InvalidInput(f"A dataset's {what} has {len(value)} characters.", "Use 1 to 500 characters.")
        for described in (self.schema, self.profile):
            if described is not None and len(described) > LONGEST_DESCRIPTION:
                raise InvalidInput("A dataset's schema or profile is too long.", f"Use at most {LONGEST_DESCRIPTION:,} characters.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUse:
    """A dataset as one run read it."""

    #: The dataset.
    dataset: Dataset
    #: Tags of the use, such as ``mlflow.data.context``.
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDataset:
    """A dataset that runs of an experiment read, and what for."""

    #: The experiment's id.
    experiment_id: str
    #: The dataset's name.
    name: str
    #: What tells its states apart.
    digest: str
    #: What it was for, such as ``training``; None where nobody said.
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReadDatasets(Request[tuple[ReadDataset, ...]]):
    """Return the datasets that the runs of experiments read, each once for whatever it was for; at most 1,000, by name."""

    #: Ids of the experiments, at most 100.
    experiments: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.experiments) > 100:
            raise InvalidInput(f"{len(self.experiments):,} experiments are too many.", "Name at most 100.")
