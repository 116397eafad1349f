"""Environments, releases and approvals: how a version is let past the line."""

from __future__ import annotations

from sqlalchemy import Select, select, update

from plimsoll import clock, codec
from plimsoll.errors import Conflict, InvalidInput, NotFound, Refused
from plimsoll.records.deployment import (
    Approval,
    ApproveRelease,
    CreateRelease,
    Environment,
    GetRelease,
    ListApprovals,
    ListEnvironments,
    ListReleases,
    RejectRelease,
    Release,
    ReleasePolicy,
    ReleaseState,
    ServingConfig,
    SetEnvironment,
)
from plimsoll.records.model import GetVersion, Version
from plimsoll.registry.versions import get_version, newest_report
from plimsoll.store.contracts import Context
from plimsoll.store.schema import approvals, deployments, environments, releases


def set_environment(request: SetEnvironment, context: Context) -> Environment:
    """Create an environment or replace its rules."""
    policy = codec.plain(request.policy)
    if context.tx.execute(update(environments).where(environments.c.name == request.name).values(policy=policy)).rowcount == 0:
        context.tx.execute(environments.insert().values(name=request.name, policy=policy))
    return Environment(name=request.name, policy=request.policy)


def list_environments(request: ListEnvironments, context: Context) -> tuple[Environment, ...]:
    """Return all environments, by name."""
    rows = context.tx.execute(select(environments).order_by(environments.c.name))
    return tuple(codec.convert(dict(row._mapping), Environment, "The stored environment") for row in rows)


def policy_of(context: Context, environment: str) -> ReleasePolicy:
    """Return an environment's rules.

    Args:
        context: the open transaction.
        environment: its name.

    Raises:
        NotFound: there is no such environment.
    """
    row = context.tx.execute(select(environments.c.policy).where(environments.c.name == environment)).one_or_none()
    if row is None:
        raise NotFound(f"There is no environment {environment!r}.", "Use 'dev' or 'production', or declare it in [tool.plimsoll].")
    return codec.convert(row.policy, ReleasePolicy, "The stored policy")


def release_digest(environment: str, model: str, package: str, config: ServingConfig) -> str:
    """Return what an approval says yes to.

    Args:
        environment: its name.
        model: registered name.
        package: digest of the package.
        config: how it is served.
    """
    bound = {"environment": environment, "model": model, "package": package, "config": codec.plain(config)}
    return codec.digest(b"plimsoll release 1\n" + codec.canonical(bound))


def live_release(context: Context, environment: str, model: str) -> Release | None:
    """Return the release that answers in an environment, or None before the first.

    Args:
        context: the open transaction.
        environment: its name.
        model: registered name.
    """
    query = select(releases).join(deployments, deployments.c.stable == releases.c.id)
    row = context.tx.execute(query.where(deployments.c.model == model, deployments.c.environment == environment)).one_or_none()
    return None if row is None else codec.convert(dict(row._mapping), Release, "The stored release")


def require_checks(context: Context, version: Version, environment: str) -> None:
    """Refuse a version whose newest examination failed, is missing, or was made against another live version.

    Args:
        context: the open transaction.
        version: the version.
        environment: where it wants to go.

    Raises:
        Refused: with the failed checks by name and reason.
    """
    name = f"{version.model}/{version.number}"
    report = newest_report(context, version.model, version.number)
    if report is None:
        raise Refused(f"{name} was never examined.", f"Run: plimsoll checks run {name}")
    failed = [verdict for verdict in report.verdicts if verdict.outcome == "fail"]
    if report.outcome == "fail":
        reasons = " ".join(f"[{verdict.check}] {verdict.reason}" for verdict in failed) or "No check ran."
        raise Refused(
            f"{name} failed {len(failed)} of {len(report.verdicts)} checks: {reasons}",
            "Correct the model and train it again; a failed check is not waived.",
            failed=[verdict.check for verdict in failed],
        )
    live = live_release(context, environment, version.model)
    if live is not None and live.package not in (report.champion, version.digest):
        raise Refused(
            f"{name} was compared with another version than {live.model}/{live.number}, which {environment} serves now.",
            f"Run: plimsoll checks run {name} --environment {environment}",
        )


def create_release(request: CreateRelease, context: Context) -> Release:
    """Propose a version that passed its checks for an environment."""
    version = get_version(GetVersion(ref=request.ref), context)
    # Raises for files that nothing here may load.
    _ = version.package
    policy = policy_of(context, request.environment)
    digest = release_digest(request.environment, version.model, version.digest, request.config)
    query = select(releases).where(releases.c.digest == digest, releases.c.state.in_(["proposed", "approved", "rolling", "live"]))
    # Several are open when a roll back made a retired one live again after it was proposed anew.
    row = context.tx.execute(query.order_by(releases.c.id.desc()).limit(1)).one_or_none()
    if row is not None:
        return codec.convert(dict(row._mapping), Release, "The stored release")
    if policy.checks:
        require_checks(context, version, request.environment)
    release = Release(
        id=clock.new_id(),
        environment=request.environment,
        model=version.model,
        number=version.number,
        package=version.digest,
        config=request.config,
        digest=digest,
        author=version.author,
        proposer=context.actor.name,
        state="proposed" if policy.approvals else "approved",
        reason=f"Waits for {policy.approvals} approval(s)." if policy.approvals else f"{request.environment} asks for no approval.",
        created=clock.now(),
    )
    context.tx.execute(releases.insert().values(**codec.plain(release)))
    return release


