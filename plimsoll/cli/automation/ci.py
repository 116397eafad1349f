"""``plimsoll ci``."""

from __future__ import annotations

import sys
from pathlib import Path

from plimsoll.cli.asked import Asked
from plimsoll.cli.output import next_step, say
from plimsoll.cli.session import door
from plimsoll.data.environment import head, uncommitted
from plimsoll.data.project import find_project, read_project
from plimsoll.errors import InvalidInput, NotFound, PlimsollError
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.executors.choice import chosen_executor
from plimsoll.pipelines.running import execute
from plimsoll.pipelines.variations import refuse
from plimsoll.records.pipelines.trigger import FireTrigger, Firing, ListTriggers, SetTrigger, TriggerRule
from plimsoll.records.run import Cause
from plimsoll.sdk.door import Door


def ci(*, branch: str | None = None, profile: str | None = None) -> None:
    """Run here, in this checkout, what the project's git triggers want for its commit; the exit code says how it went.

    A commit whose run has finished is not run again. A checkout with changes of tracked files is refused: it is not the commit.

    Args:
        branch: the branch that the commit was pushed to; the checked-out one unless given.
        profile: name of a profile for the settings; the parameters are of the profile that each trigger names.
    """
    project = find_project(Path.cwd())
    rules = {name: rule for name, rule in read_project(project).triggers.items() if rule.on == "git" and rule.enabled}
    commit, found = head(project)
    if not commit:
        raise NotFound(f"{project} is at no commit of a git repository.", "Commit first: git commit")
    on = branch or found
    if not on and any(rule.branch for rule in rules.values()):
        raise InvalidInput("The commit is checked out without a branch.", "Say where it was pushed to: plimsoll ci --branch main")
    wanted = {name: rule for name, rule in rules.items() if rule.branch in ("", on)}
    if not wanted:
        say(f"No git trigger wants a commit of {on or 'no branch'}.")
        return
    if changed := uncommitted(project):
        raise InvalidInput(
            f"The checkout has changes that commit {commit[:12]} has not: {', '.join(changed[:5])}.",
            "Commit them or put them back; to try them: plimsoll run path.py:name",
        )
    failed: dict[str, PlimsollError] = {}
    with door(create=True, profile=profile) as opened:
        firings = [firing for name, rule in wanted.items() for firing in _taken(opened, name, rule, commit, on)]
        for firing in firings:
            name = " ".join(filter(None, (firing.trigger, firing.variation)))
            try:
                id = _run(opened, project, wanted[firing.trigger], firing)
                print(f"{name} {id}", flush=True)
            except PlimsollError as error:
                sys.stderr.write(error.details.get("traceback", ""))
                failed[name] = error
    if failed:
        next_step("plimsoll triggers history")
    refuse(failed, len(firings))


def _taken(opened: Door, name: str, rule: TriggerRule, commit: str, branch: str) -> tuple[Firing, ...]:
    known = {trigger.name: trigger.rule for trigger in opened.do(ListTriggers())}
    if known.get(name) != rule:
        opened.do(SetTrigger(name=name, rule=rule, declared=True))
    values = {"commit": commit, "branch": branch}
    return opened.do(FireTrigger(name=name, key=f"ci/{commit}", values=values, take=True))


def _run(opened: Door, project: Path, rule: TriggerRule, firing: Firing) -> str:
    asked = Asked(project=project, ref=rule.pipeline, params=firing.params, profile=rule.profile, variations=(firing.variation,))
    function = asked.load()
    settled = asked.settled(function)[firing.variation]

    def run(key: str | None) -> tuple[str, str]:
        result = execute(
            function,
            settled.params,
            do=opened.do,
            blobs=opened.blobs,
            project=project,
            experiment=rule.experiment,
            tags=settled.tags,
            cause=Cause(kind="trigger", id=firing.id),
            key=key,
            executor=chosen_executor(rule.executor, project, rule.profile),
            part=rule.part,
            on_step=_tell,
        )
        return result.id, result.run.state

    id, state = run(f"firing/{firing.id}")
    # One that failed earlier is what a job is started again for.
    return id if state == "finished" else run(None)[0]


def _tell(event: StepEvent) -> None:
    if event.state != "started":
        say(f"  {event.label:<20} {event.state:<8} {event.why}".rstrip())
