"""A server for MLflow's own clients, as they come from PyPI, and the environments that these stand in: 2.22 and the newest 3.

Each client has an environment of its own beside this one; ``make test`` makes them. Without an environment its tests are
skipped by name; with ``CI=true`` they fail instead.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.begun import Begun

_STARTS_WITHIN = 180.0
_ENDS_WITHIN = 900.0


@dataclass(frozen=True)
class Served:
    """A running server."""

    #: Its address.
    url: str
    #: A token of the home's owner.
    token: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``plimsoll up`` in an empty project."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "pyproject.toml").write_text("[tool.plimsoll]\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "PLIMSOLL_WEBHOOK_HOSTS": "127.0.0.1"}
    command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0", "--parent", str(os.getpid())]
    log = folder / "log"
    with log.open("wb") as errors:
        process = Begun(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], _STARTS_WITHIN)
            url = process.stdout.readline().decode().strip() if ready else ""
            assert url.startswith("http://"), log.read_text()
            yield Served(url, (folder / ".plimsoll" / "secrets" / "owner").read_text().strip())
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                # What a test has found is not hidden by an end that takes long.
                process.kill()
                process.communicate()


def _python(generation: str) -> Path:
    """Return the Python of an environment with MLflow's client of one generation; without one the test is skipped."""
    path = Path(sys.prefix) / f"wire-{generation}" / "bin" / "python"
    if not path.exists():
        reason = f"MLflow's client {generation} needs the environment {path.parents[1]}, which is not there. Make it with: make test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(params=["2", "3"])
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with MLflow's client of one generation."""
    return _python(request.param)


def _environment(**variables: str) -> dict[str, str]:
    """Return the environment of a client's program.

    Args:
        variables: beside those that are no setting of Plimsoll's, of MLflow's or of this Python's.
    """
    # Bytecode is kept, unlike in other tests: an environment was installed without any, and is imported several times.
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PLIMSOLL_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", **variables}


def ends_well(command: Sequence[str | Path], folder: Path | None = None, **variables: str) -> str:
    """Run a program to its good end and return what it printed.

    Args:
        command: its words.
        folder: where it runs; None is here.
        variables: of its environment, see ``_environment``.
    """
    environment = _environment(**variables)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_ENDS_WITHIN)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-8000:]}"
    return done.stdout


class Client:
    """MLflow's client of one generation, imported once; each program is forked from that process, and so has its own.

    Args:
        generation: of MLflow.
        folder: an empty one, for what is kept between programs.
    """

    def __init__(self, generation: str, folder: Path) -> None:
        self.generation = generation
        self._said = folder / "said"
        # matplotlib looks at all fonts and remembers them in its folder.
        variables = _environment(MPLCONFIGDIR=str(folder), HOME=str(folder))
        command = [_python(generation), Path(__file__).with_name("forking.py")]
        self._process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _ENDS_WITHIN)
        assert ready, f"MLflow's client {self.generation} has not answered for {_ENDS_WITHIN} seconds."
        return self._process.stdout.readline().decode().strip()

    def ends_well(self, command: Sequence[str | Path], folder: Path, behind: Sequence[str] = (), **variables: str) -> None:
        """Run a program to its good end.

        Args:
            command: its path and its arguments.
            folder: where it runs.
            behind: where it looks for modules that its environment has not.
            variables: of its environment, see ``_environment``.
        """
        assert self._process.stdin is not None
        words = [str(word) for word in command]
        told = {"command": words, "folder": str(folder), "behind": behind, "variables": _environment(**variables), "said": str(self._said)}
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        assert self._answer() == "0", self._said.read_text()[-8000:]

    def close(self) -> None:
        """End the process that programs are forked from, and a program that did not end."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture(scope="module", params=["2", "3"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """MLflow's client of one generation."""
    made = Client(request.param, tmp_path_factory.mktemp("client"))
    yield made
    made.close()


def where(served: Served, tmp_path: Path) -> dict[str, str]:
    """Return the variables by which a program is told where it works.

    Args:
        served: the server.
        tmp_path: an empty folder, where it runs.
    """
    return {
        "MLFLOW_TRACKING_URI": served.url,
        "MLFLOW_TRACKING_TOKEN": served.token,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "HOME": str(tmp_path),
    }


def work(program: str, python: Path, served: Served, tmp_path: Path) -> None:
    """Run a program of ``clients/`` to its good end, in a process that was begun for it.

    Args:
        program: its name.
        python: of the client's environment.
        served: where it works.
        tmp_path: an empty folder, where it runs.
    """
    ends_well([python, Path(__file__).parent / "clients" / f"{program}.py"], tmp_path, **where(served, tmp_path))
