"""Where a program runs and how it was called, with what could be a secret left out. Asking never fails a run."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from plimsoll.records.tracking.machine import Machine

#: Stands for a value that is not shown.
HIDDEN = "***"

#: Characters of an argument, and number of arguments, that are kept.
_LONGEST, _MOST = 1000, 200

#: A name that ends so, or has it as the end of a word, has a secret for its value; ``--tokenizer`` and ``--max-tokens`` have none.
_SECRET = re.compile(
    r"(?i)(pass(word|wd|phrase)?s?|token|secrets?|keys?|credentials?|auth(orization)?|bearer|dsn|cookies?|signature)(?![a-z])"
)
_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")
_VALUE = re.compile(r"[=:]")
_GPU = re.compile(r"^Model:\s*(.*\S)", re.MULTILINE)


def machine() -> Machine:
    """Return the machine that this process runs on."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    told = platform.uname()
    gpus = _gpus(Path("/proc/driver/nvidia/gpus"))
    return Machine(host=told.node, system=f"{told.system} {told.release} {told.machine}", cpus=cpus, memory=memory, gpus=gpus)


def _gpus(folder: Path) -> tuple[str, ...]:
    """Return the names that the driver of NVIDIA tells, without its library, which takes longer to load than most runs to begin."""
    found = []
    for path in sorted(folder.glob("*/information")):
        try:
            found += _GPU.findall(path.read_text())
        except OSError:
            continue
    return tuple(found)


def readable(text: str) -> str:
    """Return text as any reader takes it: bytes of a file's name or an argument that are no Unicode become question marks.

    Args:
        text: as the system gave it.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def shown_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return a program's arguments without what could be a secret.

    Hidden are the value of an option or a setting whose name speaks of one (``--api-key X``, ``--token=X``, ``db.password=X``),
    and what stands before the ``@`` of a URL. What speaks of nothing is not recognised: keep secrets out of arguments.

    Args:
        arguments: as ``sys.argv[1:]``.
    """
    found: list[str] = []
    hide = False
    for argument in (readable(each) for each in list(arguments)[:_MOST]):
        # An option after an option without a value is an option.
        if hide and not argument.startswith("--"):
            found.append(HIDDEN)
            hide = False
            continue
        secret = _SECRET.search(argument)
        value = _VALUE.search(argument, secret.end()) if secret else None
        hide = secret is not None and value is None and argument.startswith("-")
        shown = argument if value is None else argument[: value.end()] + HIDDEN
        found.append(_LOGIN.sub(f"{HIDDEN}@", shown)[:_LONGEST])
    return tuple(found)


def shown_url(url: str) -> str:
    """Return a repository's address without what somebody could log in with.

    Args:
        url: such as ``https://TOKEN@host/a.git`` or ``git@host:a.git``, whose login is no secret.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _LOGIN.sub("", url)
    if not parts.scheme or not parts.netloc:
        return url
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"
