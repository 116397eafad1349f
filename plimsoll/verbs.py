"""The platform on one page: what can be asked, which function does it, and which role it needs.

Route, client, role check, audit line and JSON command line are read from this table. Bytes (``/blobs/<digest>``, streamed)
and predictions (the serving plane) have their own paths; everything else is a row here. A row that is missing is denied.

Rows name types and functions as text, and each is imported when it is first used: a command that asks for five verbs would wait
longer for the other hundred than for its own. Processes that live long import all but the jobs as they begin.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from plimsoll.errors import NotFound
from plimsoll.records.access import Invitation, Role
from plimsoll.records.request import Request

#: ``read`` sees one state; ``write`` changes something in one transaction; ``job`` takes minutes and is the worker's.
Kind = Literal["read", "write", "job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One row."""

    #: Its request's class, as ``module:Class`` in ``plimsoll.records``; the class's name is the verb's name on the wire.
    asked: str
    #: What does it, as ``module:function`` in ``plimsoll``.
    function: Callable[..., Any] | str
    #: The role it needs.
    role: Role
    #: How it is done.
    kind: Kind
    #: Whether a change gets a line in the audit log; off for points, rows and steps, which are counted instead.
    audited: bool = True
    #: Whether what it wrote must outlive a power cut, which costs a wait for the disk; not so what only running processes need.
    durable: bool = True
    #: Whether a job may run the project's code or load a model; then it has a process to itself.
    user_code: bool = True
    #: Whether a job with a process to itself opens a model's package in any case; then the process is forked from one that is ready for it.
    package: bool = False

    @property
    def name(self) -> str:
        """The verb's name on the wire."""
        return self.asked.rpartition(":")[2]

    @property
    def request(self) -> type[Request[Any]]:
        """The request's class, imported now."""
        found: type[Request[Any]] = _named(f"records.{self.asked}")
        return found

    def load(self) -> Callable[..., Any]:
        """Return the function, importing its module now."""
        if not isinstance(self.function, str):
            return self.function
        found: Callable[..., Any] = _named(self.function)
        return found


@functools.cache
def _named(name: str) -> Any:
    module, _, inside = name.partition(":")
    return getattr(importlib.import_module(f"plimsoll.{module}"), inside)


def _read(asked: str, function: str, role: Role = "read") -> Verb:
    return Verb(asked=asked, function=function, role=role, kind="read")


def _write(asked: str, function: str, role: Role = "write", *, audited: bool = True, durable: bool = True) -> Verb:
    return Verb(asked=asked, function=function, role=role, kind="write", audited=audited, durable=durable)


def _job(asked: str, function: str, role: Role, *, user_code: bool = True, package: bool = False) -> Verb:
    return Verb(asked=asked, function=function, role=role, kind="job", user_code=user_code, package=package)


