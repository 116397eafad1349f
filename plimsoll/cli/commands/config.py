"""``plimsoll config``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, show_list
from plimsoll.cli.session import project_folder
from plimsoll.data.project import PROJECT_FILE, SETTINGS, chosen_profile, read_project, setting

app = App(name="config")


@app.command
def show(*, profile: str | None = None, form: Format = Format()) -> None:
    """Print each setting, each declared parameter of a pipeline, and where its value comes from.

    Args:
        profile: name of a declared profile; the one that ``PLIMSOLL_PROFILE`` names unless given.
        form: how to print.
    """
    project = project_folder()
    rows = []
    for name in ("url", *(name for name in SETTINGS if name != "url")):
        value, origin = setting(name, None, project, profile)
        rows.append({"setting": name, "value": value, "origin": origin})
    if project is not None:
        named, chosen = chosen_profile(profile, project)
        layers = [(f"[tool.plimsoll] in {project / PROJECT_FILE}", read_project(project).params)]
        layers += [] if chosen is None else [(f"profile {named} in {project / PROJECT_FILE}", chosen.params)]
        found = {
            (ref, name): (value, origin)
            for origin, params in layers
            for ref, declared in params.items()
            for name, value in declared.items()
        }
        rows += [{"setting": f"{ref} {name}", "value": value, "origin": origin} for (ref, name), (value, origin) in found.items()]
    show_list(rows, form, "")
