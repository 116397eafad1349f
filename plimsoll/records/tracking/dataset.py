"""Data that a run says it read, known by name and digest; a snapshot is data that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from plimsoll.errors import InvalidInput

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
