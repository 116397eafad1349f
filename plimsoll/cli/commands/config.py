"""``plimsoll config``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, show_list
from plimsoll.cli.session import project_folder
from plimsoll.data.project import SETTINGS, setting

app = App(name="config")


@app.command
def show(form: Format = Format()) -> None:
    """Print each setting and where its value comes from.

    Args:
        form: how to print.
    """
    project = project_folder()
    rows = []
    for name in ("url", *(name for name in SETTINGS if name != "url")):
        value, origin = setting(name, None, project)
        rows.append({"setting": name, "value": value, "origin": origin})
    show_list(rows, form, "")
