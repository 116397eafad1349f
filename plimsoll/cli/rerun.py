"""``python -m plimsoll.cli.rerun``: one pipeline, run in this process as a JSON document on stdin says.

``plimsoll reproduce`` and ``plimsoll run --bisect`` run earlier code in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from plimsoll import codec
from plimsoll.data.project import load_object
from plimsoll.errors import InvalidInput, PlimsollError
from plimsoll.pipelines.again.rerun import Asked, Reran
from plimsoll.pipelines.running import execute
from plimsoll.pipelines.settled import typed_params
from plimsoll.pipelines.step import is_pipeline
from plimsoll.records.pipelines.part import NO_PART, PartAsked
from plimsoll.records.run import GetRun
from plimsoll.sdk.door import open_door


def main() -> None:
    """Read what is asked, run it, and leave the answer where it is asked for."""
    asked = codec.from_json(sys.stdin.buffer.read(), Asked, "What is to be run again")
    answer = Path(asked.answer)
    try:
        found = _run(asked)
    except PlimsollError as error:
        sys.stderr.write(error.details.get("traceback", ""))
        found = Reran(run_id=error.details.get("run_id"), metrics={}, steps=(), error=str(error))
    unfinished = answer.with_suffix(".part")
    unfinished.write_bytes(codec.to_json(found))
    unfinished.replace(answer)


def _run(asked: Asked) -> Reran:
    project = Path(asked.project)
    function = load_object(project, asked.entry)
    if not is_pipeline(function):
        raise InvalidInput(f"{asked.entry} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    params = typed_params(function, asked.params)
    door = open_door(asked.url, project=project)
    try:
        result = execute(
            function,
            params,
            do=door.do,
            blobs=door.blobs,
            project=project,
            experiment=asked.experiment,
            tags=asked.tags,
            versions=False,
            part=PartAsked(until=asked.until) if asked.until else NO_PART,
        )
        # What steps logged counts as well as what the pipeline returned.
        metrics = {metric.name: metric.last for metric in door.do(GetRun(id=result.id)).metrics}
        return Reran(run_id=result.id, metrics=metrics, steps=tuple(step.record for step in result.steps))
    finally:
        door.close()


if __name__ == "__main__":
    main()
