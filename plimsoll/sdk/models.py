"""``plimsoll.load``: a registered model in this process, exactly as the server answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from plimsoll.data.snapshot import get_tree
from plimsoll.data.trace.files.places import OWN
from plimsoll.records.model import GetVersion, ListGrants
from plimsoll.registry.package import Model, open_package
from plimsoll.sdk.door import Door, connect


def load(ref: str, *, door: Door | None = None) -> Model:
    """Return a registered model.

    Args:
        ref: ``name/3``, ``name@production``, ``name`` for the newest, or a digest.
        door: the platform; None takes the one that the settings name.

    Raises:
        NotFound: there is no such version.
        Refused: its files are no package of ours, such as those of an MLflow model; ``plimsoll models pack`` makes one of them.
        Untrusted: it carries code, and nobody has granted that it may run.
        Corrupt: stored bytes do not match their digest.
    """
    opened = door or connect()
    try:
        version = opened.do(GetVersion(ref=ref))
        # Raises for other files than a package's.
        _ = version.package
        trusted = bool(opened.do(ListGrants(digest=version.digest)))
        with tempfile.TemporaryDirectory(prefix=OWN) as folder:
            package = Path(folder) / "package"
            get_tree(opened.blobs, version.digest, package)
            return open_package(package, version.digest, trusted)
    finally:
        if door is None:
            opened.close()
