"""``plimsoll actors``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, say, show_list
from plimsoll.cli.session import door
from plimsoll.records.access import AddActor, ListActors, Role

app = App(name="actors")


@app.command(name="list")
def list_(form: Format = Format()) -> None:
    """List who may do what.

    Args:
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListActors())
    rows = [{"name": actor.name, "roles": actor.roles, "person": actor.person} for actor in found]
    show_list(rows, form, "There are no actors.")


@app.command
def add(name: str, *roles: Role, program: bool = False) -> None:
    """Add somebody and print their token once; adding a known name gives it a new token.

    Args:
        name: unique name.
        roles: read, write, approve, operate or admin; read when none is given.
        program: it is no person, so it can never approve.
    """
    with door() as opened:
        invitation = opened.do(AddActor(name=name, roles=roles or ("read",), person=not program))
    say(f"{name} may {', '.join(invitation.actor.roles)}. The token is shown once; {name} sets it as PLIMSOLL_TOKEN:")
    print(invitation.token)
