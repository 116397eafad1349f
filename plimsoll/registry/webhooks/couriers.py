"""Who tells webhooks, beside the loop of the worker: a thread for each that has something to be told, so that none waits for another."""

from __future__ import annotations

import sys
import threading

from plimsoll.errors import PlimsollError
from plimsoll.records.registry.webhooks import Delivery, SettleDelivery, TakeDeliveries
from plimsoll.registry.webhooks.sending import deliver
from plimsoll.store.contracts import Do

#: Webhooks that are told something at once.
_AT_ONCE = 8

#: Seconds that the end waits for what is on its way.
_PATIENCE = 2.0


class Couriers:
    """Threads that tell webhooks what they are to be told.

    Killed on the way, what was not noted as told is told again once its time is over.

    Args:
        do: does verbs as the worker.
    """

    def __init__(self, do: Do) -> None:
        self._do = do
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def send_out(self) -> None:
        """Begin to tell what is due; returns at once."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        free = _AT_ONCE - len(self._threads)
        if free <= 0:
            return
        for delivery in self._do(TakeDeliveries(limit=free)):
            thread = threading.Thread(target=self._carry, args=(delivery,), name="courier", daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Begin nothing more, and wait a little for what is on its way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _carry(self, delivery: Delivery) -> None:
        """Tell one webhook all that it is to be told, and stop at the first that it does not take for now."""
        try:
            while True:
                told = deliver(delivery)
                error = "" if told.outcome == "sent" else told.why
                id = delivery.webhook_id
                self._do(SettleDelivery(webhook_id=id, sequence=delivery.sequence, outcome=told.outcome, error=error))
                more = () if self._stopping.is_set() else self._do(TakeDeliveries(limit=1, webhook_id=id))
                if not more:
                    return
                delivery = more[0]
        except PlimsollError as error:
            # What is not noted as told is told again.
            print(f"worker: webhook {delivery.webhook_id}: {error}", file=sys.stderr, flush=True)
