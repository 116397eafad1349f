"""The child process that holds one loaded model: ``python -m plimsoll.serving.replica``.

It inherits one socket, loads one package, and answers batches in the order in which they come, on one thread. When the
other end of the socket closes, because the plane stopped it or died, the process exits at once, even inside a prediction.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from plimsoll import codec, errors
from plimsoll.errors import PlimsollError
from plimsoll.registry.package import Model, open_package
from plimsoll.serving.batching import HEAD, Batch, Loaded, Outcome

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Load the package and answer batches until the socket ends.

    Args:
        arguments: command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="plimsoll.serving.replica", description="One loaded model behind a socket.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--folder", type=Path, required=True, help="the unpacked package")
    parser.add_argument("--digest", required=True, help="the package's digest")
    parser.add_argument("--trusted", action="store_true", help="code inside the package may run")
    chosen = parser.parse_args(arguments)
    # What a model prints must not mix with what the plane prints for its caller.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wire = socket.socket(fileno=chosen.fd)
    wire.setblocking(True)
    threading.Thread(target=_exit_when_ended, args=(wire.fileno(),), name="end-of-socket", daemon=True).start()
    try:
        model = open_package(chosen.folder, chosen.digest, chosen.trusted)
        _send(wire, Loaded(meta=codec.plain(model.meta)))
    except PlimsollError as error:
        _send(wire, Loaded(meta=None, error=errors.to_wire(error)))
        return error.exit_code
    except Exception as error:
        # Whatever a package's own code raises while loading is the package's failure, not this program's.
        log.exception("loading failed", extra={"action": "load_failed"})
        failure = errors.PredictionFailed(f"The package does not load: {_described(error)}.", "Look at the replica's log.")
        _send(wire, Loaded(meta=None, error=errors.to_wire(failure)))
        return 1
    while (frame := _receive(wire)) is not None:
        _send(wire, answer(model, codec.from_msgpack(frame, Batch, "The batch")))
    return 0


def answer(model: Model, batch: Batch) -> Outcome:
    """Return the model's answers; what the model raises becomes the outcome's error.

    Args:
        model: a loaded package.
        batch: rows to answer.
    """
    try:
        frame = model.frame(batch.columns)
    except PlimsollError as error:
        return Outcome(values=b"", error=str(error), refused=True)
    try:
        values = np.asarray(model.predict(frame), dtype="<f8")
        if values.shape != (batch.rows,):
            return Outcome(values=b"", error=f"it gave an answer of shape {values.shape} for {batch.rows} rows")
        return Outcome(values=values.tobytes())
    except Exception as error:
        log.warning("prediction failed", exc_info=True, extra={"action": "prediction_failed"})
        return Outcome(values=b"", error=_described(error))


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"


def _exit_when_ended(descriptor: int) -> None:
    # Registered for no event at all, poll still reports the hang-up, so batches are left to the main thread.
    poll = select.poll()
    poll.register(descriptor, 0)
    while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll()):
        continue
    os._exit(0)


def _send(wire: socket.socket, message: Any) -> None:
    frame = codec.to_msgpack(message)
    wire.sendall(HEAD.pack(len(frame)) + frame)


def _receive(wire: socket.socket) -> bytes | None:
    head = _exactly(wire, HEAD.size)
    if head is None:
        return None
    return _exactly(wire, HEAD.unpack(head)[0])


def _exactly(wire: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    filled = 0
    while filled < size:
        count = wire.recv_into(view[filled:])
        if not count:
            return None
        filled += count
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
