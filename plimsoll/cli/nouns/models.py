"""``plimsoll models``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, Id, next_step, say, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.model import GetLineage, GetVersion, ListVersions, PackageMeta, TrustPackage
from plimsoll.records.registry.catalog import DeleteVersion, RemoveAlias, RenameModel, SetAlias, TagVersion
from plimsoll.records.registry.packing import PackVersion

app = App(name="models")


@app.command(name="list")
def list_(model: str | None = None, *, limit: int = 20, form: Format = Format()) -> None:
    """List versions, newest first.

    Args:
        model: only versions of this model.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListVersions(model=model, limit=limit))
    rows = [
        {
            "version": f"{version.model}/{version.number}",
            "aliases": version.aliases,
            "digest": version.digest[:12],
            "run": Id(version.run_id),
            "author": version.author,
            "created": when(version.created),
        }
        for version in found
    ]
    show_list(rows, form, "There are no models yet. A pipeline whose step returns plimsoll.Model makes one.")


@app.command
def show(ref: str, *, form: Format = Format()) -> None:
    """Print a version with everything that is tied to it.

    Args:
        ref: ``name/3``, ``name@production``, ``name`` for the newest, or a digest.
        form: how to print.
    """
    with door() as opened:
        lineage = opened.do(GetLineage(ref=ref))
    version, run = lineage.version, lineage.run
    lines: dict[str, object] = {
        "version": f"{version.model}/{version.number}",
        "aliases": version.aliases,
        "digest": version.digest,
        "author": version.author,
        "created": when(version.created),
        "description": version.description,
        "tags": version.tags,
        **(_package(version.meta) if version.meta is not None else {"files": f"no package of Plimsoll, but {version.source}"}),
    }
    if run is not None:
        lines |= {
            "run": f"{run.id} {run.experiment}/{run.name} by {run.author}",
            "params": run.params,
            "cause": f"{run.cause.kind} {run.cause.id}".strip(),
            "commit": run.code.commit,
            "dirty diff": run.code.dirty_diff,
            "environment": run.environment,
        }
    if version.meta is not None:
        lines |= {
            "data": {role: f"{found.name} {found.digest} {found.rows} rows" for role, found in lineage.data.items()},
            "checks": {verdict.check: f"{verdict.outcome}: {verdict.reason}" for verdict in lineage.report.verdicts}
            if lineage.report
            else "never examined",
            "code trusted by": [f"{grant.actor}: {grant.reason}" for grant in lineage.grants],
        }
    show_record(lineage, form, lines)
    if version.meta is None and not form.json:
        next_step(f"plimsoll models pack {version.model}/{version.number}")
    elif lineage.report is None and not form.json:
        next_step(f"plimsoll checks run {version.model}/{version.number}")


def _package(meta: PackageMeta) -> dict[str, object]:
    return {
        "goal": meta.purpose.goal,
        "estimator": meta.estimator,
        "features": meta.features,
        "inputs": {column.name: column.dtype for column in meta.signature.inputs},
        "output": f"{meta.signature.output.name} {meta.signature.output.dtype}",
        "requirements": meta.requirements,
    }


@app.command
def trust(ref: str, *, reason: str) -> None:
    """Allow the code inside a package to run.

    Args:
        ref: the version.
        reason: why; it is kept.
    """
    with door() as opened:
        version = opened.do(GetVersion(ref=ref))
        opened.do(TrustPackage(digest=version.digest, reason=reason))
    say(f"The code of {version.model}/{version.number} ({version.digest[:12]}) may run.")
    next_step(f"plimsoll {'models pack' if version.meta is None else 'checks run'} {version.model}/{version.number}")


@app.command
def pack(ref: str, *, training: str = "", holdout: str = "") -> None:
    """Make a package of a model that MLflow wrote: a further version, to be checked, released and served.

    scikit-learn's, xgboost's and LightGBM's models are read as data where their files are data; anything else runs MLflow's loader, once a
    person has trusted the version.

    Args:
        ref: the version that MLflow wrote.
        training: name of the dataset that it was fitted to, with the label, or a snapshot's digest.
        holdout: the same of the rows that it never saw.
    """
    with door() as opened:
        made = opened.do(PackVersion(ref=ref, training=training, holdout=holdout))
    say(f"{ref} is packed as {made.model}/{made.number} ({made.digest[:12]}).")
    next_step(f"plimsoll checks run {made.model}/{made.number}")


@app.command
def alias(ref: str, name: str, *, remove: bool = False) -> None:
    """Let an alias name a version, or take it away.

    Args:
        ref: the version, such as ``late/3``.
        name: the alias.
        remove: take it from the version's model instead.
    """
    with door() as opened:
        version = opened.do(GetVersion(ref=ref))
        if remove:
            opened.do(RemoveAlias(model=version.model, alias=name))
        else:
            opened.do(SetAlias(model=version.model, alias=name, number=version.number))
    say(f"{version.model}@{name} is no more." if remove else f"{version.model}@{name} is {version.model}/{version.number}.")


@app.command
def tag(ref: str, *tags: str) -> None:
    """Add or replace tags of a version; one without a value is removed.

    Args:
        ref: the version.
        tags: ``team=blue``, or ``team`` to remove it.
    """
    given = dict(each.split("=", 1) for each in tags if "=" in each)
    gone = tuple(each for each in tags if "=" not in each)
    with door() as opened:
        version = opened.do(GetVersion(ref=ref))
        changed = opened.do(TagVersion(model=version.model, number=version.number, tags=given, remove=gone))
    told = ", ".join(f"{name}={value}" for name, value in changed.tags.items()) or "none"
    say(f"{changed.model}/{changed.number} has the tags: {told}.")


@app.command
def rename(name: str, to: str) -> None:
    """Rename a model that has no packages and was never released.

    Args:
        name: registered name.
        to: the new one.
    """
    with door() as opened:
        opened.do(RenameModel(name=name, to=to))
    say(f"{name} is {to} now.")


@app.command
def delete(ref: str) -> None:
    """Forget a version that was never proposed for a release.

    Args:
        ref: the version, such as ``late/3``.
    """
    with door() as opened:
        version = opened.do(GetVersion(ref=ref))
        opened.do(DeleteVersion(model=version.model, number=version.number))
    say(f"{version.model}/{version.number} is deleted; its number is not given again.")
