"""Serve one package folder without any server: ``python -m plimsoll.server.standalone FOLDER --digest D``.

Prints one JSON line with ``address``, ``pid`` (this process), ``replica`` (the model's process) and ``ready_seconds`` when it
answers. Nothing is logged and nothing is reported. Used by the checks' trial and by ``plimsoll serve``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from plimsoll import clock, codec
from plimsoll.errors import Corrupt, PlimsollError, Unavailable
from plimsoll.records.deployment import ServingConfig
from plimsoll.records.model import PackageMeta
from plimsoll.records.plane import DesiredModel, DesiredState, Track
from plimsoll.server.inference import hosts_of
from plimsoll.server.plane import address_of, application, listen, serve
from plimsoll.serving.plane import Plane


@dataclass(frozen=True, slots=True, kw_only=True)
class OneFolder:
    """The only package, where it lies."""

    #: The unpacked package.
    folder: Path
    #: Called, from any thread, when the files are not the package any more: there is nowhere to fetch them from.
    damaged: Callable[[], object]

    def locate(self, digest: str) -> Path:
        """Return the folder.

        Args:
            digest: of the package; compared with the files when they are loaded.
        """
        return self.folder

    def forget(self, digest: str) -> None:
        """Leave the folder as it is, since it is the caller's, and tell that it cannot be loaded any more.

        Args:
            digest: of the package.
        """
        self.damaged()

    def prune(self, keep: Callable[[], set[str]]) -> None:
        """Leave the folder as it is: it is the caller's.

        Args:
            keep: not asked.
        """


async def serve_folder(track: Track, folder: Path, host: str, port: int) -> None:
    """Serve one package until SIGTERM or SIGINT, after printing one JSON line.

    Args:
        track: what is served, and how.
        folder: the unpacked package.
        host: a loopback address.
        port: TCP port; 0 takes a free one.

    Raises:
        Corrupt: the folder was changed, so that the model cannot be started again.
        PlimsollError: the package does not load; as :func:`plimsoll.registry.package.open_package` raises.
    """
    began = clock.monotonic()
    listener = listen(host, port)
    meta = codec.from_json((folder / "package.json").read_bytes(), PackageMeta, "package.json")
    loop, damaged = asyncio.get_running_loop(), asyncio.Event()
    plane = Plane("standalone", OneFolder(folder=folder, damaged=lambda: loop.call_soon_threadsafe(damaged.set)), None)
    try:
        desired = DesiredModel(model=meta.model, generation=1, tracks=(track,), kill=None)
        plane.apply(DesiredState(environment="standalone", models=(desired,)))
        await _loaded(plane)

        def ready() -> None:
            line = {
                "address": address_of(listener),
                "pid": os.getpid(),
                "replica": plane.replicas[0].pid,
                "ready_seconds": round(clock.monotonic() - began, 3),
            }
            print(codec.to_json(line).decode(), flush=True)

        stopping = loop.create_task(_stop_when(damaged))
        await serve(application(plane, None, hosts_of(listener.getsockname()[1], ()), {"pid": os.getpid()}), listener, ready)
        stopping.cancel()
        if damaged.is_set():
            raise Corrupt(f"The package in {str(folder)!r} was changed while it was served.", "Unpack it again, then serve it again.")
    finally:
        listener.close()
        await plane.close()


async def _stop_when(damaged: asyncio.Event) -> None:
    await damaged.wait()
    signal.raise_signal(signal.SIGTERM)


async def _loaded(plane: Plane) -> None:
    while plane.tracks[0].state == "loading":
        await asyncio.sleep(0.005)
    if plane.tracks[0].state == "failed":
        raise Unavailable(f"The package does not load: {plane.tracks[0].reason}", "Correct what it says and start again.")


def main(arguments: list[str] | None = None) -> int:
    """Serve one package folder.

    Args:
        arguments: command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="plimsoll.server.standalone", description="Serve one package folder.")
    parser.add_argument("folder", type=Path, help="the unpacked package")
    parser.add_argument("--digest", required=True, help="the package's digest")
    parser.add_argument("--trusted", action="store_true", help="code inside the package may run")
    parser.add_argument("--number", type=int, default=1, help="version number to answer with")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    chosen = parser.parse_args(arguments)
    track = Track(
        name="stable",
        release_id="",
        number=chosen.number,
        package=chosen.digest,
        share=1.0,
        config=ServingConfig(),
        trusted=chosen.trusted,
    )
    try:
        uvloop.run(serve_folder(track, chosen.folder, chosen.host, chosen.port))
    except (PlimsollError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, PlimsollError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
