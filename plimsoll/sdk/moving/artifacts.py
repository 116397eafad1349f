"""Files of runs and logged models are moved in by digest; a name that could be taken for another place is refused by name."""

from __future__ import annotations

from pathlib import Path

from plimsoll.records.run import Artifact, LogArtifact, check_artifact_name
from plimsoll.records.tracking.logged_model import KeepModelFile
from plimsoll.runs.outputs.files import FILE
from plimsoll.sdk.door import Door
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.source import Owner, Source, SourceFile


class ArtifactCopy:
    """Copies files.

    Args:
        door: where to.
        source: where from.
        ledger: gets what happened.
        recheck: read a file again also when its name and size are here.
        folder: for files on their way.
    """

    def __init__(self, door: Door, source: Source, ledger: Ledger, recheck: bool, folder: Path) -> None:
        self._door, self._source, self._ledger, self._recheck, self._folder = door, source, ledger, recheck, folder

    def copy(self, owner: Owner, known: dict[str, Artifact]) -> None:
        """Bring the files of a run or of a logged model.

        Args:
            owner: who keeps them.
            known: what it keeps here, by name.
        """
        with self._ledger.refusals("artifact", f"all of {owner.id}"):
            for file in self._source.files(owner):
                with self._ledger.refusals("artifact", f"{file.path[:200]} of {owner.id}"):
                    check_artifact_name(file.path)
                    self._file(owner, file, known.get(file.path))

    def compare(self, owner: Owner, known: dict[str, Artifact]) -> None:
        """Count the files of a run that is deleted here, and so gets none.

        Args:
            owner: who keeps them.
            known: what it keeps here, by name.
        """
        with self._ledger.refusals("artifact", f"all of {owner.id}"):
            for file in self._source.files(owner):
                here = known.get(file.path)
                if here is None or file.size != here.size:
                    reason = f"Its run is deleted here. Restore it and import again: plimsoll runs restore {owner.id}"
                    self._ledger.leave("artifact", f"{file.path[:200]} of {owner.id}", reason)
                else:
                    self._ledger.here("artifact")
                    self._ledger.here("byte", here.size)

    def _file(self, owner: Owner, file: SourceFile, here: Artifact | None) -> None:
        if file.fault:
            self._ledger.leave("artifact", f"{file.path} of {owner.id}", file.fault)
            return
        if here is not None and here.size == file.size and not self._recheck:
            self._ledger.here("artifact")
            self._ledger.here("byte", here.size)
            return
        path = self._source.fetch(owner, file.path, self._folder)
        try:
            digest, size = self._door.blobs.put_file(path)
        finally:
            if path.parent == self._folder:
                path.unlink(missing_ok=True)
        if file.size is not None and size != file.size:
            self._ledger.differs("artifact", f"{file.path} of {owner.id} has {size:,} bytes, but {file.size:,} were announced.")
            return
        if here is not None and (here.digest, here.size) == (digest, size):
            self._ledger.here("artifact")
            self._ledger.here("byte", size)
            return
        if owner.logged:
            kept = self._door.do(KeepModelFile(id=owner.id, name=file.path, digest=digest, size=size))
        else:
            kept = self._door.do(LogArtifact(run_id=owner.id, name=file.path, kind=FILE, digest=digest, size=size))
        if (kept.digest, self._door.blobs.size(kept.digest)) != (digest, size):
            self._ledger.differs("artifact", f"{file.path} of {owner.id} has not arrived as it was sent.")
            return
        self._ledger.copied("artifact")
        self._ledger.copied("byte", size)
