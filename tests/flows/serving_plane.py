"""A real plane process whose server is a folder: what the tests of serving start.

The folder holds ``desired.json``, ``packages/DIGEST`` and what the plane sent: ``report.json`` and ``taken/SEQUENCE.json``. While a
file ``down`` is there, the server does not answer.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from plimsoll import codec
from plimsoll.errors import Unreachable
from plimsoll.records.monitor import AppendPredictions, PredictionReceipt
from plimsoll.records.plane import DesiredState, GetDesiredState, ReportPlane
from plimsoll.server.plane import PlaneSettings, run_plane


class FolderServer:
    """Answers the three verbs of a plane; a batch whose sequence was seen before changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken = folder / "taken"
        self.taken.mkdir(exist_ok=True)

    def do(self, request: Any, /) -> Any:
        """Do one verb."""
        if (self.folder / "down").exists():
            raise Unreachable("The server does not answer.")
        if isinstance(request, GetDesiredState):
            return codec.from_json((self.folder / "desired.json").read_bytes(), DesiredState)
        if isinstance(request, ReportPlane):
            _write(self.folder / "report.json", request)
            return None
        assert isinstance(request, AppendPredictions)
        last = len(list(self.taken.glob("*.json")))
        if request.sequence > last:
            assert request.sequence == last + 1
            _write(self.taken / f"{request.sequence:08}.json", request)
        return PredictionReceipt(sequence=request.sequence, added=0)

    def fetch(self, digest: str, folder: Path) -> None:
        """Copy a package."""
        if (self.folder / "down").exists():
            raise Unreachable("The server does not answer.")
        shutil.copytree(self.folder / "packages" / digest, folder)


def _write(path: Path, request: Any) -> None:
    """Write a file that is never seen half written, also when the plane is killed meanwhile."""
    new = path.with_suffix(".new")
    new.write_bytes(codec.to_json(request))
    new.replace(path)


if __name__ == "__main__":
    server = FolderServer(Path(sys.argv[1]))
    settings = PlaneSettings(environment="production", folder=server.folder / "plane", home=server.folder)
    run_plane(settings, server.do, server.fetch, lambda address: print(address, flush=True))
