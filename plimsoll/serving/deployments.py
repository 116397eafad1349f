"""Deployments: which release answers, which one is on its way, and the kill switch.

One row a model and environment, changed under its transaction; every change raises the generation. Planes read the
desired state from it and report which generation they serve, so counters are never credited to the wrong stage.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select, update

from plimsoll import clock, codec
from plimsoll.errors import Conflict, NotFound, Refused
from plimsoll.records.deployment import (
    Deployment,
    GetDeployment,
    GetRelease,
    Kill,
    KillDeployment,
    ListApprovals,
    ListDeployments,
    Release,
    ReleasePolicy,
    ReviveDeployment,
    RollBack,
    StartRollout,
    TrackName,
)
from plimsoll.records.model import GetVersion
from plimsoll.records.plane import DesiredModel, DesiredState, GetDesiredState, ListPlanes, Plane, ReportPlane, Track
from plimsoll.registry.promotion import get_release, list_approvals, move_release, policy_of, require_approvals, require_checks
from plimsoll.registry.versions import get_version, grants_of
from plimsoll.store.contracts import Context
from plimsoll.store.schema import aliases, deployments, planes


def find_deployment(context: Context, model: str, environment: str) -> tuple[Deployment, ReleasePolicy] | None:
    """Return a deployment with the rules of its rollout, or None before the first release.

    Args:
        context: the open transaction.
        model: registered name.
        environment: its name.
    """
    query = select(deployments).where(deployments.c.model == model, deployments.c.environment == environment)
    row = context.tx.execute(query).one_or_none()
    if row is None:
        return None
    policy = codec.convert(row.policy, ReleasePolicy, "The stored policy") if row.policy else policy_of(context, environment)
    fields = {name: value for name, value in row._mapping.items() if name != "policy"}
    return codec.convert(fields, Deployment, "The stored deployment"), policy


def existing(context: Context, model: str, environment: str) -> tuple[Deployment, ReleasePolicy]:
    """Return a deployment with the rules of its rollout.

    Args:
        context: the open transaction.
        model: registered name.
        environment: its name.

    Raises:
        NotFound: nothing of the model was ever released there.
    """
    found = find_deployment(context, model, environment)
    if found is None:
        raise NotFound(f"{model} is not deployed in {environment}.", "List deployments with: plimsoll deployments list")
    return found


def save(context: Context, deployment: Deployment, policy: ReleasePolicy | None = None) -> Deployment:
    """Store a changed deployment under the next generation and return it.

    Args:
        context: the open transaction.
        deployment: the changed record.
        policy: rules of the rollout that begins; None keeps those of the rollout under way.
    """
    deployment = replace(deployment, generation=deployment.generation + 1, updated=clock.now())
    values = codec.plain(deployment)
    if policy is not None:
        values["policy"] = codec.plain(policy)
    where = (deployments.c.model == deployment.model, deployments.c.environment == deployment.environment)
    if context.tx.execute(update(deployments).where(*where).values(**values)).rowcount == 0:
        context.tx.execute(deployments.insert().values(**values))
    return deployment


def point_alias(context: Context, release: Release) -> None:
    """Let ``model@environment`` name the version of a release.

    Args:
        context: the open transaction.
        release: the release that answers from now on.
    """
    where = (aliases.c.model == release.model, aliases.c.alias == release.environment)
    if context.tx.execute(update(aliases).where(*where).values(number=release.number)).rowcount == 0:
        context.tx.execute(aliases.insert().values(model=release.model, alias=release.environment, number=release.number))
    # A line of its own, since which version a rollout ends with is not in the request that moves it.
    moved = {"model": release.model, "alias": release.environment, "number": release.number}
    context.stores.events.append(context.tx, context.actor.name, "PointAlias", f"version:{release.model}/{release.number}", moved)


def list_deployments(request: ListDeployments, context: Context) -> tuple[Deployment, ...]:
    """Return all deployments, by model and environment."""
    query = select(deployments.c.model, deployments.c.environment).order_by(deployments.c.model, deployments.c.environment)
    if request.environment is not None:
        query = query.where(deployments.c.environment == request.environment)
    return tuple(existing(context, row.model, row.environment)[0] for row in context.tx.execute(query).all())


def get_deployment(request: GetDeployment, context: Context) -> Deployment:
    """Return one deployment."""
    return existing(context, request.model, request.environment)[0]


def start_rollout(request: StartRollout, context: Context) -> Deployment:
    """Begin to roll an approved release out; the first of a model takes all traffic, since nothing can be compared."""
    release = get_release(GetRelease(id=request.release_id), context)
    if release.state != "approved":
        raise Refused(
            f"The release {release.id[:8]} is {release.state}: {release.reason}",
            f"It must be approved first: plimsoll approve {release.id[:12]}" if release.state == "proposed" else "",
        )
    policy = policy_of(context, release.environment)
    require_approvals(context, release, policy)
    if policy.checks:
        require_checks(context, get_version(GetVersion(ref=release.package), context), release.environment)
    found = find_deployment(context, release.model, release.environment)
    if found is None or found[0].stable is None:
        move_release(context, release, "live", "The first release; it took all traffic at once.")
        point_alias(context, release)
        fresh = Deployment(
            model=release.model,
            environment=release.environment,
            stable=release.id,
            previous=None,
            candidate=None,
            step=0,
            kill=None,
            generation=0,
            updated=0,
        )
        return save(context, fresh, policy)
    deployment = found[0]
    if deployment.candidate is not None:
        raise Conflict(
            f"{deployment.model} has a rollout under way ({deployment.candidate[:8]}).",
            f"Wait for it, or take it back with: plimsoll deployments rollback {deployment.model}",
        )
    if deployment.kill is not None:
        raise Conflict(f"The kill switch of {deployment.model} is on.", f"Turn it off with: plimsoll deployments revive {deployment.model}")
    move_release(context, release, "rolling", f"On step 1 of {len(policy.steps)}.")
    return save(context, replace(deployment, candidate=release.id, step=0), policy)


def roll_back(request: RollBack, context: Context) -> Deployment:
    """Take the candidate back when one is under way; else return to the release that was stable before."""
    deployment, _ = existing(context, request.model, request.environment)
    if deployment.candidate is not None:
        move_release(context, get_release(GetRelease(id=deployment.candidate), context), "rolled_back", request.reason)
        return save(context, replace(deployment, candidate=None, step=0))
    if deployment.stable is None or deployment.previous is None:
        raise Conflict(
            f"{request.model} has no earlier release to go back to.",
            f"Stop it with: plimsoll deployments kill {request.model} --mode fallback",
        )
    move_release(context, get_release(GetRelease(id=deployment.stable), context), "rolled_back", request.reason)
    previous = move_release(context, get_release(GetRelease(id=deployment.previous), context), "live", f"Rolled back to: {request.reason}")
    point_alias(context, previous)
    kill = deployment.kill
    if kill is not None and kill.good == deployment.stable:
        # The switch must not go on answering from what has just been rolled back.
        kill = replace(kill, good=previous.id, release_id=previous.id if kill.release_id is not None else None)
    return save(context, replace(deployment, stable=previous.id, previous=None, kill=kill))


def kill_deployment(request: KillDeployment, context: Context) -> Deployment:
    """Pull the kill switch; callers keep getting answers in the same schema, marked as a fallback.

    The last good version is the stable one when a candidate was on its way (which is taken back), else the one before it.
    """
    deployment, _ = existing(context, request.model, request.environment)
    # Pulled again, it keeps the version that it found good: what was on its way then is not known any more.
    good = deployment.previous if deployment.kill is None else deployment.kill.good or deployment.kill.release_id
    if deployment.candidate is not None:
        good = deployment.stable
        move_release(context, get_release(GetRelease(id=deployment.candidate), context), "rolled_back", f"Kill switch: {request.reason}")
    missed = request.mode == "stable" and good is None
    kill = Kill(
        mode="fallback" if missed else request.mode,
        reason=f"{request.reason} (There is no earlier version: the declared default answers.)" if missed else request.reason,
        actor=context.actor.name,
        at=clock.now(),
        release_id=good if request.mode == "stable" else None,
        good=good,
    )
    return save(context, replace(deployment, candidate=None, step=0, kill=kill))


def revive_deployment(request: ReviveDeployment, context: Context) -> Deployment:
    """Turn the kill switch off."""
    deployment, _ = existing(context, request.model, request.environment)
    if deployment.kill is None:
        return deployment
    return save(context, replace(deployment, kill=None))


def _track(context: Context, name: TrackName, release_id: str, share: float) -> Track:
    release = get_release(GetRelease(id=release_id), context)
    approved = bool(list_approvals(ListApprovals(release_id=release.id), context))
    return Track(
        name=name,
        release_id=release.id,
        number=release.number,
        package=release.package,
        share=share,
        config=release.config,
        trusted=approved or bool(grants_of(context, release.package)),
    )


def _desired(context: Context, deployment: Deployment, policy: ReleasePolicy) -> DesiredModel:
    kill = deployment.kill
    stable, previous, candidate = deployment.stable, deployment.previous, deployment.candidate
    tracks: list[Track] = []
    if kill is not None and kill.release_id is not None:
        tracks.append(_track(context, "stable", kill.release_id, 1.0))
        # Kept loaded so that turning the switch off waits for nothing; no route lets it answer while the switch is on.
        tracks += [_track(context, "stable", id, 0.0) for id in (stable, previous) if id and id != kill.release_id]
    elif stable is not None:
        share = policy.steps[deployment.step].share if candidate is not None else 0.0
        tracks.append(_track(context, "stable", stable, 1.0 - share))
        if candidate is not None:
            # Shadowed in every stage: what stable answers is answered by the candidate too, so their decisions can be compared.
            tracks.append(_track(context, "shadow", candidate, 0.0))
            tracks += [_track(context, "canary", candidate, share)] if share > 0 else []
        if previous is not None:
            tracks.append(_track(context, "stable", previous, 0.0))
    return DesiredModel(model=deployment.model, generation=deployment.generation, tracks=tuple(tracks), kill=kill)


def get_desired_state(request: GetDesiredState, context: Context) -> DesiredState:
    """Return what a plane of an environment must serve; a second ``stable`` track of share 0 is kept loaded and answers nobody."""
    policy_of(context, request.environment)
    names = context.tx.execute(select(deployments.c.model).where(deployments.c.environment == request.environment)).scalars().all()
    found = [existing(context, model, request.environment) for model in sorted(names)]
    return DesiredState(environment=request.environment, models=tuple(_desired(context, *pair) for pair in found))


def report_plane(request: ReportPlane, context: Context) -> None:
    """Keep the last report of a plane."""
    values = {"environment": request.environment, "report": codec.plain(request), "at": clock.now()}
    if context.tx.execute(update(planes).where(planes.c.plane == request.plane).values(**values)).rowcount == 0:
        context.tx.execute(planes.insert().values(plane=request.plane, dropped=0, **values))


def list_planes(request: ListPlanes, context: Context) -> tuple[Plane, ...]:
    """Return the last report of every plane of an environment."""
    query = select(planes).where(planes.c.environment == request.environment).order_by(planes.c.plane)
    return tuple(Plane(report=codec.convert(row.report, ReportPlane, "The stored report"), at=row.at) for row in context.tx.execute(query))
