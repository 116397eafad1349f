"""Secrets that this platform must be able to say again, such as a webhook's: a file each beside the home's tokens, and no row.

So a dump of the database holds none. A backup of the home holds them with its tokens, and is as secret as these.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from plimsoll import clock
from plimsoll.errors import Denied, InvalidInput, StorageFull


class LocalSecrets:
    """Files that only the home's owner can read.

    Args:
        folder: holds them; it is there, or made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, value: str) -> None:
        """Store a secret in the place of what had its name; killed on the way, that is still there.

        Args:
            name: letters, digits and ``-``.
            value: the secret.

        Raises:
            InvalidInput: it holds half a character.
            StorageFull: the disk is full.
            Denied: the folder cannot be written.
        """
        try:
            content = value.encode()
        except UnicodeEncodeError:
            raise InvalidInput("The secret holds half a character.", "Send text of whole characters.") from None
        # A backup takes files without a suffix.
        draft = self._folder / f"{name}.{clock.new_id()}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(f"The disk of {self._folder} is full; no secret was kept.", "Free some room and do it again.") from error
            raise Denied(f"{self._folder} cannot be written: {error.strerror}.", "Give yourself write access to it.") from error

    def say(self, name: str) -> str | None:
        """Return a secret; None when it is not here, or cannot be read by this user.

        Args:
            name: what it was kept under.
        """
        try:
            with (self._folder / name).open(encoding="utf-8", newline="") as file:
                return file.read()
        except OSError:
            return None

    def forget(self, name: str) -> None:
        """Remove a secret; one that is not there changes nothing.

        Args:
            name: what it was kept under.

        Raises:
            Denied: the folder cannot be written.
        """
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise Denied(f"{self._folder} cannot be written: {error.strerror}.", "Give yourself write access to it.") from error
