"""The tables. Every column is here once; the statements that use them stand beside the verbs.

A change of this file is an Alembic revision in ``migrations/versions`` and a new :data:`HEAD`. A test migrates an empty
database and compares it with these tables on every dialect.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from plimsoll.store.tables.columns import EXACT, Json, at_column, id_column, metadata
from plimsoll.store.tables.tracking import runs

#: Revision that this code reads and writes.
HEAD = "0001"


actors = Table(
    "actors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("roles", Json, nullable=False),
    Column("person", Boolean, nullable=False),
    Column("token_digest", Text, unique=True),
    at_column(),
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    at_column("at"),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("payload", Json, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    id_column(),
    Column("verb", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("key", Text),
    Column("worker", Text),
    Column("lease_until", BigInteger),
    Column("progress", Text, nullable=False),
    Column("result", Json),
    Column("error", Json),
    at_column(),
    Index("ix_jobs_state_due", "state", "due"),
    Index("ix_jobs_key", "key"),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, ForeignKey(runs.c.id), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("key", Text),
    Column("why", Text, nullable=False),
    at_column("started"),
    at_column("ended"),
    Column("output", Json),
    Column("error", Text),
    Index("ix_steps_name_run_id", "name", "run_id"),
)

cache_entries = Table(
    "cache_entries",
    metadata,
    Column("key", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("output", Json, nullable=False),
    Column("trace", Json, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("logged", Text),
    at_column(),
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
    Column("run_id", Text, ForeignKey(runs.c.id), nullable=False),
    at_column("renewed"),
    Index("ix_claims_run_id", "run_id"),
)

searches = Table(
    "searches",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    Column("plan", Json, nullable=False),
    Column("trials", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("author", Text, nullable=False),
    at_column(),
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
    Column("run_id", Text, ForeignKey(runs.c.id)),
    Column("state", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: Why pipelines start by themselves, and how far each trigger has looked.
triggers = Table(
    "triggers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Json, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("author", Text, nullable=False),
    at_column(),
    Column("next", BigInteger),
    Column("position", BigInteger, nullable=False),
    Column("commit", Text),
)

#: Each time that a trigger fired. The trigger may be gone by now.
firings = Table(
    "firings",
    metadata,
    id_column(),
    Column("trigger", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("variation", Text, nullable=False),
    Column("words", Json, nullable=False),
    Column("request", Json, nullable=False),
    Column("actor", Text, nullable=False),
    at_column("at"),
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
    Column("name", EXACT, primary_key=True),
    at_column(),
    at_column("updated"),
    Column("description", Text, nullable=False),
    # The number given last; one is never given twice, also when its version is deleted.
    Column("last", Integer, nullable=False),
)

model_tags = Table(
    "model_tags",
    metadata,
    Column("model", EXACT, ForeignKey("models.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", EXACT, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("run_id", Text, ForeignKey(runs.c.id)),
    Column("author", Text, nullable=False),
    at_column(),
    at_column("updated"),
    # What package.json says, or NULL for files in another layout.
    Column("meta", Json),
    Column("source", EXACT, nullable=False),
    Column("model_id", Text, ForeignKey("logged_models.id")),
    Column("description", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Index("ix_versions_digest", "digest"),
)

version_tags = Table(
    "version_tags",
    metadata,
    Column("model", EXACT, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", EXACT, ForeignKey("models.name"), primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    id_column(),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("champion", Text),
    Column("verdicts", Json, nullable=False),
    at_column(),
    Index("ix_reports_model_number", "model", "number"),
)

grants = Table(
    "grants",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    at_column(),
)

environments = Table("environments", metadata, Column("name", Text, primary_key=True), Column("policy", Json, nullable=False))

releases = Table(
    "releases",
    metadata,
    id_column(),
    Column("environment", Text, ForeignKey("environments.name"), nullable=False),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("package", Text, nullable=False),
    Column("config", Json, nullable=False),
    Column("digest", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("proposer", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    at_column(),
    Index("ix_releases_environment_model", "environment", "model"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("release_id", Text, ForeignKey("releases.id"), primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("note", Text, nullable=False),
    at_column(),
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
    # The rules with which the rollout began; a later change of the environment does not touch it.
    Column("policy", Json),
    Column("kill", Json),
    Column("generation", BigInteger, nullable=False),
    at_column("updated"),
)

#: Counters of a track, summed over all reports of one generation.
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
    Column("latency", Json, nullable=False),
)

planes = Table(
    "planes",
    metadata,
    Column("plane", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("report", Json, nullable=False),
    at_column("at"),
    Column("dropped", BigInteger, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    id_column(),
    Column("stream", Text, nullable=False),
    # A waiting chunk has ``data``; a sealed one has the digest of its Parquet blob.
    Column("data", LargeBinary),
    Column("digest", Text),
    Column("rows", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Index("ix_segments_stream_start", "stream", "start"),
)

#: Request ids to the segment streams that hold them, each with the first and last time ``at``, so that one answer is found without
#: reading a whole stream.
prediction_index = Table(
    "prediction_index",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    at_column("start"),
    at_column("end"),
)

windows = Table(
    "windows",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, primary_key=True),
    Column("report", Json, nullable=False),
    # What the next windows are compared with: counts in frozen cells, as msgpack.
    Column("table", LargeBinary),
)

alerts = Table(
    "alerts",
    metadata,
    id_column(),
    Column("model", Text, nullable=False, index=True),
    Column("environment", Text, nullable=False),
    at_column("start"),
    at_column("end"),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("finding", Json, nullable=False),
    at_column(),
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
    Column("policy", Json, nullable=False),
)

#: Every retraining that a policy started, by event time: what cooldown and budget count.
retrainings = Table(
    "retrainings",
    metadata,
    Column("alert_id", Text, ForeignKey("alerts.id"), primary_key=True),
    Column("model", Text, nullable=False),
    Column("environment", Text, nullable=False),
    at_column("at"),
    Column("release_id", Text),
    Column("outcome", Text),
)


#: Who is told of what happens to models, and how far in the audit log each has come.
webhooks = Table(
    "webhooks",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("happenings", Json, nullable=False),
    Column("description", Text, nullable=False),
    # The secret itself is a file of the home.
    Column("signed", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    at_column(),
    at_column("updated"),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    # Not before this time.
    Column("due", BigInteger, nullable=False),
)
