"""The tables of tracking: experiments, runs and what they logged."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, LargeBinary, Table, Text, UniqueConstraint

from plimsoll.store.tables.columns import EXACT, Json, at_column, id_column, metadata

#: In ``deleted``: it is being removed for good and cannot be restored any more.
GONE = 0

experiments = Table(
    "experiments",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
    at_column(),
    at_column("updated"),
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
    id_column(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", EXACT, nullable=False),
    Column("state", Text, nullable=False),
    Column("author", EXACT, nullable=False),
    Column("cause", Json, nullable=False),
    Column("code", Json, nullable=False),
    Column("environment", Text),
    Column("machine", Json),
    at_column("started"),
    Column("ended", BigInteger),
    Column("error", Text),
    Column("key", Text, unique=True),
    # When its process last said that it lives, or NULL where none says so.
    Column("seen", BigInteger),
    Column("deleted", BigInteger),
    Index("ix_runs_experiment_id_started", "experiment_id", "started", "id"),
    Index("ix_runs_started_id", "started", "id"),
    # In the order of ids, as params and tags are.
    Index("ix_runs_experiment_id_id", "experiment_id", "id"),
)

#: So many first characters of a text are in the index by which it is found and ordered.
HEAD = 200

#: Each parameter as it was given, and ``text``, as search and MLflow's clients see it.
run_params = Table(
    "run_params",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Json),
    Column("text", EXACT, nullable=False),
    # The first HEAD characters of the text.
    Column("head", EXACT, nullable=False),
    Index("ix_run_params_name_head", "name", "head", "run_id"),
    # The row is in the tree of the key: one search instead of two.
    sqlite_with_rowid=False,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
    Column("head", EXACT, nullable=False),
    Index("ix_run_tags_name_head", "name", "head", "run_id"),
    sqlite_with_rowid=False,
)

#: What a run, a logged model or a trace kept; ``owner`` is the id of one of them.
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

#: Data that a run says it read, known by name and digest only; a snapshot is data that is kept.
datasets = Table(
    "datasets",
    metadata,
    id_column(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", EXACT, nullable=False),
    Column("digest", EXACT, nullable=False),
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
    Column("tags", Json, nullable=False),
    # What the data was for, such as ``training``: the tag ``mlflow.data.context``.
    Column("context", EXACT),
)

#: The files of a model in the layout of its framework, with what is known of them; its files are rows of ``artifacts``.
logged_models = Table(
    "logged_models",
    metadata,
    id_column(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", EXACT, nullable=False),
    Column("kind", EXACT, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id")),
    Column("state", Text, nullable=False),
    Column("author", Text, nullable=False),
    at_column(),
    at_column("updated"),
    Column("deleted", BigInteger),
    Index("ix_logged_models_experiment_id_created", "experiment_id", "created"),
)

logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
)

#: What was measured last of a logged model, of each metric, run and dataset; ``dataset`` and ``digest`` are empty for none.
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
    # As in series: the bits, and again as search compares it.
    Column("value", LargeBinary, nullable=False),
    Column("number", Double),
)

#: Which logged models a run read or made.
model_uses = Table(
    "model_uses",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("model_id", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
)

#: What happened while a program answered one request; the spans are rows of ``artifacts``.
traces = Table(
    "traces",
    metadata,
    id_column(),
    Column("experiment_id", Text, ForeignKey("experiments.id"), nullable=False),
    Column("state", Text, nullable=False),
    at_column("started"),
    Column("duration", BigInteger),
    Column("request", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("client_id", EXACT, nullable=False),
    Index("ix_traces_experiment_id_started", "experiment_id", "started"),
)

trace_tags = Table(
    "trace_tags",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
)

trace_metadata = Table(
    "trace_metadata",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", EXACT, nullable=False),
)

#: Traces that were said to belong to a run, beside the one that made them; a trace may come after that.
trace_links = Table(
    "trace_links",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("trace_id", Text, primary_key=True, index=True),
)

#: What somebody thinks of a trace; ``text`` and ``number`` are its value as search compares it. With ``session`` it is about the
#: trace's whole session.
assessments = Table(
    "assessments",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", EXACT, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Json, nullable=False),
    Column("text", EXACT, nullable=False),
    Column("number", Double),
    Column("error", Json),
    Column("source", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("rationale", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("overrides", Text, nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("session", Boolean, nullable=False),
    at_column(),
    at_column("updated"),
    Index("ix_assessments_session_name", "session", "name"),
)

#: Spans that came one by one; those that came as a file are a row of ``artifacts``. Times are nanoseconds.
trace_spans = Table(
    "trace_spans",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("parent_id", Text, nullable=False),
    Column("name", EXACT, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("content", Json, nullable=False),
)

#: What a search finds a span by: ``type``, ``status``, and ``attributes.`` with the name of each of its attributes.
span_values = Table(
    "span_values",
    metadata,
    Column("trace_id", Text, ForeignKey("traces.id"), primary_key=True),
    Column("span_id", Text, primary_key=True),
    Column("name", EXACT, primary_key=True),
    Column("value", EXACT, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("rows", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("columns", Json, nullable=False),
    at_column(),
    Column("author", Text, nullable=False),
)

series = Table(
    "series",
    metadata,
    # A number, since each chunk repeats it, twice.
    Column("id", BigInteger, nullable=False, unique=True),
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    # Packed IEEE 754 doubles: SQLite would turn NaN into NULL.
    Column("last", LargeBinary),
    # The last value again as search compares it: NULL for NaN.
    Column("last_number", Double),
    Column("min", LargeBinary, nullable=False),
    Column("max", LargeBinary, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    # Index of the first chunk that a later one may still take up.
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
    # Smallest and largest step.
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: Last batch applied of each writer, for points and segments: ``stream`` is a run's id or a segment's name.
writers = Table(
    "writers",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("writer", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)
