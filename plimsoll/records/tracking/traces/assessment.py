"""What somebody thinks of a request trace, or expects of it: feedback of people, of judging models and of code."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request
from plimsoll.records.tracking.experiment import check_tags

#: Feedback tells how well the program did; an expectation, what the right answer is; an issue, the name of a known problem.
AssessmentKind = Literal["feedback", "expectation", "issue"]

#: Who says so: a person, a judging model, or code.
AssessmentSource = Literal["person", "judge", "code", "unknown"]

_ID = re.compile(r"[\w-]{1,64}")
_LONGEST_NAME = 250
_LONGEST_TEXT = 65_536


def _check_length(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise InvalidInput(f"{what} of an assessment has {len(text):,} characters; {longest:,} are allowed.", "Write less.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{what} of an assessment holds half a character.", "Send valid Unicode text.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentError:
    """Why there is no value."""

    #: Such as ``RATE_LIMIT_EXCEEDED``.
    code: str
    #: What happened; may be empty.
    message: str = ""
    #: The client's own trace of it; may be empty.
    stack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an assessment says."""

    #: Any JSON.
    value: Json = None
    #: Why there is no value, or None.
    error: AssessmentError | None = None

    def __post_init__(self) -> None:
        try:
            text = codec.to_json(self.value).decode()
            same = codec.from_json(text.encode(), object) == self.value
        except (ValueError, TypeError, RecursionError):
            same, text = False, ""
        if not same:
            raise InvalidInput("The value of an assessment is none that JSON carries.", "Send text, finite numbers, lists and objects.")
        _check_length("The value", text, _LONGEST_TEXT)
        if self.error is not None:
            _check_length("The error", self.error.code + self.error.message + self.error.stack, _LONGEST_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One judgment about a request trace, or about a span of it."""

    #: Id of the trace.
    trace_id: str
    #: What is judged, such as ``relevance``; several may have one name.
    name: str
    #: What it is.
    kind: AssessmentKind
    #: What it says; of an issue, the text that describes it.
    said: Said
    #: Within its trace; empty until it is kept, then made of what it says, so that the same sent twice is one.
    id: str = ""
    #: Who says so.
    source: AssessmentSource = "unknown"
    #: Which of them, such as a name or a model; may be empty.
    source_id: str = ""
    #: Why; may be empty.
    rationale: str = ""
    #: Id of the span that it is about; empty for the whole trace.
    span_id: str = ""
    #: What the client noted, by name; with ``mlflow.trace.session`` it is about the whole session of its trace, and found at all of it.
    metadata: dict[str, str] = field(default_factory=dict)
    #: Id of the assessment that it stands for from now on; may be empty.
    overrides: str = ""
    #: Whether it counts: no other one overrides it.
    valid: bool = True
    #: UTC microseconds of its beginning, and of its last change.
    created: int = 0
    updated: int = 0

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > _LONGEST_NAME:
            raise InvalidInput(f"{self.name[:80]!r} is no name of an assessment.", f"Use 1 to {_LONGEST_NAME} characters.")
        _check_length("The name", self.name, _LONGEST_NAME)
        for id in (self.id, self.overrides, self.span_id):
            if id and not _ID.fullmatch(id):
                raise InvalidInput(f"{id[:80]!r} is no id.", "Use 1 to 64 letters, digits, _ and -.")
        _check_length("The rationale", self.rationale, _LONGEST_TEXT)
        _check_length("The source", self.source_id, _LONGEST_NAME)
        check_tags(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAssessment(Request[Assessment]):
    """Keep an assessment of a trace. The one that it overrides does not count any more, and stays."""

    #: The assessment.
    assessment: Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAssessment(Request[Assessment]):
    """Return an assessment."""

    #: Id of the trace.
    trace_id: str
    #: Its id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAssessment(Request[Assessment]):
    """Change an assessment; what is None stays."""

    #: Id of the trace.
    trace_id: str
    #: Its id.
    id: str
    #: What it must be, or ``InvalidInput``; None takes any.
    kind: AssessmentKind | None = None
    #: The new name.
    name: str | None = None
    #: What it says from now on.
    said: Said | None = None
    #: Why.
    rationale: str | None = None
    #: To add or replace, by name.
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAssessment(Request[Assessment]):
    """Forget an assessment for good and return it; the one that it overrode counts again."""

    #: Id of the trace.
    trace_id: str
    #: Its id.
    id: str
