"""Who is asking, what was done, and what waits: actors, the audit log and the queue as verbs."""

from __future__ import annotations

import hashlib

from sqlalchemy import bindparam, select, update

from plimsoll import clock, codec
from plimsoll.errors import Denied, InvalidInput, Refused, Unauthenticated
from plimsoll.records.access import (
    Actor,
    AddActor,
    Event,
    GetJob,
    Invitation,
    Job,
    ListActors,
    ListEvents,
    ListJobs,
    Role,
    Verification,
    VerifyEvents,
    WhoAmI,
)
from plimsoll.store.contracts import Context
from plimsoll.store.schema import actors, jobs
from plimsoll.store.tables.statements import Statement

#: Names of the programs that every home has; they are nobody's to give.
PROGRAMS = ("worker", "plane")

#: Roles of those programs alone, and whose: what they record is the evidence that releases are judged by.
RESERVED: dict[Role, str] = {"work": "worker", "serve": "plane"}

# Every request needs it; making a statement takes longer than to run it.
_OF_TOKEN = Statement(select(actors).where(actors.c.token_digest == bindparam("digest")))


def token_digest(token: str) -> str:
    """Return what is stored instead of a token. Tokens are 256 random bits, so a plain hash is enough.

    Args:
        token: the bearer token.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def identify(context: Context, token: str) -> Actor:
    """Return the actor whom a token names.

    Args:
        context: an open transaction; its actor is not looked at.
        token: the bearer token.

    Raises:
        Unauthenticated: nobody here has this token.
    """
    row = _OF_TOKEN.one(context.tx, {"digest": token_digest(token)})
    if row is None:
        raise Unauthenticated("This token is not known here.", "Ask an admin for a new one: plimsoll actors add NAME")
    return Actor(name=row.name, roles=tuple(row.roles), person=row.person)


def require(actor: Actor, role: Role, verb: str) -> None:
    """Refuse an actor who lacks a role.

    Args:
        actor: who asks.
        role: what the verb's row asks for.
        verb: the verb's name, for the message.

    Raises:
        Denied: the actor has neither the role nor ``admin``; ``admin`` does not stand in for ``work`` and ``serve``.
    """
    if role not in actor.roles and (role in RESERVED or "admin" not in actor.roles):
        raise Denied(f"{actor.name} may not {verb}: it needs the role {role!r}.", "Ask an admin for the role.")


def add_actor(request: AddActor, context: Context) -> Invitation:
    """Add an actor, or give a known one a new token and new roles; the old token stops working."""
    for role, program in RESERVED.items():
        if role in request.roles:
            raise InvalidInput(f"The role {role!r} is not given away.", f"It belongs to the {program} of this workspace.")
    if request.name in PROGRAMS:
        # A job that is left under the worker's name is done with the worker's role.
        raise Refused(f"{request.name!r} is a program of this workspace.", "Choose another name.")
    return invite(context, Actor(name=request.name, roles=request.roles, person=request.person))


def invite(context: Context, actor: Actor) -> Invitation:
    """Store an actor under a new token.

    Args:
        context: an open writing transaction; its actor is not looked at.
        actor: new, or known and replaced.
    """
    token = clock.new_secret()
    values = {"roles": list(actor.roles), "person": actor.person, "token_digest": token_digest(token)}
    if context.tx.execute(update(actors).where(actors.c.name == actor.name).values(**values)).rowcount == 0:
        context.tx.execute(actors.insert().values(name=actor.name, created=clock.now(), **values))
    return Invitation(actor=actor, token=token)


def who_am_i(request: WhoAmI, context: Context) -> Actor:
    """Return the caller."""
    return context.actor


def list_actors(request: ListActors, context: Context) -> tuple[Actor, ...]:
    """Return every actor, by name."""
    rows = context.tx.execute(select(actors).order_by(actors.c.name))
    return tuple(codec.convert({"name": row.name, "roles": row.roles, "person": row.person}, Actor, "The stored actor") for row in rows)


def list_events(request: ListEvents, context: Context) -> tuple[Event, ...]:
    """Return audit lines, newest first."""
    return context.stores.events.list(context.tx, request.subject, request.before, request.limit)


def verify_events(request: VerifyEvents, context: Context) -> Verification:
    """Recompute the audit chain."""
    return context.stores.events.verify(context.tx)


def get_job(request: GetJob, context: Context) -> Job:
    """Return one job.

    Raises:
        NotFound: there is no such job.
        InvalidInput: the id is too short, or several jobs begin with it.
    """
    if len(request.id) < 6:
        raise InvalidInput(f"{request.id!r} is too short for a job's id.", "Give at least 6 digits.")
    found = context.tx.execute(select(jobs.c.id).where(jobs.c.id.startswith(request.id, autoescape=True)).limit(2)).scalars().all()
    if len(found) > 1:
        raise InvalidInput(f"Several jobs begin with {request.id!r}.", "Give more digits of the id.")
    return context.stores.queue.get(context.tx, found[0] if found else request.id)


def list_jobs(request: ListJobs, context: Context) -> tuple[Job, ...]:
    """Return jobs, newest first."""
    return context.stores.queue.list(context.tx, request.state, request.limit)
