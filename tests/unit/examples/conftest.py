"""The example is a project of its own: its folder must be on the path, as it is for ``plimsoll``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "flights"))
