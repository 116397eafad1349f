"""Networks of a user's, for the tests of torch's digests."""

from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="digests of networks need torch")
gelu = torch.nn.functional.gelu


class Net(torch.nn.Module):  # type: ignore[misc]
    """A layer between two buffers, one of which is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.act = torch.relu
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, rows: Any) -> Any:
        """Return what the layer makes of rows."""
        return self.act(self.linear(rows - self.mean))


class Marked(torch.Tensor):  # type: ignore[misc]
    """A tensor of a class of the user's own."""


def net() -> Net:
    """Return a network whose weights are always the same."""
    torch.manual_seed(0)
    return Net()


def smooth(rows: Any) -> Any:
    """Call a function whose module is inside a compiled library."""
    return gelu(rows)
