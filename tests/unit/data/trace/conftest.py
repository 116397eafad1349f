"""The workspace of the pipelines' tests, whose engine the traces go through."""

from __future__ import annotations

from tests.unit.pipelines.conftest import bench

__all__ = ["bench"]
