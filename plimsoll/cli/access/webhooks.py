"""``plimsoll webhooks``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, say, show_list, when
from plimsoll.cli.session import door
from plimsoll.records.registry.webhooks import DeleteWebhook, ListWebhooks, TryWebhook

app = App(name="webhooks")


@app.command(name="list")
def list_(*, limit: int = 100, form: Format = Format()) -> None:
    """List who is told of what happens to models, and whom it did not reach.

    Args:
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListWebhooks(limit=limit)).webhooks
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "url": each.url,
            "events": ", ".join(each.happenings),
            "active": each.active,
            "made": when(each.created),
            "dropped": each.dropped,
            "error": each.error,
        }
        for each in found
    ]
    show_list(rows, form, "Nobody is told anything. Webhooks are made with MLflow's client: MlflowClient().create_webhook(...)")


@app.command(name="try")
def try_(id: str) -> int:
    """Tell a webhook of something made up, once; exit 3 when it does not take it.

    Args:
        id: the webhook's.
    """
    with door() as opened:
        trial = opened.do(TryWebhook(id=id))
    say(f"It answered {trial.status}." if trial.status else f"It did not answer: {trial.error}")
    return 0 if trial.taken else 3


@app.command
def remove(id: str) -> None:
    """Forget a webhook.

    Args:
        id: the webhook's.
    """
    with door() as opened:
        known = opened.do(DeleteWebhook(id=id))
    say(f"{known.name} is told nothing more.")