VERBS: tuple[Verb, ...] = (
    # Access
    _write("access:AddActor", "access:add_actor", "admin"),
    _read("access:WhoAmI", "access:who_am_i"),
    _read("access:ListActors", "access:list_actors"),
    _read("access:ListEvents", "access:list_events"),
    _read("access:VerifyEvents", "access:verify_events"),
    _read("access:GetJob", "access:get_job"),
    _read("access:ListJobs", "access:list_jobs"),
    # Experiments
    _write("tracking.experiment:CreateExperiment", "runs.experiments:create_experiment"),
    _read("tracking.experiment:GetExperiment", "runs.experiments:get_experiment"),
    _read("tracking.experiment:ListExperiments", "runs.experiments:list_experiments"),
    _read("tracking.experiment:SearchExperiments", "runs.search.experiments:search_experiments"),
    _write("tracking.experiment:RenameExperiment", "runs.experiments:rename_experiment"),
    _write("tracking.experiment:DeleteExperiment", "runs.experiments:delete_experiment"),
    _write("tracking.experiment:RestoreExperiment", "runs.experiments:restore_experiment"),
    _write("tracking.experiment:TagExperiment", "runs.experiments:tag_experiment"),
    # Runs
    _write("run:StartRun", "runs.lifecycle:start_run"),
    _write("run:ResumeRun", "runs.lifecycle:resume_run"),
    _write("run:BeatRun", "runs.lifecycle:beat_run", audited=False, durable=False),
    _write("run:FinishRun", "runs.lifecycle:finish_run"),
    _write("tracking.change:UpdateRun", "runs.lifecycle:update_run"),
    _write("tracking.change:DeleteRun", "runs.lifecycle:delete_run"),
    _write("tracking.change:RestoreRun", "runs.lifecycle:restore_run"),
    _write("tracking.change:LogBatch", "runs.logged:log_batch", audited=False),
    _write("tracking.change:LogDatasets", "runs.logged:log_datasets", audited=False),
    _read("tracking.dataset:ListReadDatasets", "runs.logged:list_read_datasets"),
    _write("run:SetTags", "runs.logged:set_tags"),
    _write("tracking.change:RemoveTags", "runs.logged:remove_run_tags"),
    _write("run:LogArtifact", "runs.lifecycle:log_artifact", audited=False),
    _write("tracking.change:RemoveArtifacts", "runs.lifecycle:remove_artifacts"),
    _write("run:LogInput", "runs.lifecycle:log_input", audited=False),
    _read("run:GetRun", "runs.lifecycle:get_run"),
    _read("tracking.find:SearchRuns", "runs.search.finding:search_runs"),
    _read("tracking.find:SearchRunTexts", "runs.search.texts:search_run_texts"),
    _write("run:AppendPoints", "runs.points:append_points", audited=False),
    _read("run:GetSeries", "runs.points:get_series"),
    _job("tracking.collect:Collect", "runs.collection.collect:collect", "operate", user_code=False),
    # Logged models
    _write("tracking.logged_model:CreateLoggedModel", "runs.outputs.logged_models:create_logged_model"),
    _read("tracking.logged_model:GetLoggedModel", "runs.outputs.logged_models:get_logged_model"),
    _write("tracking.logged_model:FinishLoggedModel", "runs.outputs.logged_models:finish_logged_model"),
    _write("tracking.logged_model:DeleteLoggedModel", "runs.outputs.logged_models:delete_logged_model"),
    _write("tracking.logged_model:TagLoggedModel", "runs.outputs.logged_models:tag_logged_model"),
    _write("tracking.logged_model:LogModelParams", "runs.outputs.logged_models:log_model_params", audited=False),
    _write("tracking.logged_model:LogModelMetrics", "runs.outputs.logged_models:log_model_metrics", audited=False),
    _write("tracking.logged_model:LinkModels", "runs.outputs.logged_models:link_models", audited=False),
    _read("tracking.logged_model:ListModelFiles", "runs.outputs.logged_models:list_model_files"),
    _write("tracking.logged_model:KeepModelFile", "runs.outputs.logged_models:keep_model_file", audited=False),
    _write("tracking.logged_model:DropModelFiles", "runs.outputs.logged_models:drop_model_files"),
    _read("tracking.logged_model:SearchLoggedModels", "runs.outputs.finding:search_logged_models"),
    # Request traces
    _write("tracking.traces.trace:RecordTrace", "runs.traces.recorded:record_trace", audited=False),
    _read("tracking.traces.trace:GetTrace", "runs.traces.recorded:get_trace"),
    _write("tracking.traces.trace:TagTrace", "runs.traces.recorded:tag_trace"),
    _write("tracking.traces.trace:LinkTraces", "runs.traces.recorded:link_traces", audited=False),
    _write("tracking.traces.trace:DeleteTraces", "runs.traces.recorded:delete_traces"),
    _read("tracking.traces.trace:ListTraceFiles", "runs.traces.recorded:list_trace_files"),
    _write("tracking.traces.trace:KeepTraceFile", "runs.traces.recorded:keep_trace_file", audited=False),
    _read("tracking.traces.trace:SearchTraces", "runs.traces.finding:search_traces"),
    _write("tracking.traces.span:RecordSpans", "runs.traces.spans:record_spans", audited=False),
    _read("tracking.traces.span:ListSpans", "runs.traces.spans:list_spans"),
    _write("tracking.traces.assessment:LogAssessment", "runs.traces.assessed:log_assessment", audited=False),
    _read("tracking.traces.assessment:GetAssessment", "runs.traces.assessed:get_assessment"),
    _write("tracking.traces.assessment:UpdateAssessment", "runs.traces.assessed:update_assessment"),
    _write("tracking.traces.assessment:DeleteAssessment", "runs.traces.assessed:delete_assessment"),
    # Data
    _write("data:RegisterSnapshot", "data.refs.registered:register_snapshot"),
    _read("data:GetSnapshot", "data.refs.registered:get_snapshot"),
    _read("data:ListSnapshots", "data.refs.registered:list_snapshots"),
    # Pipelines
    _read("pipeline:FindEntries", "pipelines.cache:find_entries"),
    _read("pipeline:GetEntry", "pipelines.cache:get_entry"),
    _read("pipeline:GetLatestEntry", "pipelines.cache:get_latest_entry"),
    _read("pipeline:GetKeyParts", "pipelines.cache:get_key_parts"),
    _write("pipeline:DropEntry", "pipelines.cache:drop_entry"),
    _write("pipeline:RecordSteps", "pipelines.cache:record_steps", audited=False),
    _write("pipeline:ClaimCalls", "pipelines.claims:claim_calls", audited=False, durable=False),
    _write("pipeline:RenewClaims", "pipelines.claims:renew_claims", audited=False, durable=False),
    _write("pipeline:ReleaseClaims", "pipelines.claims:release_claims", audited=False, durable=False),
    _read("pipeline:ListSteps", "pipelines.cache:list_steps"),
    _read("pipelines.kept:ListEntries", "pipelines.history.kept:list_entries"),
    _job("pipelines.kept:VerifyCache", "pipelines.history.kept:verify_cache", "write", user_code=False),
    _job("pipelines.kept:PruneCache", "pipelines.history.prune:prune_cache", "operate", user_code=False),
    _read("pipelines.history:ExplainStep", "pipelines.history.why:explain_step"),
    _read("pipelines.history:CompareRuns", "pipelines.history.compare:compare_runs"),
    _job("pipeline:RunPipeline", "pipelines.running:run_pipeline", "write"),
    # Searches
    _write("pipelines.search:StartSearch", "pipelines.search.ledger:start_search"),
    # A trial that a power cut took is run again, and its steps are found.
    _write("pipelines.search:RecordTrials", "pipelines.search.ledger:record_trials", audited=False, durable=False),
    _write("pipelines.search:FinishSearch", "pipelines.search.ledger:finish_search"),
    _read("pipelines.search:GetSearch", "pipelines.search.ledger:get_search"),
    _read("pipelines.search:ListSearches", "pipelines.search.ledger:list_searches"),
    # Triggers
    _write("pipelines.trigger:SetTrigger", "pipelines.triggers.firing:set_trigger", "operate"),
    _read("pipelines.trigger:ListTriggers", "pipelines.triggers.firing:list_triggers"),
    _write("pipelines.trigger:RemoveTrigger", "pipelines.triggers.firing:remove_trigger", "operate"),
    # A line of the audit log for each firing, also for those by themselves, is written beside it.
    _write("pipelines.trigger:FireTrigger", "pipelines.triggers.firing:fire_trigger", audited=False),
    _write("pipelines.trigger:FireDue", "pipelines.triggers.firing:fire_due", "work", audited=False),
    _read("pipelines.trigger:ListFirings", "pipelines.triggers.firing:list_firings"),
    # Registry
    _write("registry.catalog:CreateModel", "registry.catalog.names:create_model"),
    _read("registry.catalog:GetModel", "registry.catalog.names:get_model"),
    _write("registry.catalog:DescribeModel", "registry.catalog.names:describe_model"),
    _write("registry.catalog:RenameModel", "registry.catalog.names:rename_model"),
    _write("registry.catalog:DeleteModel", "registry.catalog.names:delete_model"),
    _write("registry.catalog:TagModel", "registry.catalog.names:tag_model"),
    _write("registry.catalog:SetAlias", "registry.catalog.names:set_alias"),
    _write("registry.catalog:RemoveAlias", "registry.catalog.names:remove_alias"),
    _read("registry.catalog:SearchModels", "registry.catalog.finding:search_models"),
    _write("registry.catalog:AdoptFiles", "registry.catalog.adopted:adopt_files"),
    _write("registry.catalog:UpdateVersion", "registry.catalog.adopted:update_version"),
    _write("registry.catalog:TagVersion", "registry.catalog.adopted:tag_version"),
    _write("registry.catalog:DeleteVersion", "registry.catalog.adopted:delete_version"),
    _read("registry.catalog:SearchVersions", "registry.catalog.finding:search_versions"),
    _write("model:CreateVersion", "registry.versions:create_version"),
    _read("model:GetVersion", "registry.versions:get_version"),
    _read("model:ListVersions", "registry.versions:list_versions"),
    _read("model:GetReport", "registry.versions:get_report"),
    _write("model:RecordReport", "registry.versions:record_report", "work"),
    _write("model:TrustPackage", "registry.versions:trust_package", "operate"),
    _read("model:ListGrants", "registry.versions:list_grants"),
    _read("model:GetLineage", "registry.lineage:get_lineage"),
    _read("deployment:ExplainPrediction", "registry.lineage:explain_prediction"),
    _job("model:CheckVersion", "registry.checks.examination:check_version", "write", package=True),
    _job("registry.packing:PackVersion", "registry.mlflow.packing:pack_version", "write", package=True),
    # Webhooks: their addresses may be secrets themselves, so whoever may only read does not see them. What is made and changed
    # leaves a line without the secret, written beside it.
    _write("registry.webhooks:CreateWebhook", "registry.webhooks.known:create_webhook", "operate", audited=False),
    _read("registry.webhooks:GetWebhook", "registry.webhooks.known:get_webhook", "operate"),
    _read("registry.webhooks:ListWebhooks", "registry.webhooks.known:list_webhooks", "operate"),
    _write("registry.webhooks:UpdateWebhook", "registry.webhooks.known:update_webhook", "operate", audited=False),
    _write("registry.webhooks:DeleteWebhook", "registry.webhooks.known:delete_webhook", "operate"),
    _job("registry.webhooks:TryWebhook", "registry.webhooks.trying:try_webhook", "operate", user_code=False),
    _write("registry.webhooks:TakeDeliveries", "registry.webhooks.taking:take_deliveries", "work", audited=False, durable=False),
    _write("registry.webhooks:SettleDelivery", "registry.webhooks.taking:settle_delivery", "work", audited=False, durable=False),
    # Releases
    _write("deployment:SetEnvironment", "registry.promotion:set_environment", "admin"),
    _read("deployment:ListEnvironments", "registry.promotion:list_environments"),
    _write("deployment:CreateRelease", "registry.promotion:create_release"),
    _read("deployment:GetRelease", "registry.promotion:get_release"),
    _read("deployment:ListReleases", "registry.promotion:list_releases"),
    _write("deployment:ApproveRelease", "registry.promotion:approve_release", "approve"),
    _write("deployment:RejectRelease", "registry.promotion:reject_release", "operate"),
    _read("deployment:ListApprovals", "registry.promotion:list_approvals"),
    # Deployments
    _read("deployment:ListDeployments", "serving.deployments:list_deployments"),
    _read("deployment:GetDeployment", "serving.deployments:get_deployment"),
    _write("deployment:StartRollout", "serving.deployments:start_rollout", "operate"),
    _read("deployment:JudgeRollout", "serving.rollout:judge_rollout"),
    _write("deployment:MoveRollout", "serving.rollout:move_rollout", "operate"),
    _write("deployment:RollBack", "serving.deployments:roll_back", "operate"),
    _write("deployment:KillDeployment", "serving.deployments:kill_deployment", "operate"),
    _write("deployment:ReviveDeployment", "serving.deployments:revive_deployment", "operate"),
    _read("plane:GetDesiredState", "serving.deployments:get_desired_state"),
    _write("plane:ReportPlane", "serving.deployments:report_plane", "serve", audited=False),
    _read("plane:ListPlanes", "serving.deployments:list_planes"),
    # Monitoring
    _write("monitor:AppendPredictions", "monitoring.log:append_predictions", "serve", audited=False),
    _write("monitor:AppendLabels", "monitoring.log:append_labels", audited=False),
    _job("monitor:SealPredictions", "monitoring.watch:seal_predictions", "operate", user_code=False),
    _job("monitor:WatchWindow", "monitoring.watch:watch_window", "operate", user_code=False),
    _write("monitor:RecordWindow", "monitoring.alerts:record_window", "work", audited=False),
    _read("monitor:ListWindows", "monitoring.alerts:list_windows"),
    _read("monitor:ListAlerts", "monitoring.alerts:list_alerts"),
    _write("monitor:AcknowledgeAlert", "monitoring.alerts:acknowledge_alert", "operate"),
    _write("monitor:SetRetrainPolicy", "monitoring.alerts:set_retrain_policy", "operate"),
    _job("monitor:Retrain", "monitoring.retrain:retrain", "work"),
    _write("monitor:RecordRetraining", "monitoring.alerts:record_retraining", "work"),
)

