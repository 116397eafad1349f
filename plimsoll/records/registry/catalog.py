"""The registry as a catalogue: registered names, their versions, and what people and programs note about both."""

from __future__ import annotations

import re
from dataclasses import field

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.model import Stage, Version
from plimsoll.records.request import Request, check_key

#: A tag's value has at most so many characters, as MLflow has it.
LONGEST_TAG = 100_000

_ALIAS = re.compile(r"[\w-]{1,255}")
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)


def check_model(name: str) -> None:
    """Refuse a registered name that could not stand before a number or an alias.

    Args:
        name: 1 to 250 characters, none of them ``/``, ``:`` or ``@``, and no blank at its ends.

    Raises:
        InvalidInput: it is something else.
    """
    if not 1 <= len(name) <= 250 or name != name.strip() or name in (".", "..") or re.search(r"[/:@\x00-\x1f\x7f]", name):
        raise InvalidInput(f"Model {name[:80]!r} is not a valid name.", "Use 1 to 250 characters, none of them / : or @.")


def check_alias(alias: str) -> None:
    """Refuse an alias that could be taken for something else.

    Args:
        alias: 1 to 255 letters, digits, ``_`` and ``-``; neither ``latest`` nor ``v`` and a number.

    Raises:
        InvalidInput: it is something else.
    """
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(f"Alias {alias[:80]!r} is not a valid name.", "Use 1 to 255 letters, digits, _ and -.")
    if _RESERVED.fullmatch(alias):
        raise InvalidInput(f"The alias {alias!r} is reserved.", "Use a word that is neither 'latest' nor 'v' and a number.")


def check_notes(tags: dict[str, str]) -> None:
    """Refuse tags that could not be found again.

    Args:
        tags: values by name.

    Raises:
        InvalidInput: a name is not valid, or a value is longer than ``LONGEST_TAG``.
    """
    for name, value in tags.items():
        check_key("Tag", name)
        if len(value) > LONGEST_TAG:
            raise InvalidInput(
                f"The value of the tag {name!r} has {len(value):,} characters; {LONGEST_TAG:,} are allowed.", "Keep long text as a file."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A registered name with what is noted about it."""

    #: The name.
    name: str
    #: For people.
    description: str
    #: Tags by name.
    tags: dict[str, str]
    #: Number of the version that each alias points to.
    aliases: dict[str, int]
    #: The newest version of each stage.
    latest: tuple[Version, ...]
    #: UTC microseconds.
    created: int
    #: UTC microseconds of the last change of name, description or versions.
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateModel(Request[RegisteredModel]):
    """Register a name without a version; one that is taken is ``Conflict``."""

    #: 1 to 250 characters, none of them ``/``, ``:`` or ``@``.
    name: str
    #: For people.
    description: str = ""
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: When it was registered elsewhere, in UTC microseconds; None is now.
    created: int | None = None

    def __post_init__(self) -> None:
        check_model(self.name)
        check_notes(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetModel(Request[RegisteredModel]):
    """Return a registered model."""

    #: Its name.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeModel(Request[RegisteredModel]):
    """Replace a registered model's description."""

    #: Its name.
    name: str
    #: For people.
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameModel(Request[RegisteredModel]):
    """Give a registered model another name. One with packages is ``Refused``, for their files say its name."""

    #: Its name.
    name: str
    #: 1 to 250 characters, none of them ``/``, ``:`` or ``@``.
    to: str

    def __post_init__(self) -> None:
        check_model(self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteModel(Request[RegisteredModel]):
    """Forget a registered name with all of its versions, and return it as it was. One that was ever released is ``Refused``."""

    #: Its name.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagModel(Request[RegisteredModel]):
    """Add, replace and remove tags of a registered model; one that is to go and is not there is left out."""

    #: Its name.
    name: str
    #: To add or replace, by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Names to remove.
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_notes(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias(Request[RegisteredModel]):
    """Let an alias name a version. The name of an environment is moved by releases once the model has a package: ``Refused``."""

    #: Registered name.
    model: str
    #: The alias.
    alias: str
    #: Version number.
    number: int

    def __post_init__(self) -> None:
        check_alias(self.alias)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAlias(Request[RegisteredModel]):
    """Forget an alias; one that is not there changes nothing."""

    #: Registered name.
    model: str
    #: The alias.
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    """Some of the registered models that a search found, in its order."""

    #: The models.
    models: tuple[RegisteredModel, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchModels(Request[ModelPage]):
    """Return a page of the registered models that a filter lets through."""

    #: The filter, such as ``name LIKE 'late%' and tags.team = 'x'``; empty lets all through.
    where: str = ""
    #: What orders them: ``name`` or ``last_updated_timestamp``, with ``DESC`` or ``ASC``; ties go by name.
    order: tuple[str, ...] = ()
    #: At most so many, up to 1,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 1000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 1,000 models.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptFiles(Request[Version]):
    """Number files that are no package of ours, such as the folder that MLflow's ``log_model`` wrote; each time is a new version."""

    #: Registered name; it must be there.
    model: str
    #: Id of the run or of the logged model that keeps the files; empty takes those of a version.
    owner: str = ""
    #: The version whose files are taken when no owner is given, as in ``GetVersion``.
    ref: str = ""
    #: Folder among the owner's files; empty takes all of them. Where a run has no such folder, its last logged model of that name counts.
    path: str = ""
    #: Where its client says that the files are; shown, never followed.
    source: str = ""
    #: For people.
    description: str = ""
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: The number that it had elsewhere, above every one that the name has given; None is the next.
    number: int | None = None
    #: When it was registered elsewhere, in UTC microseconds; None is now.
    created: int | None = None

    def __post_init__(self) -> None:
        check_notes(self.tags)
        if self.number is not None and not 1 <= self.number < 2**31:
            raise InvalidInput(f"{self.number} is no number of a version.", "Use a number from 1, or none for the next.")
        if bool(self.owner) == bool(self.ref):
            raise InvalidInput("Files are adopted from an owner or from a version.", "Give exactly one of owner and ref.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateVersion(Request[Version]):
    """Change what is noted about a version; its files never change."""

    #: Registered name.
    model: str
    #: Version number.
    number: int
    #: The new description; None leaves it.
    description: str | None = None
    #: The new stage; None leaves it.
    stage: Stage | None = None
    #: Whether other versions in that stage become ``archived``.
    archive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TagVersion(Request[Version]):
    """Add, replace and remove tags of a version; one that is to go and is not there is left out."""

    #: Registered name.
    model: str
    #: Version number.
    number: int
    #: To add or replace, by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Names to remove.
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_notes(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVersion(Request[Version]):
    """Forget a version, and return it as it was; its number is not given again. One that was ever released is ``Refused``."""

    #: Registered name.
    model: str
    #: Version number.
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage:
    """Some of the versions that a search found, in its order."""

    #: The versions.
    versions: tuple[Version, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchVersions(Request[VersionPage]):
    """Return a page of the versions that a filter lets through."""

    #: The filter, such as ``name = 'late' and tags.team = 'x'``; empty lets all through.
    where: str = ""
    #: What orders them, such as ``version_number DESC``; without any the one changed last comes first.
    order: tuple[str, ...] = ()
    #: At most so many, up to 200,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 200_000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 200,000 versions.")
