"""Packages made of models that MLflow wrote."""

from __future__ import annotations

from plimsoll.frozen import dataclass
from plimsoll.records.model import Version
from plimsoll.records.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class PackVersion(Request[Version]):
    """Make a package of a version that MLflow wrote, on the worker: a further version of the name, which can be checked and released.

    Pickled files are read only under a person's grant for the version. The package is the work of the run that made the model,
    so that run's author asks for it.
    """

    #: Reference as in :class:`plimsoll.records.model.GetVersion`.
    ref: str
    #: What the model was fitted to, with the label: a dataset's name for its newest snapshot, or a snapshot's digest; empty for none.
    training: str = ""
    #: What it never saw and is judged on: the same.
    holdout: str = ""
