"""The command line: which words there are. Each command's file is imported when the word is used."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import version
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError
from cyclopts.exceptions import ConsumeMultipleError

from plimsoll.errors import PlimsollError


def _told(default: Any) -> str | None:
    """Return how help shows a default; None for one that says nothing."""
    if default is None or default is False or default in ("", ()):
        return None
    return ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def build() -> App:
    """Return the application with every command, none of them imported yet."""
    app = App(
        name="plimsoll",
        help="From a notebook's model to a production service, and no model past the line without evidence.",
        version=lambda: version("plimsoll"),
        default_parameter=Parameter(show_default=_told),
        # Else an interrupted command would end with 0, as if it had done its work.
        suppress_keyboard_interrupt=False,
        help_epilogue="Options everywhere: --json --csv --md on lists and records, --debug for a traceback.",
    )
    here = "plimsoll.cli.commands"
    app.command(f"{here}.init:init", name="init", help="Make a home for this project, and a project when there is none.")
    app.command(f"{here}.up:up", name="up", help="Serve this project: control server, worker and, once needed, the model server.")
    app.command(f"{here}.run:run", name="run", help="Run a pipeline.")
    app.command(f"{here}.search:app", name="search", help="Search for a pipeline's best parameters.")
    app.command("plimsoll.cli.automation.submit:submit", name="submit", help="Leave a pipeline's run for a server's worker.")
    app.command("plimsoll.cli.automation.ci:ci", name="ci", help="Run what the project's git triggers want for its commit.")
    app.command("plimsoll.cli.automation.triggers:app", name="triggers", help="Why pipelines start by themselves.")
    app.command(f"{here}.reproduce:reproduce", name="reproduce", help="Make a run anew from what was recorded of it, and compare.")
    app.command(f"{here}.demo:demo", name="demo", help="Watch one model go all the way round on real flights.")
    app.command("plimsoll.cli.keeping.doctor:doctor", name="doctor", help="Look for what is wrong with this home and this machine.")
    app.command(f"{here}.config:app", name="config", help="Settings, and where each comes from.")
    app.command("plimsoll.cli.keeping.collect:collect", name="collect", help="Remove for good what was deleted long ago.")
    app.command("plimsoll.cli.keeping.backup:backup", name="backup", help="Copy the platform while it goes on.")
    app.command("plimsoll.cli.keeping.backup:restore", name="restore", help="Make a home of a backup.")
    app.command("plimsoll.cli.tracking.moving:app", name="import", help="Move in from another platform.")
    app.command("plimsoll.cli.tracking.moving:export_", name="export", help="Write everything as Parquet and blobs.")
    app.command("plimsoll.cli.tracking.sync:sync", name="sync", help="Send what runs have left in their journals.")
    access = {
        "actors": "Who may do what.",
        "jobs": "What the worker does and has done.",
        "events": "The audit log.",
        "webhooks": "Who is told of what happens to models.",
    }
    nouns = {
        "cache": "What steps gave, kept for later runs, and why a step could not be reused.",
        "models": "Registered models and their versions.",
        "checks": "What was found out about a version.",
        "releases": "Versions on their way into an environment.",
        "deployments": "What answers, what is on its way, and the kill switch.",
        "predictions": "Answers, and where they came from.",
        "alerts": "Findings worth a person.",
    }
    tracking = {"experiments": "Named groups of runs.", "runs": "Executions with their parameters, metrics, code and data."}
    for room, words in (("tracking", tracking), ("nouns", nouns), ("access", access)):
        for noun, help in words.items():
            app.command(f"plimsoll.cli.{room}.{noun}:app", name=noun, help=help)
    app.command("plimsoll.cli.nouns.releases:approve", name="approve", help="Say yes to a release that somebody else made.")
    return app


def main() -> None:
    """Run the command line; exit 0 ok, 1 failure, 2 usage, 3 a check failed, 4 not found, 5 unreachable."""
    _stand()
    tokens = [token for token in sys.argv[1:] if token != "--debug"]
    debug = len(tokens) < len(sys.argv) - 1
    try:
        code = build()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        words = [word for word in error.command_chain or () if word != "plimsoll"]
        _fail(_said(error, " ".join(words)), f"Run: {' '.join(['plimsoll', *words, '--help'])}", 2)
    except KeyboardInterrupt:
        _fail("Interrupted.", "", 130)
    except (BrokenPipeError, SystemExit):
        # The reader went away; rich, which prints help and tables, says so by ending the process.
        _hush()
        sys.exit(0)
    except PlimsollError as error:
        if debug:
            raise
        _fail(error.fact, error.remedy, error.exit_code)
    except OSError as error:
        if debug:
            raise
        _fail(f"The operating system says no: {error}", _REMEDIES.get(error.errno or 0, "Look at the named file and at the disk."), 1)
    except Exception as defect:
        if debug:
            raise
        _fail(f"Plimsoll failed: {type(defect).__name__}: {defect}", "Run it again with --debug and report the traceback.", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _said(error: CycloptsError, command: str) -> str:
    """Return what is wrong with a command line, in our words where the parser's are about its own matters."""
    if isinstance(error, UnusedCliTokensError):
        return f"plimsoll {command} does not take {' '.join(error.unused_tokens or ())}."
    if not isinstance(error, MissingArgumentError) or isinstance(error, ConsumeMultipleError) or error.argument is None:
        return str(error)
    given = [token.keyword for token in error.argument.tokens if token.keyword]
    name = error.argument.name
    if given or error.keyword or error.tokens_so_far:
        count = error.argument.token_count()[0]
        return f"{error.keyword or (given[-1] if given else name)} needs {'a value' if count < 2 else f'{count} values'}."
    positional = error.argument.field_info.is_positional
    return f"plimsoll {command} needs {name.removeprefix('--').replace('-', '_').upper() if positional else name}."


#: What to do about an error of the operating system that no part of Plimsoll expected.
_REMEDIES = {
    errno.ENOSPC: "Free some room and do it again.",
    errno.EDQUOT: "Free some room and do it again.",
    errno.EROFS: "Choose a folder that can be written, with --home or PLIMSOLL_HOME.",
    errno.EACCES: "Give yourself access to it, or choose another home with PLIMSOLL_HOME.",
    errno.EPERM: "Give yourself access to it, or choose another home with PLIMSOLL_HOME.",
    errno.EMFILE: "Close some files, or raise the limit: ulimit -n 4096",
}


def _fail(fact: str, remedy: str, code: int) -> NoReturn:
    try:
        print(f"error: {fact}", file=sys.stderr)
        if remedy:
            print(f"fix:   {remedy}", file=sys.stderr)
        sys.stdout.flush()
    except OSError:
        # Nobody can read it, or the disk under the output is what is full; the code still tells.
        _hush()
    sys.exit(code)


def _stand() -> None:
    """Give the process its three streams when it was started without: the next file that is opened would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        # A standard stream, unlike other files, is handed on to the processes that are started.
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _hush() -> None:
    """Say nothing more, not even while Python closes its streams: the reader of our output went away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    main()