BY_NAME: dict[str, Verb] = {verb.name: verb for verb in VERBS}


def find(name: str) -> Verb:
    """Return the row of a verb.

    Args:
        name: the request's class name.

    Raises:
        NotFound: no row has this name.
    """
    if name not in BY_NAME:
        raise NotFound(f"There is no verb {name!r}.", "Compare the versions of client and server with: plimsoll doctor")
    return BY_NAME[name]


def load_all() -> None:
    """Import what every verb needs, save the jobs' functions: under a process that lives long the package may be upgraded."""
    for verb in VERBS:
        _named(f"records.{verb.asked}")
        if verb.kind != "job":
            verb.load()


def subject_of(request: Request[Any], result: Any) -> str:
    """Return what a verb was done to, as ``kind:name``, for the audit log.

    Args:
        request: what was asked.
        result: what it gave.
    """
    if isinstance(result, Invitation):
        return f"actor:{result.actor.name}"
    kind = type(result).__name__.lower()
    for source in (result, request):
        if (id := getattr(source, "id", None)) is not None:
            return f"{kind}:{id}"
        model = getattr(source, "model", None)
        if model is not None and (environment := getattr(source, "environment", None)) is not None:
            return f"{kind}:{model}@{environment}"
        if model is not None and (number := getattr(source, "number", None)) is not None:
            return f"{kind}:{model}/{number}"
        for field in ("digest", "name", "key"):
            if (value := getattr(source, field, None)) is not None:
                return f"{kind}:{value}"
    return kind
