"""What a step read by itself, as it is now."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import KeyPart

#: Digest of what is not there.
ABSENT = digest_value(None)


class Now:
    """Answers for one run what files and variables hold; each is looked at once.

    Args:
        project: folder of the project, to which names of files are relative.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._seen: dict[tuple[str, str], tuple[str, str]] = {}

    def digest(self, part: KeyPart) -> str:
        """Return the digest that a part of a trace would have now.

        Args:
            part: what a step read.
        """
        return self._look(part)[0]

    def text(self, part: KeyPart) -> str:
        """Return the text that a part of a trace would have now.

        Args:
            part: what a step read.
        """
        return self._look(part)[1]

    def _look(self, part: KeyPart) -> tuple[str, str]:
        place = part.kind, part.name
        if place not in self._seen:
            self._seen[place] = self._variable(part.name) if part.kind == "variable" else self._file(part.name)
        return self._seen[place]

    def _variable(self, name: str) -> tuple[str, str]:
        value = os.environ.get(name)
        return digest_value(value), ""

    def _file(self, name: str) -> tuple[str, str]:
        try:
            return blake3((self._project / name).read_bytes()).hexdigest(), ""
        except OSError:
            return ABSENT, "absent"
