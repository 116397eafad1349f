"""What ``[tool.plimsoll]`` declares, brought to the platform by ``init`` and ``up``."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.output import say
from plimsoll.data.project import ProjectTable
from plimsoll.data.refs.pipeline import check_pipeline
from plimsoll.errors import PlimsollError
from plimsoll.records.deployment import ListEnvironments, SetEnvironment
from plimsoll.records.monitor import SetRetrainPolicy
from plimsoll.records.pipelines.trigger import ListTriggers, RemoveTrigger, SetTrigger, TriggerRule
from plimsoll.sdk.door import Door


def apply_project(opened: Door, table: ProjectTable, project: Path) -> None:
    """Bring environments, retraining policies and triggers in line with ``[tool.plimsoll]``; what is the same is left alone.

    A trigger that an earlier table declared, and this one does not, is removed. One whose pipeline, or a parameter of it, is not there
    is told and set all the same: the table may be ahead of the code.

    Args:
        opened: a door whose actor is an admin.
        table: the project's table.
        project: folder of the project.
    """
    known = {found.name: found.policy for found in opened.do(ListEnvironments())}
    for name, policy in table.environments.items():
        if known.get(name) != policy:
            opened.do(SetEnvironment(name=name, policy=policy))
    for model, retraining in table.retrain.items():
        opened.do(SetRetrainPolicy(model=model, policy=retraining))
    set_before = {found.name: found for found in opened.do(ListTriggers())}
    for name, rule in table.triggers.items():
        before = set_before.get(name)
        if before is None or (before.rule, before.declared) != (rule, True):
            opened.do(SetTrigger(name=name, rule=rule, declared=True))
        if rule.enabled:
            _tell_missing(name, rule, project)
    for name, before in set_before.items():
        if before.declared and name not in table.triggers:
            opened.do(RemoveTrigger(name=name))


def _tell_missing(name: str, rule: TriggerRule, project: Path) -> None:
    try:
        check_pipeline(project, rule.pipeline, rule.params)
    except (PlimsollError, OSError) as error:
        say(f"The trigger {name!r} would fail: {error}")
