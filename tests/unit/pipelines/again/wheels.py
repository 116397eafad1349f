"""A tiny package in two versions, as an installed folder and as a wheel that needs no index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def _files(version: str) -> dict[str, str]:
    info = f"lucky-{version}.dist-info"
    found = {
        "lucky.py": f"def times(value):\n    return value * {version.partition('.')[0]}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: lucky\nVersion: {version}\n\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return {**found, f"{info}/RECORD": "".join(f"{name},,\n" for name in [*found, f"{info}/RECORD"])}


def distribution(folder: Path, version: str) -> Path:
    """Write the package as an installer would, and return the folder for ``sys.path``."""
    home = folder / "site-packages"
    for name, text in _files(version).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def wheel(folder: Path, version: str) -> None:
    """Write the package's wheel into a folder."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"lucky-{version}-py3-none-any.whl", "w") as archive:
        for name, text in _files(version).items():
            archive.writestr(name, text)
