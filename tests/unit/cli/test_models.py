"""``plimsoll models``: aliases, tags, names and deletions of versions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plimsoll.errors import NotFound
from plimsoll.records.model import GetVersion, Version
from plimsoll.workspace import Workspace


def version(workspace: Workspace, ref: str) -> Version:
    return workspace.do(GetVersion(ref=ref), workspace.identify(workspace.token("owner")))


def test_a_version_is_named_tagged_renamed_and_deleted(
    workspace: Workspace, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("models", "alias", "late/1", "best") == 0
    assert call("models", "tag", "late/1", "team=blue", "note=a=b") == 0
    assert version(workspace, "late@best").tags == {"team": "blue", "note": "a=b"}
    assert call("models", "tag", "late/1", "note") == 0
    assert "late/1 has the tags: team=blue." in capsys.readouterr().err
    assert call("models", "alias", "late/1", "best", "--remove") == 0
    assert version(workspace, "late/1").aliases == ()
    assert call("models", "rename", "late", "later") == 0
    assert version(workspace, "later/1").tags == {"team": "blue"}
    assert call("models", "delete", "later/1") == 0
    with pytest.raises(NotFound):
        version(workspace, "later/1")


def test_a_model_that_cannot_be_packed_says_why(workspace: Workspace, call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models", "show", "late/1") == 0
    assert "plimsoll models pack late/1" in capsys.readouterr().err
    assert call("models", "pack", "late/1") == 3
    assert "late/1 has the flavours" in capsys.readouterr().err
    assert call("models", "trust", "late/1", "--reason", "seen") == 0
