"""The command line: which words there are. Each command's file is imported when the word is used."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

from plimsoll.errors import PlimsollError


def build() -> App:
    """Return the application with every command, none of them imported yet."""
    app = App(
        name="plimsoll",
        help="From a notebook's model to a production service, and no model past the line without evidence.",
        version=lambda: version("plimsoll"),
        default_parameter=None,
        help_epilogue="Options everywhere: --json --csv --md on lists and records, --debug for a traceback.",
    )
    here = "plimsoll.cli.commands"
    app.command(f"{here}.init:init", name="init", help="Make a home for this project, and a project when there is none.")
    app.command(f"{here}.up:up", name="up", help="Serve this project: control server, worker and, once needed, the model server.")
    app.command(f"{here}.run:run", name="run", help="Run a pipeline.")
    app.command(f"{here}.demo:demo", name="demo", help="Watch one model go all the way round on real flights.")
    app.command(f"{here}.doctor:doctor", name="doctor", help="Look for what is wrong with this home and this machine.")
    app.command(f"{here}.config:app", name="config", help="Settings, and where each comes from.")
    access = {"actors": "Who may do what.", "jobs": "What the worker does and has done.", "events": "The audit log."}
    nouns = {
        "runs": "Executions with their parameters, metrics, code and data.",
        "models": "Registered models and their versions.",
        "checks": "What was found out about a version.",
        "releases": "Versions on their way into an environment.",
        "deployments": "What answers, what is on its way, and the kill switch.",
        "predictions": "Answers, and where they came from.",
        "alerts": "Findings worth a person.",
    }
    for room, words in (("nouns", nouns), ("access", access)):
        for noun, help in words.items():
            app.command(f"plimsoll.cli.{room}.{noun}:app", name=noun, help=help)
    app.command("plimsoll.cli.nouns.releases:approve", name="approve", help="Say yes to a release that somebody else made.")
    return app


def main() -> None:
    """Run the command line; exit 0 ok, 1 failure, 2 usage, 3 a check failed, 4 not found, 5 unreachable."""
    tokens = [token for token in sys.argv[1:] if token != "--debug"]
    debug = len(tokens) < len(sys.argv) - 1
    try:
        code = build()(tokens, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away; say nothing more, not even while Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except PlimsollError as error:
        if debug:
            raise
        print(f"error: {error.fact}", file=sys.stderr)
        if error.remedy:
            print(f"fix:   {error.remedy}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as defect:
        if debug:
            raise
        print(f"error: Plimsoll failed: {type(defect).__name__}: {defect}", file=sys.stderr)
        print("fix:   Run it again with --debug and report the traceback.", file=sys.stderr)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
