"""Model versions: numbered, immutable packages, and what is known about each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, literal, select, tuple_, update

from plimsoll import clock, codec
from plimsoll.data.snapshot import get_manifest, outputs_in
from plimsoll.errors import Conflict, Corrupt, Denied, InvalidInput, NotFound, Refused
from plimsoll.records.data import Manifest
from plimsoll.records.model import (
    CheckReport,
    CreateVersion,
    GetReport,
    GetVersion,
    Grant,
    ListGrants,
    ListVersions,
    PackageMeta,
    RecordReport,
    TrustPackage,
    Version,
)
from plimsoll.records.run import GetRun, Run
from plimsoll.runs.lifecycle import get_run
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import aliases, cache_entries, grants, models, reports, steps, version_tags, versions
from plimsoll.store.tables.tracking import GONE, runs

_DIGEST = re.compile(r"[0-9a-f]{12,64}")


def package_meta(context: Context, manifest: Manifest, digest: str) -> PackageMeta:
    """Return ``package.json`` of a stored package.

    Args:
        context: the open transaction.
        manifest: the package's manifest.
        digest: the manifest's digest, for messages.

    Raises:
        InvalidInput: the tree is not a model package.
        Corrupt: a file of it is missing.
    """
    files = {entry.path: entry for entry in manifest.files}
    if "package.json" not in files:
        raise InvalidInput(f"The tree {digest[:12]} has no package.json.", "Make packages with plimsoll.Model.")
    for entry in manifest.files:
        if not context.stores.blobs.has(entry.digest):
            raise Corrupt(f"{entry.path} of the package {digest[:12]} is not stored.", "Upload every file before its manifest.")
    document = context.stores.blobs.get(files["package.json"].digest)
    return codec.from_json(document, PackageMeta, f"package.json of {digest[:12]}")


def code_digest(manifest: Manifest, meta: PackageMeta) -> str | None:
    """Return one digest over the packed code and what is called in it, or None when only the package as a whole can be trusted.

    The same code gives the same digest whatever it was trained on. A model file with classes that are not known to be harmless
    may do anything with them in another package, and a package without code has nothing that a later one could carry again.

    Args:
        manifest: a package's manifest.
        meta: its ``package.json``.
    """
    code = [(entry.path, entry.digest) for entry in manifest.files if entry.path.startswith("code/")]
    if meta.types or not code:
        return None
    return codec.digest(b"plimsoll code 2\n" + codec.canonical([meta.features, code]))


def versions_of(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[Version, ...]:
    """Return rows of ``versions`` as records, in their order.

    Args:
        tx: an open transaction.
        rows: whole rows.
    """
    pointing: dict[tuple[str, int], list[str]] = {}
    tagged: dict[tuple[str, int], dict[str, str]] = {}
    for some in chunks(list(dict.fromkeys(row.model for row in rows)), 500):
        for alias in tx.execute(select(aliases).where(aliases.c.model.in_(some)).order_by(aliases.c.alias)):
            pointing.setdefault((alias.model, alias.number), []).append(alias.alias)
    for some in chunks([(row.model, row.number) for row in rows], 200):
        mine = tuple_(version_tags.c.model, version_tags.c.number).in_(some)
        for tag in tx.execute(select(version_tags).where(mine).order_by(version_tags.c.name)):
            tagged.setdefault((tag.model, tag.number), {})[tag.name] = tag.value
    found = []
    for row in rows:
        key = (row.model, row.number)
        more = {"run_id": row.run_id or "", "model_id": row.model_id or "", "aliases": pointing.get(key, []), "tags": tagged.get(key, {})}
        found.append(codec.convert({**row._mapping, **more}, Version, "The stored version"))
    return tuple(found)


def add_version(
    context: Context, model: str, digest: str, author: str, run_id: str | None, wanted: int | None = None, **more: Any
) -> Version:
    """Give files the next number of a registered name, or the one that is wanted.

    Args:
        context: the open transaction.
        model: registered name, which is there.
        digest: digest of the manifest of the files.
        author: whose work it is.
        run_id: the run that made it, or None.
        wanted: a number above every one that the name has given, or None.
        more: further columns.

    Raises:
        Conflict: the run is being removed for good, or the number that is wanted was given already.
    """
    if run_id is not None and context.tx.execute(select(runs.c.deleted).where(runs.c.id == run_id)).scalar() == GONE:
        raise Conflict(f"The run {run_id} is being removed for good.", "Make the model in a run that stays.")
    now = clock.now()
    following = models.c.last + 1 if wanted is None else literal(wanted)
    free = update(models).where(models.c.name == model, models.c.last < following)
    number = context.tx.execute(free.values(last=following, updated=now).returning(models.c.last)).scalar()
    if number is None:
        raise Conflict(f"The number {wanted} of {model!r} was given already.", "Leave it out for the next one.", model=model)
    row = {"meta": None, "source": "", "model_id": None, "description": "", "stage": "none", "created": now, **more}
    context.tx.execute(
        versions.insert().values(model=model, number=number, digest=digest, run_id=run_id, author=author, updated=now, **row)
    )
    return get_version(GetVersion(ref=f"{model}/{number}"), context)


def create_version(request: CreateVersion, context: Context) -> Version:
    """Number a package whose bytes are all stored; a person who registers what their own run has made trusts its code."""
    known = context.tx.execute(select(versions).where(versions.c.digest == request.digest, versions.c.meta.is_not(None))).one_or_none()
    if known is not None:
        if known.model != request.model:
            raise InvalidInput(
                f"The package {request.digest[:12]} is {known.model}/{known.number}, not {request.model!r}.",
                "Register it under the name that plimsoll.Model was given.",
            )
        return versions_of(context.tx, [known])[0]
    run = get_run(GetRun(id=request.run_id), context).run
    if run.author != context.actor.name:
        # The run's author is the one who cannot approve, so nobody may name another run than their own.
        raise Denied(f"{context.actor.name} may not register a package as the work of {run.author}.", "Register it from a run of your own.")
    manifest = get_manifest(context.stores.blobs, request.digest)
    meta = package_meta(context, manifest, request.digest)
    if meta.model != request.model:
        raise InvalidInput(
            f"The package says it is {meta.model!r}, not {request.model!r}.", "Register it under the name that plimsoll.Model was given."
        )
    if context.tx.execute(select(models.c.name).where(models.c.name == request.model)).one_or_none() is None:
        insert_model(context.tx, request.model)
    version = add_version(context, request.model, request.digest, run.author, run.id, meta=codec.plain(meta))
    if context.actor.person and context.actor.name == run.author and _is_own_work(context, run, request.digest):
        _grant(context, request.digest, code_digest(manifest, meta), f"{run.author} made it in run {run.id}")
    return version


def insert_model(tx: Connection, name: str, description: str = "", created: int | None = None) -> None:
    """Register a name that is free.

    Args:
        tx: an open writing transaction.
        name: the name.
        description: for people.
        created: UTC microseconds; None is now.
    """
    now = clock.now()
    began = now if created is None else created
    tx.execute(models.insert().values(name=name, created=began, updated=now, description=description, last=0))


def _is_own_work(context: Context, run: Run, digest: str) -> bool:
    """Return whether the run's author computed the package: a run also goes on with what others have recorded under the same keys."""
    made = select(steps.c.state, steps.c.output, runs.c.author).select_from(
        steps.outerjoin(cache_entries, cache_entries.c.key == steps.c.key)
    )
    made = made.outerjoin(runs, runs.c.id == cache_entries.c.run_id).where(steps.c.run_id == run.id)
    found = [row for row in context.tx.execute(made) if row.output is not None and _gave(context, row.output, digest)]
    return all(row.author == run.author or (row.author is None and row.state == "ran") for row in found)


