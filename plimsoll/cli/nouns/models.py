"""``plimsoll models``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, next_step, say, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.model import GetLineage, GetVersion, ListVersions, PackageMeta, TrustPackage

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
            "run": version.run_id[:16],
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
    if version.meta is not None and lineage.report is None and not form.json:
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
    next_step(f"plimsoll checks run {version.model}/{version.number}")