def get_release(request: GetRelease, context: Context) -> Release:
    """Return a release by id or by the unique beginning of its id."""
    if len(request.id) < 6:
        raise InvalidInput(f"{request.id!r} is too short for a release's id.", "Give at least 6 digits.")
    query = select(releases).where(releases.c.id.startswith(request.id, autoescape=True)).limit(2)
    rows = context.tx.execute(query).all()
    if not rows:
        raise NotFound(f"There is no release {request.id!r}.", "List releases with: plimsoll releases list")
    if len(rows) > 1:
        raise InvalidInput(f"Several releases begin with {request.id!r}.", "Give more digits of the id.")
    return codec.convert(dict(rows[0]._mapping), Release, "The stored release")


def list_releases(request: ListReleases, context: Context) -> tuple[Release, ...]:
    """Return releases, newest first."""
    query: Select[tuple[object, ...]] = select(releases).order_by(releases.c.id.desc()).limit(request.limit)
    for column, wanted in (
        (releases.c.environment, request.environment),
        (releases.c.model, request.model),
        (releases.c.state, request.state),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return tuple(codec.convert(dict(row._mapping), Release, "The stored release") for row in context.tx.execute(query))


def move_release(context: Context, release: Release, state: ReleaseState, reason: str) -> Release:
    """Change where a release stands.

    Args:
        context: the open transaction.
        release: the release.
        state: where it stands from now on.
        reason: why, in one sentence.
    """
    context.tx.execute(update(releases).where(releases.c.id == release.id).values(state=state, reason=reason))
    return get_release(GetRelease(id=release.id), context)


def list_approvals(request: ListApprovals, context: Context) -> tuple[Approval, ...]:
    """Return who said yes to a release."""
    query = select(approvals).where(approvals.c.release_id == request.release_id).order_by(approvals.c.created)
    return tuple(codec.convert(dict(row._mapping), Approval, "The stored approval") for row in context.tx.execute(query))


def require_approvals(context: Context, release: Release, policy: ReleasePolicy) -> None:
    """Refuse a release that fewer people said yes to than its environment asks for now; the rules may be newer than its state.

    Args:
        context: the open transaction.
        release: the release.
        policy: the environment's present rules.

    Raises:
        Refused: with both numbers.
    """
    given = len(list_approvals(ListApprovals(release_id=release.id), context))
    if given < policy.approvals:
        raise Refused(
            f"The release {release.id[:8]} has {given} of the {policy.approvals} approvals that {release.environment} asks for now.",
            f"It must be approved first: plimsoll approve {release.id[:12]}",
            given=given,
            wanted=policy.approvals,
        )


def approve_release(request: ApproveRelease, context: Context) -> Release:
    """Say yes to exactly the digest that was looked at; enough different people make the release approved."""
    release = get_release(GetRelease(id=request.id), context)
    given = list_approvals(ListApprovals(release_id=release.id), context)
    wanted = policy_of(context, release.environment).approvals
    # Approved under weaker rules, it still waits for the rest.
    if release.state != "proposed" and not (release.state == "approved" and len(given) < wanted):
        raise Conflict(f"The release {release.id[:8]} is {release.state}, not proposed.", "Only a proposed release is approved.")
    if not context.actor.person:
        raise Refused(f"{context.actor.name} is a program.", "An approval is a person's; ask one with the role 'approve'.")
    if context.actor.name == release.author:
        raise Refused(
            f"{context.actor.name} is the author of {release.model}/{release.number}.",
            "Ask another person with the role 'approve'; nobody approves their own work.",
        )
    if request.digest != release.digest:
        raise Refused(
            f"The release's digest is {release.digest[:12]}, not {request.digest[:12]}.",
            f"Look at it again with: plimsoll releases show {release.id[:12]}",
        )
    if context.actor.name in {approval.actor for approval in given}:
        return release
    context.tx.execute(
        approvals.insert().values(
            release_id=release.id, actor=context.actor.name, digest=request.digest, note=request.note, created=clock.now()
        )
    )
    if len(given) + 1 < wanted:
        return move_release(context, release, "proposed", f"Has {len(given) + 1} of {wanted} approvals.")
    return move_release(context, release, "approved", f"Approved by {', '.join([*(a.actor for a in given), context.actor.name])}.")


def reject_release(request: RejectRelease, context: Context) -> Release:
    """Say no to a release that is not rolled out yet."""
    release = get_release(GetRelease(id=request.id), context)
    if release.state not in ("proposed", "approved"):
        raise Conflict(f"The release {release.id[:8]} is {release.state}.", "Roll it back with: plimsoll deployments rollback")
    return move_release(context, release, "rejected", request.reason or f"Rejected by {context.actor.name}.")