def _gave(context: Context, output: dict[str, Any], digest: str) -> bool:
    """Return whether a step's output is the package, or one of several outputs that is; also where that cannot be read any more."""
    if output["kind"] != "outputs":
        return bool(output["digest"] == digest)
    try:
        parts = outputs_in(get_manifest(context.stores.blobs, output["digest"]))
    except (Corrupt, InvalidInput, NotFound):
        return True
    return any(part.digest == digest for part in parts.values())


def get_version(request: GetVersion, context: Context) -> Version:
    """Return a version by ``name/3``, ``name@alias``, ``name`` or digest."""
    name, at, alias = request.ref.partition("@")
    stem, slash, number = request.ref.rpartition("/")
    query = select(versions)
    if at:
        query = query.join(aliases, (aliases.c.model == versions.c.model) & (aliases.c.number == versions.c.number)).where(
            versions.c.model == name, aliases.c.alias == alias
        )
    elif slash and number.isdecimal():
        query = query.where(versions.c.model == stem, versions.c.number == int(number))
    elif _DIGEST.fullmatch(request.ref):
        # A copy of a package under another name is no package.
        query = query.where(versions.c.digest.startswith(request.ref)).order_by(versions.c.meta.is_(None))
    else:
        query = query.where(versions.c.model == request.ref)
    row = context.tx.execute(query.order_by(versions.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        raise NotFound(f"There is no model version {request.ref!r}.", "List versions with: plimsoll models list")
    return versions_of(context.tx, [row])[0]


def list_versions(request: ListVersions, context: Context) -> tuple[Version, ...]:
    """Return versions, newest first."""
    query = select(versions).order_by(versions.c.created.desc(), versions.c.number.desc()).limit(request.limit)
    if request.model is not None:
        query = query.where(versions.c.model == request.model)
    return versions_of(context.tx, context.tx.execute(query).all())


def record_report(request: RecordReport, context: Context) -> CheckReport:
    """Keep the verdicts of an examination."""
    get_version(GetVersion(ref=f"{request.report.model}/{request.report.number}"), context)
    context.tx.execute(reports.insert().values(**codec.plain(request.report)))
    return request.report


def newest_report(context: Context, model: str, number: int) -> CheckReport | None:
    """Return the newest report of a version, or None when it was never examined.

    Args:
        context: the open transaction.
        model: registered name.
        number: version number.
    """
    query = select(reports).where(reports.c.model == model, reports.c.number == number).order_by(reports.c.id.desc()).limit(1)
    row = context.tx.execute(query).one_or_none()
    return None if row is None else codec.convert(dict(row._mapping), CheckReport, "The stored report")


def get_report(request: GetReport, context: Context) -> CheckReport:
    """Return the newest report of a version."""
    version = get_version(GetVersion(ref=request.ref), context)
    report = newest_report(context, version.model, version.number)
    if report is None:
        raise NotFound(
            f"{version.model}/{version.number} was never examined.",
            f"Examine it with: plimsoll checks run {version.model}/{version.number}",
        )
    return report


def _grant(context: Context, digest: str, code: str | None, reason: str) -> None:
    for granted in (digest, code):
        if granted is None:
            continue
        context.tx.execute(grants.delete().where(grants.c.digest == granted, grants.c.actor == context.actor.name))
        context.tx.execute(grants.insert().values(digest=granted, actor=context.actor.name, reason=reason, created=clock.now()))


def _code_of(context: Context, digest: str) -> str | None:
    manifest = get_manifest(context.stores.blobs, digest)
    known = context.tx.execute(select(versions.c.meta).where(versions.c.digest == digest)).all()
    row = next((each for each in known if each.meta is not None), None)
    if known and row is None:
        # Files in another layout are trusted as a whole.
        return None
    meta = package_meta(context, manifest, digest) if row is None else codec.convert(row.meta, PackageMeta, "The stored version")
    return code_digest(manifest, meta)


def trust_package(request: TrustPackage, context: Context) -> Grant:
    """Allow a package's code to run, here and in any later package that carries the very same code."""
    if not context.actor.person:
        raise Refused(f"{context.actor.name} is a program.", "A grant is a person's word.")
    _grant(context, request.digest, _code_of(context, request.digest), request.reason)
    return grants_of(context, request.digest)[0]


def grants_of(context: Context, digest: str) -> tuple[Grant, ...]:
    """Return the grants that cover a package, by its digest or by the digest of its code, newest first.

    Args:
        context: the open transaction.
        digest: the package's digest.
    """
    names = [name for name in (digest, _code_of(context, digest)) if name is not None]
    query = select(grants).where(grants.c.digest.in_(names)).order_by(grants.c.created.desc(), grants.c.actor)
    found = [codec.convert(dict(row._mapping), Grant, "The stored grant") for row in context.tx.execute(query)]
    named: dict[str, Grant] = {}
    for grant in found:
        if grant.actor not in named or grant.digest == digest:
            named[grant.actor] = grant
    return tuple(named.values())


def list_grants(request: ListGrants, context: Context) -> tuple[Grant, ...]:
    """Return who allowed a package's code to run."""
    return grants_of(context, request.digest)
