"""Every error Plimsoll raises: a stable code, a fact, and what to do about it.

The same class is raised in process and through HTTP: :func:`to_wire` and :func:`from_wire` carry an error
whole, so a caller's ``except NotFound`` works whichever door the request took.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PlimsollError(Exception):
    """Root of the tree: something that Plimsoll refused or could not do.

    Args:
        fact: what happened, with the offending value, in one sentence.
        remedy: what to do about it, ideally a command. May be empty when nothing helps.
        details: JSON-able values for programs (field names, counts), never secrets.
    """

    #: Stable name on the wire; never reused for another meaning.
    code: ClassVar[str] = "error"
    #: HTTP status of this error at the server's edge.
    status: ClassVar[int] = 500
    #: Exit code of the command line (0 ok, 1 failure, 2 usage, 3 a check failed, 4 not found, 5 unreachable).
    exit_code: ClassVar[int] = 1

    def __init__(self, fact: str, remedy: str = "", **details: Any) -> None:
        self.fact = fact
        self.remedy = remedy
        self.details = details
        super().__init__(f"{fact} {remedy}".strip())


class InvalidInput(PlimsollError, ValueError):
    """The request itself is wrong: a field, a name, a shape or a type."""

    code, status, exit_code = "invalid_input", 400, 2


class TooLarge(InvalidInput):
    """The request has more bytes than this door takes."""

    code, status = "too_large", 413


class UnsupportedMedia(InvalidInput):
    """The body is of a media type or encoding that this door does not read."""

    code, status = "unsupported_media", 415


class Unauthenticated(PlimsollError):
    """The caller did not say who they are, or the token is not known here."""

    code, status = "unauthenticated", 401


class Denied(PlimsollError, PermissionError):
    """The caller is known but lacks the role that the verb's row asks for."""

    code, status = "denied", 403


class Refused(PlimsollError):
    """A rule of the project says no: a failed check, a missing approval, an author approving their own work."""

    code, status, exit_code = "refused", 409, 3


class NotFound(PlimsollError, LookupError):
    """The named thing does not exist here."""

    code, status, exit_code = "not_found", 404, 4


class Conflict(PlimsollError):
    """The state of the thing does not allow this now: it exists already, has ended, or has moved on."""

    code, status = "conflict", 409


class Unfingerprintable(PlimsollError, TypeError):
    """A value or a piece of code that Plimsoll cannot see whole; it is refused rather than guessed."""

    code, status = "unfingerprintable", 400


class Untrusted(PlimsollError):
    """A model file wants to run code, or use a class, that nobody has granted for this digest."""

    code, status, exit_code = "untrusted", 403, 3


class StepFailed(PlimsollError):
    """A pipeline's step raised, was killed, or ran out of its time or memory."""

    code, status = "step_failed", 500


class PredictionFailed(PlimsollError):
    """A model raised, or gave an answer that is none: a wrong length, NaN or an infinity."""

    code, status = "prediction_failed", 500


class Corrupt(PlimsollError):
    """Stored bytes do not match their digest, or a chain of records is broken."""

    code, status = "corrupt", 500


class Damaged(PlimsollError):
    """What arrived is not what was sent; it was not kept."""

    code, status = "damaged", 400


class StorageFull(PlimsollError, OSError):
    """The disk or database has no room; nothing was written."""

    code, status = "storage_full", 507

    def __str__(self) -> str:
        return f"{self.fact} {self.remedy}".strip()


class NewerDatabase(PlimsollError):
    """The database was written by a newer Plimsoll than this one; it is not touched."""

    code, status = "newer_database", 500


class MissingExtra(PlimsollError, ImportError):
    """An optional package is needed; the remedy names the extra that brings it."""

    code, status = "missing_extra", 501

    def __str__(self) -> str:
        return f"{self.fact} {self.remedy}".strip()


class Overloaded(PlimsollError):
    """The server is full; try again after ``details['retry_after']`` seconds."""

    code, status = "overloaded", 429


class Unavailable(PlimsollError):
    """Nothing can answer this now (no replica is ready, or a kill switch without a fallback is on)."""

    code, status = "unavailable", 503


class DeadlineExceeded(PlimsollError, TimeoutError):
    """The answer would come after the caller's deadline, so the work was not done."""

    code, status = "deadline_exceeded", 504

    def __str__(self) -> str:
        return f"{self.fact} {self.remedy}".strip()


class Unreachable(PlimsollError, ConnectionError):
    """The server at the given address does not answer."""

    code, status, exit_code = "unreachable", 503, 5

    def __str__(self) -> str:
        return f"{self.fact} {self.remedy}".strip()


class Misdirected(Unreachable):
    """A server answers, but is not the one that the address names; what was asked may be sent to that one."""

    code, status = "misdirected", 421


class Internal(PlimsollError):
    """A defect of Plimsoll itself. The details carry an id to look up in the server's log."""

    code = "internal"


#: Refusals that would be the same another time; every other error may pass, and the same request may be tried again.
FINAL: tuple[type[PlimsollError], ...] = (NotFound, Conflict, InvalidInput, Denied, Unauthenticated)


def _tree(cls: type[PlimsollError]) -> dict[str, type[PlimsollError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


def to_wire(error: PlimsollError) -> dict[str, Any]:
    """Return ``error`` as a JSON-able dict with the keys ``code``, ``fact``, ``remedy`` and ``details``.

    Args:
        error: the error to carry.
    """
    return {"code": error.code, "fact": error.fact, "remedy": error.remedy, "details": error.details}


def from_wire(wire: dict[str, Any]) -> PlimsollError:
    """Return the error that :func:`to_wire` described, as its own class.

    Args:
        wire: a dict made by :func:`to_wire`; an unknown code (a newer peer) becomes :class:`PlimsollError`.
    """
    cls = _tree(PlimsollError).get(wire.get("code", ""), PlimsollError)
    error = cls(wire.get("fact", "The server failed without saying why."), wire.get("remedy", ""))
    # Not as keywords: a newer peer's detail may be called like a parameter.
    error.details = wire.get("details", {})
    return error
