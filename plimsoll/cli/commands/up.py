"""``plimsoll up``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from plimsoll.cli.applied import apply_project
from plimsoll.cli.output import say
from plimsoll.cli.session import home_folder, project_folder
from plimsoll.data.project import read_project, setting
from plimsoll.errors import NotFound
from plimsoll.sdk.door import FolderDoor
from plimsoll.server.supervisor import Address, run
from plimsoll.workspace import open_workspace


def up(
    *,
    host: str | None = None,
    port: int | None = None,
    serving_port: int | None = None,
    home: str | None = None,
    parent: Annotated[int | None, Parameter(show=False)] = None,
) -> None:
    """Serve this project until Ctrl-C: control server, worker and, once something is deployed, the model server.

    Args:
        host: loopback interface to listen on.
        port: of the control server; 0 takes a free one.
        serving_port: of the model server; 0 takes a free one.
        home: folder for database, blobs and tokens.
        parent: id of the process without which this one ends as well.
    """
    project = project_folder()
    if project is None and home is None:
        raise NotFound("There is no pyproject.toml here or above.", "Make a project with: plimsoll init")
    workspace = open_workspace(home_folder(home), project)
    try:
        if project is not None:
            apply_project(FolderDoor(workspace, workspace.identify(workspace.token("owner"))), read_project(project), project)
        control = Address(host=str(setting("host", host, project)[0]), port=int(setting("port", port, project)[0]))
        serving = Address(host=control.host, port=int(setting("serving_port", serving_port, project)[0]))
        run(workspace, control, serving, _announce, parent)
    finally:
        workspace.close()


def _announce(control: Address, serving: Address) -> None:
    print(control.url, flush=True)
    models = serving.url if serving.port else f"a free port of {serving.host}"
    say(f"Plimsoll answers at {control.url}; models, once deployed, at {models}. Ctrl-C ends it.")
