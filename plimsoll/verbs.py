"""The platform on one page: what can be asked, which function does it, and which role it needs.

Route, client, role check, audit line and JSON command line are read from this table. Bytes (``/blobs/<digest>``, streamed)
and predictions (the serving plane) have their own paths; everything else is a row here. A row that is missing is denied.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from plimsoll import access
from plimsoll.data import snapshot
from plimsoll.errors import NotFound
from plimsoll.monitoring import alerts, log
from plimsoll.pipelines import cache, claims
from plimsoll.pipelines.history import compare, kept, why
from plimsoll.pipelines.search import ledger
from plimsoll.pipelines.triggers import firing
from plimsoll.records import access as a
from plimsoll.records import data as d
from plimsoll.records import deployment as dep
from plimsoll.records import model as m
from plimsoll.records import monitor as mon
from plimsoll.records import pipeline as p
from plimsoll.records import plane as pl
from plimsoll.records import run as r
from plimsoll.records.access import Role
from plimsoll.records.pipelines import history as h
from plimsoll.records.pipelines import kept as k
from plimsoll.records.pipelines import search as s
from plimsoll.records.pipelines import trigger as t
from plimsoll.records.registry import catalog as g
from plimsoll.records.registry import packing as pk
from plimsoll.records.request import Request
from plimsoll.records.tracking import change as c
from plimsoll.records.tracking import collect as co
from plimsoll.records.tracking import experiment as e
from plimsoll.records.tracking import find as f
from plimsoll.records.tracking import logged_model as lm
from plimsoll.records.tracking.traces import assessment as asm
from plimsoll.records.tracking.traces import span as sp
from plimsoll.records.tracking.traces import trace as tr
from plimsoll.registry import lineage, promotion, versions
from plimsoll.registry.catalog import adopted, names
from plimsoll.registry.catalog import finding as catalog_finding
from plimsoll.runs import experiments, lifecycle, logged, points
from plimsoll.runs.outputs import finding as logged_finding
from plimsoll.runs.outputs import logged_models
from plimsoll.runs.search import experiments as found_experiments
from plimsoll.runs.search import finding
from plimsoll.runs.traces import assessed, recorded, spans
from plimsoll.runs.traces import finding as found_traces
from plimsoll.serving import deployments, rollout

#: ``read`` sees one state; ``write`` changes something in one transaction; ``job`` takes minutes and is the worker's.
Kind = Literal["read", "write", "job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One row."""

    #: The request's class; its name is the verb's name on the wire.
    request: type[Request[Any]]
    #: What does it. A job is named as ``module:function``, so that only the worker loads what it needs.
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

    @property
    def name(self) -> str:
        """The verb's name on the wire."""
        return self.request.__name__

    def load(self) -> Callable[..., Any]:
        """Return the function, importing a job's module now."""
        if not isinstance(self.function, str):
            return self.function
        module, _, name = self.function.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found


def _read(request: type[Request[Any]], function: Callable[..., Any]) -> Verb:
    return Verb(request=request, function=function, role="read", kind="read")


def _write(
    request: type[Request[Any]], function: Callable[..., Any], role: Role = "write", *, audited: bool = True, durable: bool = True
) -> Verb:
    return Verb(request=request, function=function, role=role, kind="write", audited=audited, durable=durable)


def _job(request: type[Request[Any]], function: str, role: Role, *, user_code: bool = True) -> Verb:
    return Verb(request=request, function=function, role=role, kind="job", user_code=user_code)


