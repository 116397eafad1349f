"""``plimsoll deployments``."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from plimsoll.cli.output import Format, next_step, say, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.deployment import (
    Deployment,
    GetDeployment,
    GetRelease,
    JudgeRollout,
    KillDeployment,
    ListDeployments,
    ReviveDeployment,
    RollBack,
)
from plimsoll.records.plane import ListPlanes
from plimsoll.sdk.door import Door

app = App(name="deployments")


def _named(opened: Door, release_id: str | None) -> str:
    if release_id is None:
        return "-"
    release = opened.do(GetRelease(id=release_id))
    return f"{release.model}/{release.number} (release {release.id[:16]})"


@app.command(name="list")
def list_(*, environment: str | None = None, form: Format = Format()) -> None:
    """List what is deployed.

    Args:
        environment: only there.
        form: how to print.
    """
    with door() as opened:
        rows = [
            {
                "model": found.model,
                "environment": found.environment,
                "stable": _named(opened, found.stable),
                "candidate": _named(opened, found.candidate),
                "kill switch": found.kill.mode if found.kill else "off",
                "changed": when(found.updated),
            }
            for found in opened.do(ListDeployments(environment=environment))
        ]
    show_list(rows, form, "Nothing is deployed yet. Propose a version with: plimsoll releases create MODEL")


@app.command
def show(model: str, *, environment: str = "production", form: Format = Format()) -> None:
    """Print one deployment, its rollout and the planes that serve it.

    Args:
        model: registered name.
        environment: where.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(GetDeployment(model=model, environment=environment))
        planes = opened.do(ListPlanes(environment=environment))
        judged = opened.do(JudgeRollout(model=model, environment=environment)) if found.candidate else None
        lines = {
            "model": found.model,
            "environment": found.environment,
            "stable": _named(opened, found.stable),
            "previous": _named(opened, found.previous),
            "candidate": _named(opened, found.candidate),
            "rollout": f"step {found.step + 1}, {judged.advice}: {judged.reason}" if judged else "none",
            "evidence": judged.numbers if judged else None,
            "kill switch": f"{found.kill.mode} by {found.kill.actor}: {found.kill.reason}" if found.kill else "off",
            "generation": found.generation,
            "planes": [
                f"{plane.report.address} generation {plane.report.generations.get(model, '-')} at {when(plane.at)}" for plane in planes
            ],
        }
    show_record({"deployment": found, "judgement": judged, "planes": planes}, form, lines)


def _tell(deployment: Deployment) -> None:
    say(f"{deployment.model} in {deployment.environment} is at generation {deployment.generation}.")
    next_step(f"plimsoll deployments show {deployment.model} --environment {deployment.environment}")


@app.command
def rollback(model: str, *, reason: str, environment: str = "production") -> None:
    """Take the candidate back, or return to the release that was stable before.

    Args:
        model: registered name.
        reason: why; it is kept.
        environment: where.
    """
    with door() as opened:
        _tell(opened.do(RollBack(model=model, environment=environment, reason=reason)))


@app.command
def kill(model: str, *, reason: str, mode: Literal["stable", "fallback"] = "stable", environment: str = "production") -> None:
    """Pull the kill switch: callers go on getting answers in the same schema, marked as a fallback.

    Args:
        model: registered name.
        reason: why; it is kept.
        mode: ``stable`` answers from the last good version, ``fallback`` answers the declared default.
        environment: where.
    """
    with door() as opened:
        _tell(opened.do(KillDeployment(model=model, environment=environment, mode=mode, reason=reason)))


@app.command
def revive(model: str, *, reason: str, environment: str = "production") -> None:
    """Turn the kill switch off.

    Args:
        model: registered name.
        reason: why; it is kept.
        environment: where.
    """
    with door() as opened:
        _tell(opened.do(ReviveDeployment(model=model, environment=environment, reason=reason)))
