"""``plimsoll releases`` and ``plimsoll approve``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, Id, next_step, say, show_list, show_record, when
from plimsoll.cli.session import door, project_folder
from plimsoll.data.project import read_project
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    GetRelease,
    ListApprovals,
    ListReleases,
    RejectRelease,
    ServingConfig,
    StartRollout,
)
from plimsoll.records.model import GetVersion

app = App(name="releases")


@app.command(name="list")
def list_(*, environment: str | None = None, model: str | None = None, limit: int = 20, form: Format = Format()) -> None:
    """List releases, newest first.

    Args:
        environment: only of this one.
        model: only of this one.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListReleases(environment=environment, model=model, limit=limit))
    rows = [
        {
            "id": Id(release.id),
            "environment": release.environment,
            "version": f"{release.model}/{release.number}",
            "state": release.state,
            "author": release.author,
            "proposer": release.proposer,
            "created": when(release.created),
            "reason": release.reason,
        }
        for release in found
    ]
    show_list(rows, form, "There are no releases yet. Propose one with: plimsoll releases create MODEL")


@app.command
def create(ref: str, *, environment: str = "production", form: Format = Format()) -> None:
    """Propose a version that passed its checks.

    Args:
        ref: ``name/3``, ``name`` for the newest, or a digest.
        environment: where it shall live.
        form: how to print.
    """
    project = project_folder()
    declared = read_project(project).serving if project is not None else {}
    with door() as opened:
        version = opened.do(GetVersion(ref=ref))
        config = declared.get(version.model, ServingConfig())
        release = opened.do(CreateRelease(ref=version.digest, environment=environment, config=config))
    show_record(release, form, {"release": release.id, "state": release.state, "reason": release.reason, "digest": release.digest})
    if release.state == "proposed" and not form.json:
        next_step(f"plimsoll approve {release.id[:16]}   (by somebody other than {release.author})")


@app.command
def show(id: str, *, form: Format = Format()) -> None:
    """Print a release and who said yes.

    Args:
        id: the release's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        release = opened.do(GetRelease(id=id))
        approvals = opened.do(ListApprovals(release_id=release.id))
    lines = {
        "release": release.id,
        "environment": release.environment,
        "version": f"{release.model}/{release.number}",
        "package": release.package,
        "config": {name: getattr(release.config, name) for name in ("batch_rows", "queue", "deadline_ms", "threads", "fallback")},
        "digest": release.digest,
        "author": release.author,
        "proposer": release.proposer,
        "state": release.state,
        "reason": release.reason,
        "approvals": [f"{given.actor} at {when(given.created)}: {given.note}" for given in approvals],
    }
    show_record({"release": release, "approvals": approvals}, form, lines)


@app.command
def reject(id: str, *, reason: str) -> None:
    """Say no to a release that is not rolled out yet.

    Args:
        id: the release's id, or the beginning of it.
        reason: why; it is kept.
    """
    with door() as opened:
        release = opened.do(RejectRelease(id=id, reason=reason))
    say(f"{release.id[:16]} is rejected.")


@app.command
def roll(id: str) -> None:
    """Begin to roll an approved release out now; the worker of a running server does it by itself.

    Args:
        id: the release's id, or the beginning of it.
    """
    with door() as opened:
        release = opened.do(GetRelease(id=id))
        deployment = opened.do(StartRollout(release_id=release.id))
    say(f"{deployment.model} in {deployment.environment} is at generation {deployment.generation}.")
    next_step(f"plimsoll deployments show {deployment.model}")


def approve(id: str, *, digest: str | None = None, note: str = "") -> None:
    """Say yes to a release that somebody else made; the worker then rolls it out.

    Args:
        id: the release's id, or the beginning of it.
        digest: the digest you looked at; without it the release is printed and its present digest is approved.
        note: why; it is kept.
    """
    with door() as opened:
        release = opened.do(GetRelease(id=id))
        if digest is None:
            say(f"{release.model}/{release.number} into {release.environment}, made by {release.author}, digest {release.digest}")
        release = opened.do(ApproveRelease(id=release.id, digest=digest or release.digest, note=note))
    say(f"{release.id[:16]} is {release.state}. {release.reason}")
    next_step(f"plimsoll deployments show {release.model}")
