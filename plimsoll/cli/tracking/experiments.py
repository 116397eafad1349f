"""``plimsoll experiments``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, say, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.errors import NotFound
from plimsoll.records.tracking.experiment import (
    DeleteExperiment,
    Experiment,
    GetExperiment,
    ListExperiments,
    RenameExperiment,
    RestoreExperiment,
)
from plimsoll.sdk.door import Door

app = App(name="experiments")


@app.command(name="list")
def list_(*, deleted: bool = False, form: Format = Format()) -> None:
    """List experiments, the one changed last first.

    Args:
        deleted: also those that are deleted.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListExperiments(deleted=deleted))
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "created": when(each.created),
            "changed": when(each.updated),
            **({"deleted": "" if each.deleted is None else when(each.deleted)} if deleted else {}),
        }
        for each in found
    ]
    show_list(rows, form, "There are no experiments yet. Start a run with: plimsoll run PIPELINE")


@app.command
def show(experiment: str, *, form: Format = Format()) -> None:
    """Print one experiment.

    Args:
        experiment: its name or its id.
        form: how to print.
    """
    with door() as opened:
        found = _one(opened, experiment)
    lines = {
        "experiment": found.name,
        "id": found.id,
        "created": when(found.created),
        "changed": when(found.updated),
        "deleted": None if found.deleted is None else when(found.deleted),
        "tags": found.tags,
    }
    show_record(found, form, lines)


@app.command
def rename(experiment: str, name: str) -> None:
    """Give an experiment another name; its runs stay in it.

    Args:
        experiment: its name or its id.
        name: the new name.
    """
    with door() as opened:
        old = _one(opened, experiment)
        opened.do(RenameExperiment(id=old.id, name=name))
    say(f"The experiment {old.name!r} is {name!r} now.")


@app.command
def delete(experiment: str) -> None:
    """Put an experiment and its runs out of sight; they can be restored until they are collected.

    Args:
        experiment: its name or its id.
    """
    with door() as opened:
        found = opened.do(DeleteExperiment(id=_one(opened, experiment).id))
    say(f"The experiment {found.name!r} is deleted. Take it back with: plimsoll experiments restore {found.id}")


@app.command
def restore(experiment: str) -> None:
    """Take the deletion of an experiment back, with the runs that went with it.

    Args:
        experiment: its name or its id.
    """
    with door() as opened:
        found = opened.do(RestoreExperiment(id=_one(opened, experiment).id))
    say(f"The experiment {found.name!r} is there again.")


def _one(opened: Door, experiment: str) -> Experiment:
    """Return the experiment of a name or, where none has it, of an id."""
    try:
        return opened.do(GetExperiment(name=experiment))
    except NotFound:
        try:
            return opened.do(GetExperiment(id=experiment))
        except NotFound:
            remedy = "List them with: plimsoll experiments list --deleted"
            raise NotFound(f"No experiment has the name or the id {experiment!r}.", remedy) from None