VERBS: tuple[Verb, ...] = (
    # Access
    _write(a.AddActor, access.add_actor, "admin"),
    _read(a.WhoAmI, access.who_am_i),
    _read(a.ListActors, access.list_actors),
    _read(a.ListEvents, access.list_events),
    _read(a.VerifyEvents, access.verify_events),
    _read(a.GetJob, access.get_job),
    _read(a.ListJobs, access.list_jobs),
    # Experiments
    _write(e.CreateExperiment, experiments.create_experiment),
    _read(e.GetExperiment, experiments.get_experiment),
    _read(e.ListExperiments, experiments.list_experiments),
    _read(e.SearchExperiments, found_experiments.search_experiments),
    _write(e.RenameExperiment, experiments.rename_experiment),
    _write(e.DeleteExperiment, experiments.delete_experiment),
    _write(e.RestoreExperiment, experiments.restore_experiment),
    _write(e.TagExperiment, experiments.tag_experiment),
    # Runs
    _write(r.StartRun, lifecycle.start_run),
    _write(r.ResumeRun, lifecycle.resume_run),
    _write(r.BeatRun, lifecycle.beat_run, audited=False, durable=False),
    _write(r.FinishRun, lifecycle.finish_run),
    _write(c.UpdateRun, lifecycle.update_run),
    _write(c.DeleteRun, lifecycle.delete_run),
    _write(c.RestoreRun, lifecycle.restore_run),
    _write(c.LogBatch, logged.log_batch, audited=False),
    _write(c.LogDatasets, logged.log_datasets, audited=False),
    _write(r.SetTags, logged.set_tags),
    _write(c.RemoveTags, logged.remove_run_tags),
    _write(r.LogArtifact, lifecycle.log_artifact, audited=False),
    _write(c.RemoveArtifacts, lifecycle.remove_artifacts),
    _write(r.LogInput, lifecycle.log_input, audited=False),
    _read(r.GetRun, lifecycle.get_run),
    _read(f.SearchRuns, finding.search_runs),
    _write(r.AppendPoints, points.append_points, audited=False),
    _read(r.GetSeries, points.get_series),
    _job(co.Collect, "plimsoll.runs.collection.collect:collect", "operate", user_code=False),
    # Logged models
    _write(lm.CreateLoggedModel, logged_models.create_logged_model),
    _read(lm.GetLoggedModel, logged_models.get_logged_model),
    _write(lm.FinishLoggedModel, logged_models.finish_logged_model),
    _write(lm.DeleteLoggedModel, logged_models.delete_logged_model),
    _write(lm.TagLoggedModel, logged_models.tag_logged_model),
    _write(lm.LogModelParams, logged_models.log_model_params, audited=False),
    _write(lm.LogModelMetrics, logged_models.log_model_metrics, audited=False),
    _write(lm.LinkModels, logged_models.link_models, audited=False),
    _read(lm.ListModelFiles, logged_models.list_model_files),
    _write(lm.KeepModelFile, logged_models.keep_model_file, audited=False),
    _write(lm.DropModelFiles, logged_models.drop_model_files),
    _read(lm.SearchLoggedModels, logged_finding.search_logged_models),
    # Request traces
    _write(tr.RecordTrace, recorded.record_trace, audited=False),
    _read(tr.GetTrace, recorded.get_trace),
    _write(tr.TagTrace, recorded.tag_trace),
    _write(tr.DeleteTraces, recorded.delete_traces),
    _read(tr.ListTraceFiles, recorded.list_trace_files),
    _write(tr.KeepTraceFile, recorded.keep_trace_file, audited=False),
    _read(tr.SearchTraces, found_traces.search_traces),
    _write(sp.RecordSpans, spans.record_spans, audited=False),
    _read(sp.ListSpans, spans.list_spans),
    _write(asm.LogAssessment, assessed.log_assessment, audited=False),
    _read(asm.GetAssessment, assessed.get_assessment),
    _write(asm.UpdateAssessment, assessed.update_assessment),
    _write(asm.DeleteAssessment, assessed.delete_assessment),
    # Data
    _write(d.RegisterSnapshot, snapshot.register_snapshot),
    _read(d.GetSnapshot, snapshot.get_snapshot),
    _read(d.ListSnapshots, snapshot.list_snapshots),
    # Pipelines
    _read(p.FindEntries, cache.find_entries),
    _read(p.GetEntry, cache.get_entry),
    _read(p.GetLatestEntry, cache.get_latest_entry),
    _read(p.GetKeyParts, cache.get_key_parts),
    _write(p.DropEntry, cache.drop_entry),
    _write(p.RecordSteps, cache.record_steps, audited=False),
    _write(p.ClaimCalls, claims.claim_calls, audited=False, durable=False),
    _write(p.RenewClaims, claims.renew_claims, audited=False, durable=False),
    _write(p.ReleaseClaims, claims.release_claims, audited=False, durable=False),
    _read(p.ListSteps, cache.list_steps),
    _read(k.ListEntries, kept.list_entries),
    _job(k.VerifyCache, "plimsoll.pipelines.history.kept:verify_cache", "write", user_code=False),
    _job(k.PruneCache, "plimsoll.pipelines.history.prune:prune_cache", "operate", user_code=False),
    _read(h.ExplainStep, why.explain_step),
    _read(h.CompareRuns, compare.compare_runs),
    _job(p.RunPipeline, "plimsoll.pipelines.running:run_pipeline", "write"),
    # Searches
    _write(s.StartSearch, ledger.start_search),
    # A trial that a power cut took is run again, and its steps are found.
    _write(s.RecordTrials, ledger.record_trials, audited=False, durable=False),
    _write(s.FinishSearch, ledger.finish_search),
    _read(s.GetSearch, ledger.get_search),
    _read(s.ListSearches, ledger.list_searches),
    # Triggers
    _write(t.SetTrigger, firing.set_trigger, "operate"),
    _read(t.ListTriggers, firing.list_triggers),
    _write(t.RemoveTrigger, firing.remove_trigger, "operate"),
    # A line of the audit log for each firing, also for those by themselves, is written beside it.
    _write(t.FireTrigger, firing.fire_trigger, audited=False),
    _write(t.FireDue, firing.fire_due, "work", audited=False),
    _read(t.ListFirings, firing.list_firings),
    # Registry
    _write(g.CreateModel, names.create_model),
    _read(g.GetModel, names.get_model),
    _write(g.DescribeModel, names.describe_model),
    _write(g.RenameModel, names.rename_model),
    _write(g.DeleteModel, names.delete_model),
    _write(g.TagModel, names.tag_model),
    _write(g.SetAlias, names.set_alias),
    _write(g.RemoveAlias, names.remove_alias),
    _read(g.SearchModels, catalog_finding.search_models),
    _write(g.AdoptFiles, adopted.adopt_files),
    _write(g.UpdateVersion, adopted.update_version),
    _write(g.TagVersion, adopted.tag_version),
    _write(g.DeleteVersion, adopted.delete_version),
    _read(g.SearchVersions, catalog_finding.search_versions),
    _write(m.CreateVersion, versions.create_version),
    _read(m.GetVersion, versions.get_version),
    _read(m.ListVersions, versions.list_versions),
    _read(m.GetReport, versions.get_report),
    _write(m.RecordReport, versions.record_report, "work"),
    _write(m.TrustPackage, versions.trust_package, "operate"),
    _read(m.ListGrants, versions.list_grants),
    _read(m.GetLineage, lineage.get_lineage),
    _read(dep.ExplainPrediction, lineage.explain_prediction),
    _job(m.CheckVersion, "plimsoll.registry.checks.examination:check_version", "write"),
    _job(pk.PackVersion, "plimsoll.registry.mlflow.packing:pack_version", "write"),
    # Releases
    _write(dep.SetEnvironment, promotion.set_environment, "admin"),
    _read(dep.ListEnvironments, promotion.list_environments),
    _write(dep.CreateRelease, promotion.create_release),
    _read(dep.GetRelease, promotion.get_release),
    _read(dep.ListReleases, promotion.list_releases),
    _write(dep.ApproveRelease, promotion.approve_release, "approve"),
    _write(dep.RejectRelease, promotion.reject_release, "operate"),
    _read(dep.ListApprovals, promotion.list_approvals),
    # Deployments
    _read(dep.ListDeployments, deployments.list_deployments),
    _read(dep.GetDeployment, deployments.get_deployment),
    _write(dep.StartRollout, deployments.start_rollout, "operate"),
    _read(dep.JudgeRollout, rollout.judge_rollout),
    _write(dep.MoveRollout, rollout.move_rollout, "operate"),
    _write(dep.RollBack, deployments.roll_back, "operate"),
    _write(dep.KillDeployment, deployments.kill_deployment, "operate"),
    _write(dep.ReviveDeployment, deployments.revive_deployment, "operate"),
    _read(pl.GetDesiredState, deployments.get_desired_state),
    _write(pl.ReportPlane, deployments.report_plane, "serve", audited=False),
    _read(pl.ListPlanes, deployments.list_planes),
    # Monitoring
    _write(mon.AppendPredictions, log.append_predictions, "serve", audited=False),
    _write(mon.AppendLabels, log.append_labels, audited=False),
    _job(mon.SealPredictions, "plimsoll.monitoring.watch:seal_predictions", "operate", user_code=False),
    _job(mon.WatchWindow, "plimsoll.monitoring.watch:watch_window", "operate", user_code=False),
    _write(mon.RecordWindow, alerts.record_window, "work", audited=False),
    _read(mon.ListWindows, alerts.list_windows),
    _read(mon.ListAlerts, alerts.list_alerts),
    _write(mon.AcknowledgeAlert, alerts.acknowledge_alert, "operate"),
    _write(mon.SetRetrainPolicy, alerts.set_retrain_policy, "operate"),
    _job(mon.Retrain, "plimsoll.monitoring.retrain:retrain", "work"),
    _write(mon.RecordRetraining, alerts.record_retraining, "work"),
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


def subject_of(request: Request[Any], result: Any) -> str:
    """Return what a verb was done to, as ``kind:name``, for the audit log.

    Args:
        request: what was asked.
        result: what it gave.
    """
    if isinstance(result, a.Invitation):
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
