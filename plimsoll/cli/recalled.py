"""A run that the home remembers and of which nothing has changed: made in less time than importing the project takes."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.asked import Asked
from plimsoll.cli.output import say
from plimsoll.cli.session import door
from plimsoll.data.project import setting
from plimsoll.pipelines.recall.memory import memory_file
from plimsoll.pipelines.recall.replay import Recalled, recall
from plimsoll.workspace import is_home


def memory_of(wanted: Asked, *more: object) -> Path | None:
    """Return where the memory of what was asked for lies; None where there is none: behind a server, or for variations.

    Args:
        wanted: what was asked for.
        more: whatever else decides what runs, JSON-able.
    """
    url = str(setting("url", None, wanted.project, wanted.profile)[0])
    if url.startswith("http") or wanted.variations != ("",):
        return None
    asked = [str(wanted.project), wanted.ref, wanted.params, wanted.profile, *more]
    return memory_file(Path(url), asked)


def recalled(memory: Path | None, wanted: Asked) -> Recalled | None:
    """Make the run that a memory tells of and say so; None where the run must go its usual way.

    Args:
        memory: what :func:`memory_of` gave.
        wanted: what was asked for.
    """
    if memory is None or not is_home(memory.parent.parent) or not memory.is_file():
        return None
    with door(profile=wanted.profile) as opened:
        made = recall(memory, do=opened.do, blobs=opened.blobs, project=wanted.project)
    if made is not None:
        for label in made.labels:
            say(f"  {label:<20} hit")
        say("Nothing changed: no step ran.")
    return made
