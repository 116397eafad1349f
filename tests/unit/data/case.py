"""A project, and an edit of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """A project whose ``steps.run`` is a step, and an edit of it."""

    steps: str
    old: str = ""
    new: str = ""
    #: Other files.
    more: dict[str, str] = field(default_factory=dict)
    #: The file that is edited.
    file: str = "steps.py"
    #: Arguments of ``run``, evaluated in ``steps``.
    args: str = "3"
    #: Arguments after the edit, where they change.
    new_args: str | None = None
    #: Files that are there after the edit and not before, and files that are gone.
    added: dict[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    #: Environment variables.
    variables: dict[str, str] = field(default_factory=dict)
    new_variables: dict[str, str] | None = None
    #: Code that is run in the project's folder before each run, to make files that are no text.
    prepare: str = ""
    new_prepare: str | None = None
    #: What is right: the ``plain`` function, or the ``engine`` in an empty home where it settles what the function alone cannot.
    truth: str = "plain"

    def before(self) -> dict[str, str]:
        """Return the project as it was."""
        return {"steps.py": self.steps, **self.more}

    def after(self) -> dict[str, str]:
        """Return the project with its edit."""
        files = self.before()
        assert self.old in files[self.file], (self.old, self.file)
        edited = {**files, self.file: files[self.file].replace(self.old, self.new) if self.old else files[self.file], **self.added}
        return {name: text for name, text in edited.items() if name not in self.gone}


def edit(steps: str, old: str = "", new: str = "", more: dict[str, str] | None = None, file: str = "steps.py", **rest: Any) -> Case:
    """Return a case whose edit replaces text."""
    return Case(steps=steps, old=old, new=new, more=more or {}, file=file, **rest)
