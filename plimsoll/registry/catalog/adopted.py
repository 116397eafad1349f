"""Versions of files that are no package of ours, and what is noted about versions of any kind."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import insert, select, update

from plimsoll import clock
from plimsoll.data.snapshot import put_manifest
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.model import GetVersion, Version
from plimsoll.records.registry.catalog import AdoptFiles, DeleteVersion, GetModel, TagVersion, UpdateVersion
from plimsoll.records.tracking.logged_model import GetLoggedModel
from plimsoll.registry.catalog.names import check_unreleased, forget_versions, get_model
from plimsoll.registry.versions import add_version, get_version
from plimsoll.runs.described import one_run
from plimsoll.runs.outputs.kept import files_of
from plimsoll.runs.outputs.logged_models import get_logged_model
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import models, version_tags, versions
from plimsoll.store.tables.tracking import logged_models


def adopt_files(request: AdoptFiles, context: Context) -> Version:
    """Number files as they are now; what their owner does with them later changes nothing here."""
    get_model(GetModel(name=request.model), context)
    if request.ref:
        known = get_version(GetVersion(ref=request.ref), context)
        digest, author, run_id, model_id = known.digest, known.author, known.run_id, known.model_id
    else:
        owner, path = _keeper(context, request.owner, request.path)
        author, run_id, model_id = _origin(context, owner)
        digest = _tree(context, owner, path)
    version = add_version(
        context,
        request.model,
        digest,
        author,
        run_id or None,
        request.number,
        **({} if request.created is None else {"created": request.created}),
        source=request.source,
        model_id=model_id or None,
        description=request.description,
    )
    return tag_version(TagVersion(model=version.model, number=version.number, tags=request.tags), context) if request.tags else version


def _origin(context: Context, owner: str) -> tuple[str, str, str]:
    """Return whose work the files are, the run that made them and the logged model that keeps them; empty for none."""
    if owner.startswith("m-"):
        kept = get_logged_model(GetLoggedModel(id=owner), context)
        if kept.state != "ready":
            raise InvalidInput(
                f"The logged model {owner} is {kept.state}: its files are not said to be all there.", "Finish it before registering it."
            )
        author = one_run(context.tx, kept.run_id).author if kept.run_id else kept.author
        return author, kept.run_id, owner
    return one_run(context.tx, owner).author, owner, ""


def _keeper(context: Context, owner: str, path: str) -> tuple[str, str]:
    """Return who keeps the files: where a run has none in a folder, its last logged model of that name, as MLflow's clients take it."""
    if owner.startswith("m-") or not path or any(entry.path.startswith(_prefix(path)) for entry in files_of(context, owner)):
        return owner, path
    table = logged_models.c
    mine = (table.run_id == owner, table.name == path, table.state == "ready", table.deleted.is_(None))
    found = context.tx.execute(select(table.id).where(*mine).order_by(table.created.desc(), table.id.desc()).limit(1)).scalar()
    return (owner, path) if found is None else (found, "")


def _prefix(path: str) -> str:
    return f"{path.rstrip('/')}/" if path else ""


def _tree(context: Context, owner: str, path: str) -> str:
    prefix = _prefix(path)
    kept = files_of(context, owner)
    entries = [replace(entry, path=entry.path[len(prefix) :]) for entry in kept if entry.path.startswith(prefix)]
    if not entries:
        raise NotFound(f"{owner} keeps no files in {path!r}.", "Log the model's files before registering it.", owner=owner, path=path)
    return put_manifest(context.stores.blobs, _manifest(entries))


def _manifest(entries: list[FileEntry]) -> Manifest:
    return Manifest(kind="model", files=tuple(sorted(entries, key=lambda entry: entry.path)), meta={})


def _known(context: Context, model: str, number: int) -> Version:
    return get_version(GetVersion(ref=f"{model}/{number}"), context)


def update_version(request: UpdateVersion, context: Context) -> Version:
    """Change description and stage."""
    known = _known(context, request.model, request.number)
    now = clock.now()
    change = {name: value for name, value in (("description", request.description), ("stage", request.stage)) if value is not None}
    if request.archive and request.stage is not None:
        others = (versions.c.model == known.model, versions.c.number != known.number, versions.c.stage == request.stage)
        context.tx.execute(update(versions).where(*others).values(stage="archived", updated=now))
    mine = (versions.c.model == known.model, versions.c.number == known.number)
    context.tx.execute(update(versions).where(*mine).values(updated=now, **change))
    if request.stage is not None:
        context.tx.execute(update(models).where(models.c.name == known.model).values(updated=now))
    return _known(context, request.model, request.number)


def tag_version(request: TagVersion, context: Context) -> Version:
    """Add, replace and remove tags."""
    known = _known(context, request.model, request.number)
    mine = (version_tags.c.model == known.model, version_tags.c.number == known.number)
    for some in chunks([*request.tags, *request.remove], 500):
        context.tx.execute(version_tags.delete().where(*mine, version_tags.c.name.in_(some)))
    if request.tags:
        rows = [{"model": known.model, "number": known.number, "name": name, "value": value} for name, value in request.tags.items()]
        context.tx.execute(insert(version_tags), rows)
    return _known(context, request.model, request.number)


def delete_version(request: DeleteVersion, context: Context) -> Version:
    """Forget a version that was never released."""
    known = _known(context, request.model, request.number)
    check_unreleased(context.tx, known.model, known.number)
    forget_versions(context.tx, known.model, known.number)
    context.tx.execute(update(models).where(models.c.name == known.model).values(updated=clock.now()))
    return known
