"""The first tables.

A frozen copy: later changes of the schema are later revisions, and this one stays as it was released.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_EXACT = Text().with_variant(Text(collation="C"), "postgresql")


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _at(name: str = "created") -> Column[int]:
    return Column(name, BigInteger, nullable=False)


actors = Table(
    "actors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("roles", Text, nullable=False),
    Column("person", Boolean, nullable=False),
    Column("token_digest", Text, unique=True),
    _at(),
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _at("at"),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("payload", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("verb", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("key", Text),
    Column("worker", Text),
    Column("lease_until", BigInteger),
    Column("progress", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
    _at(),
    Index("ix_jobs_state_due", "state", "due"),
    Index("ix_jobs_key", "key"),
)

experiments = Table(
    "experiments",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _at(),
    _at("updated"),
    Column("deleted", BigInteger),
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment_id", Text, ForeignKey("experiments.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", _EXACT, nullable=False),
    Column("state", Text, nullable=False),
    Column("author", _EXACT, nullable=False),
    Column("cause", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("environment", Text),
    Column("machine", Text),
    _at("started"),
    Column("ended", BigInteger),
    Column("error", Text),
    Column("key", Text, unique=True),
    Column("seen", BigInteger),
    Column("deleted", BigInteger),
    Index("ix_runs_experiment_id_started", "experiment_id", "started", "id"),
    Index("ix_runs_started_id", "started", "id"),
    Index("ix_runs_experiment_id_id", "experiment_id", "id"),
)

run_params = Table(
    "run_params",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text),
    Column("text", _EXACT, nullable=False),
    Column("head", _EXACT, nullable=False),
    Index("ix_run_params_name_head", "name", "head", "run_id"),
    sqlite_with_rowid=False,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
    Column("head", _EXACT, nullable=False),
    Index("ix_run_tags_name_head", "name", "head", "run_id"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
)

run_inputs = Table(
    "run_inputs",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", Text, ForeignKey("snapshots.digest"), nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    _id(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", _EXACT, nullable=False),
    Column("digest", _EXACT, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text),
    Column("profile", Text),
    UniqueConstraint("experiment_id", "name", "digest"),
)

dataset_uses = Table(
    "dataset_uses",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("dataset_id", Text, ForeignKey("datasets.id"), primary_key=True, index=True),
    Column("tags", Text, nullable=False),
    Column("context", _EXACT),
)

logged_models = Table(
    "logged_models",
    metadata,
    _id(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", _EXACT, nullable=False),
    Column("kind", _EXACT, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id")),
    Column("state", Text, nullable=False),
    Column("author", Text, nullable=False),
    _at(),
    _at("updated"),
    Column("deleted", BigInteger),
    Index("ix_logged_models_experiment_id_created", "experiment_id", "created"),
)

logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("number", Double),
)

model_uses = Table(
    "model_uses",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
)

traces = Table(
    "traces",
    metadata,
    _id(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("state", Text, nullable=False),
    _at("started"),
    Column("duration", BigInteger),
    Column("request", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("client_id", _EXACT, nullable=False),
    Index("ix_traces_experiment_id_started", "experiment_id", "started"),
)

trace_tags = Table(
    "trace_tags",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

trace_metadata = Table(
    "trace_metadata",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

trace_links = Table(
    "trace_links",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("trace_id", Text, primary_key=True, index=True),
)

assessments = Table(
    "assessments",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", _EXACT, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("text", _EXACT, nullable=False),
    Column("number", Double),
    Column("error", Text),
    Column("source", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("rationale", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("overrides", Text, nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("session", Boolean, nullable=False),
    _at(),
    _at("updated"),
    Index("ix_assessments_session_name", "session", "name"),
)

trace_spans = Table(
    "trace_spans",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("parent_id", Text, nullable=False),
    Column("name", _EXACT, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("content", Text, nullable=False),
)

span_values = Table(
    "span_values",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("span_id", Text, primary_key=True),
    Column("name", _EXACT, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("rows", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("columns", Text, nullable=False),
    _at(),
    Column("author", Text, nullable=False),
)

series = Table(
    "series",
    metadata,
    Column("id", BigInteger, nullable=False, unique=True),
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last", LargeBinary),
    Column("last_number", Double),
    Column("min", LargeBinary, nullable=False),
    Column("max", LargeBinary, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Column("open", BigInteger, nullable=False),
    Index("ix_series_name_last_number", "name", "last_number", "run_id"),
    sqlite_with_rowid=False,
)

point_chunks = Table(
    "point_chunks",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id"), primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

writers = Table(
    "writers",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("writer", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("key", Text),
    Column("why", Text, nullable=False),
    _at("started"),
    _at("ended"),
    Column("output", Text),
    Column("error", Text),
    Index("ix_steps_name_run_id", "name", "run_id"),
)

cache_entries = Table(
    "cache_entries",
    metadata,
    Column("key", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("logged", Text),
    _at(),
    Index("ix_cache_entries_call_created", "call", "created"),
    Index("ix_cache_entries_step_created", "step", "created"),
)

#: What each key was made of, packed; also the keys of steps that nobody may reuse, so that they can be explained. ``code`` is
#: the key of the parts that it shares with others.
key_parts = Table(
    "key_parts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("code", Text),
    Column("data", LargeBinary, nullable=False),
)

#: Which run computes a call; not renewed for some seconds, it is anybody's.
claims = Table(
    "claims",
    metadata,
    Column("call", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    _at("renewed"),
    Index("ix_claims_run_id", "run_id"),
)

searches = Table(
    "searches",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("trials", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("author", Text, nullable=False),
    _at(),
    Column("ended", BigInteger),
    Column("key", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Index("ix_searches_key", "key"),
)

trials = Table(
    "trials",
    metadata,
    Column("search_id", Text, ForeignKey("searches.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, ForeignKey("runs.id")),
    Column("state", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("author", Text, nullable=False),
    _at(),
    Column("next", BigInteger),
    Column("position", BigInteger, nullable=False),
    Column("commit", Text),
)

firings = Table(
    "firings",
    metadata,
    _id(),
    Column("trigger", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("variation", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _at("at"),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("job_id", Text),
    UniqueConstraint("trigger", "key", "variation"),
    Index("ix_firings_state_trigger", "state", "trigger"),
    Index("ix_firings_job_id", "job_id"),
)

models = Table(
    "models",
    metadata,
    Column("name", _EXACT, primary_key=True),
    _at(),
    _at("updated"),
    Column("description", Text, nullable=False),
    Column("last", Integer, nullable=False),
)

model_tags = Table(
    "model_tags",
    metadata,
    Column("model", _EXACT, ForeignKey("models.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", _EXACT, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id")),
    Column("author", Text, nullable=False),
    _at(),
    _at("updated"),
    Column("meta", Text),
    Column("source", _EXACT, nullable=False),
    Column("model_id", Text, ForeignKey("logged_models.id")),
    Column("description", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Index("ix_versions_digest", "digest"),
)

version_tags = Table(
    "version_tags",
    metadata,
    Column("model", _EXACT, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", _EXACT, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", _EXACT, ForeignKey("models.name"), primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    _id(),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("champion", Text),
    Column("verdicts", Text, nullable=False),
    _at(),
    Index("ix_reports_model_number", "model", "number"),
)

grants = Table(
    "grants",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    _at(),
)

environments = Table("environments", metadata, Column("name", Text, primary_key=True), Column("policy", Text, nullable=False))

releases = Table(
    "releases",
    metadata,
    _id(),
    Column("environment", Text, ForeignKey("environments.name"), nullable=False),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("package", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("proposer", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _at(),
    Index("ix_releases_environment_model", "environment", "model"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("release_id", Text, ForeignKey("releases.id"), primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("note", Text, nullable=False),
    _at(),
)

deployments = Table(
    "deployments",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, ForeignKey("environments.name"), primary_key=True),
    Column("stable", Text),
    Column("previous", Text),
    Column("candidate", Text),
    Column("step", Integer, nullable=False),
    Column("policy", Text),
    Column("kill", Text),
    Column("generation", BigInteger, nullable=False),
    _at("updated"),
)

traffic = Table(
    "traffic",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("release_id", Text, primary_key=True),
    Column("track", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("paired", BigInteger, nullable=False),
    Column("flipped", BigInteger, nullable=False),
    Column("latency", Text, nullable=False),
)

planes = Table(
    "planes",
    metadata,
    Column("plane", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("report", Text, nullable=False),
    _at("at"),
    Column("dropped", BigInteger, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    _id(),
    Column("stream", Text, nullable=False),
    Column("data", LargeBinary),
    Column("digest", Text),
    Column("rows", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Index("ix_segments_stream_start", "stream", "start"),
)

prediction_index = Table(
    "prediction_index",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    _at("start"),
    _at("end"),
)

windows = Table(
    "windows",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, primary_key=True),
    Column("report", Text, nullable=False),
    Column("table", LargeBinary),
)

alerts = Table(
    "alerts",
    metadata,
    _id(),
    Column("model", Text, nullable=False, index=True),
    Column("environment", Text, nullable=False),
    _at("start"),
    _at("end"),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("finding", Text, nullable=False),
    _at(),
    Column("decision", Text, nullable=False),
    Column("job_id", Text),
    Column("acknowledged", Text),
    UniqueConstraint("model", "environment", "start", "end", "kind", "subject", name="uq_alerts_window"),
)

retrain_policies = Table(
    "retrain_policies",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("policy", Text, nullable=False),
)

retrainings = Table(
    "retrainings",
    metadata,
    Column("alert_id", Text, ForeignKey("alerts.id"), primary_key=True),
    Column("model", Text, nullable=False),
    Column("environment", Text, nullable=False),
    _at("at"),
    Column("release_id", Text),
    Column("outcome", Text),
)

webhooks = Table(
    "webhooks",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("happenings", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("signed", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    _at(),
    _at("updated"),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("due", BigInteger, nullable=False),
)


def upgrade() -> None:
    """Make the tables."""
    metadata.create_all(op.get_bind(), checkfirst=False)


def downgrade() -> None:
    """Drop the tables and all they hold."""
    metadata.drop_all(op.get_bind(), checkfirst=False)
