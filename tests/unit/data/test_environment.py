from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.data import environment
from plimsoll.data.environment import bringing, capture, code_version, put_environment
from plimsoll.records.run import CodeVersion
from plimsoll.store.blobs import LocalBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def git(folder: Path, *arguments: str, data: bytes | None = None) -> bytes:
    variables = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=Dana", "-c", "user.email=dana@example.org", "-c", "init.defaultBranch=trunk"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, env=variables, input=data, capture_output=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "steps.py").write_text("x = 1\n")
    (folder / ".gitignore").write_text("secret.py\nignored/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_environment_lists_python_and_exact_versions() -> None:
    found = capture()
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert found["polars"] == metadata.version("polars")
    assert found["scikit-learn"] == metadata.version("scikit-learn")
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("METADATA", "Name: Odd_One\nVersion: 1.2.3\n\nVersion: 9\n"),
        ("METADATA", "Name: Odd_One\r\nVersion: 1.2.3\r\n\r\nVersion: 9\r\n"),
        ("METADATA", "Name: Odd_One\nVersion: 1.2.3"),
        ("METADATA", "Name: Odd_One\n" + "Classifier: many\n" * 300 + "Version: 1.2.3\n\nVersion: 9\n"),
        ("METADATA", "Name: Odd_One\nSummary: " + "x" * 4060 + "\nVersion: 1.2.3\n"),
        ("PKG-INFO", "Name: Odd_One\nVersion: 1.2.3\n\nVersion: 9\n"),
    ],
)
def test_a_version_is_read_wherever_it_stands_in_the_headers(file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("odd_one-1.2.3.dist-info" if file == "METADATA" else "odd_one.egg-info")
    folder.mkdir()
    (folder / file).write_bytes(text.encode())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert capture()["odd-one"] == "1.2.3"


def test_the_same_environment_has_one_digest(blobs: LocalBlobs) -> None:
    digest = put_environment(blobs)
    assert put_environment(blobs) == digest
    assert codec.from_json(blobs.get(digest), dict[str, str]) == capture()


def test_a_clean_tree_has_a_commit_and_no_diff(repository: Path, blobs: LocalBlobs) -> None:
    commit = git(repository, "rev-parse", "HEAD").decode().strip()
    assert code_version(repository, blobs, "steps.py:train") == CodeVersion(
        commit=commit, branch="trunk", dirty_diff=None, entry="steps.py:train"
    )


def test_the_remote_is_recorded_without_what_one_logs_in_with(repository: Path, blobs: LocalBlobs) -> None:
    git(repository, "remote", "add", "other", "https://else.example/b.git")
    git(repository, "remote", "add", "origin", "https://dana:hidden@git.example:8443/a.git")
    assert code_version(repository, blobs, None).remote == "https://git.example:8443/a.git"


def test_a_detached_head_has_no_branch(repository: Path, blobs: LocalBlobs) -> None:
    git(repository, "checkout", "-q", "--detach")
    version = code_version(repository, blobs, None)
    assert version.branch is None
    assert version.commit is not None


def test_the_diff_makes_the_dirty_tree_again(repository: Path, blobs: LocalBlobs, tmp_path: Path) -> None:
    new = {
        "deep/er/new.py": b"a = 1\r\nb = 2",
        "deep/pyproject.toml": b"[project]\n",
        "empty.py": b"",
        'with blank "and" quote.py': b"one line\n",
        "\u00fcml\u00e4ut.py": b"# \xff not utf-8\n\n",
    }
    (repository / "steps.py").write_text("x = 2\n")
    for name, data in new.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(data)
    version = code_version(repository / "deep", blobs, None)
    assert version.dirty_diff is not None
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    git(clone, "apply", data=blobs.get(version.dirty_diff))
    assert (clone / "steps.py").read_text() == "x = 2\n"
    assert {name: (clone / name).read_bytes() for name in new} == new


def test_ignored_files_data_and_links_stay_out_of_the_diff(repository: Path, blobs: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("PASSWORD = 'outside'\n")
    (repository / "secret.py").write_text("PASSWORD = 'ignored'\n")
    (repository / "ignored").mkdir()
    (repository / "ignored" / "more.py").write_text("PASSWORD = 'in a folder'\n")
    (repository / ".env").write_text("PASSWORD=untracked\n")
    (repository / "link.py").symlink_to(tmp_path / "outside.py")
    assert code_version(repository, blobs, None).dirty_diff is None


def test_before_the_first_commit_all_is_new(tmp_path: Path, blobs: LocalBlobs) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "staged.py").write_text("x = 1\n")
    git(folder, "add", ".")
    version = code_version(folder, blobs, None)
    assert (version.commit, version.branch) == (None, "trunk")
    assert version.dirty_diff is not None
    assert b"staged.py" in blobs.get(version.dirty_diff)


def test_outside_of_a_repository_nothing_is_known(tmp_path: Path, blobs: LocalBlobs) -> None:
    assert code_version(tmp_path, blobs, "a.py:b") == CodeVersion(entry="a.py:b")
    assert code_version(tmp_path / "missing", blobs, None) == CodeVersion()


def test_without_git_nothing_is_known(repository: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_version(repository, blobs, None) == CodeVersion()


def test_variables_of_a_git_hook_do_not_point_elsewhere(
    repository: Path, blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert code_version(repository, blobs, None).branch == "trunk"


def test_a_program_that_the_repository_configures_for_diffs_is_not_started(repository: Path, blobs: LocalBlobs, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    git(repository, "config", "diff.external", f"touch {mark}; true")
    git(repository, "config", "diff.spy.textconv", f"touch {mark}; cat")
    (repository / ".git" / "info" / "attributes").write_text("*.py diff=spy\n")
    (repository / "steps.py").write_text("x = 2\n")
    version = code_version(repository, blobs, None)
    assert version.dirty_diff is not None
    assert b"+x = 2" in blobs.get(version.dirty_diff)
    assert not mark.exists()


def test_a_diff_past_the_limit_is_cut_with_a_note_that_tells_it_from_others(
    repository: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "DIFF_LIMIT", 2000)
    patches = []
    for end in ("first", "second"):
        (repository / "steps.py").write_text("y = 1\n" * 1000 + f"# {end}\n")
        digest = code_version(repository, blobs, None).dirty_diff
        assert digest is not None
        patches.append(blobs.get(digest))
    assert all(len(patch) < 2300 for patch in patches)
    assert all(b"\n# plimsoll: cut here: the changes have " in patch for patch in patches)
    assert patches[0] != patches[1]


def test_an_untracked_source_past_the_limit_is_left_out_with_a_note(
    repository: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "DIFF_LIMIT", 2000)
    (repository / "big.py").write_text("y = 1\n" * 1000)
    (repository / "small.py").write_text("z = 1\n")
    digest = code_version(repository, blobs, None).dirty_diff
    assert digest is not None
    patch = blobs.get(digest)
    assert b"+z = 1" in patch
    assert b"# plimsoll: 1 untracked sources left out" in patch
    assert b"y = 1" not in patch


def test_a_git_that_is_too_slow_leaves_a_note_instead_of_a_clean_tree(
    repository: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    real = shutil.which("git")
    slow.write_text(f'#!/bin/sh\nfor word in "$@"; do case $word in diff) exec /bin/sleep 60;; esac; done\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent))
    for seconds in (2.0, 12.0, 50.0):
        monkeypatch.setattr(environment, "GIT_SECONDS", seconds)
        version = code_version(repository, blobs, None)
        if version.commit is not None:
            break  # else git did not come to answer anything, as on a busy machine
    assert version.commit is not None
    assert version.dirty_diff is not None
    assert blobs.get(version.dirty_diff).startswith(b"# plimsoll: git did not tell the changes: TimeoutExpired")


def test_the_distributions_are_those_that_python_finds_also_in_archives_and_by_finders_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "other", "found"):
        folder = tmp_path / name / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "other")

    class Finder:
        @staticmethod
        def find_spec(*_: object) -> None:
            return None

        @staticmethod
        def find_distributions(context: metadata.DistributionFinder.Context) -> Iterator[metadata.Distribution]:
            yield metadata.PathDistribution(tmp_path / "found" / "found-1.0.dist-info")

    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), *sys.path, str(tmp_path / "packed.zip"), str(tmp_path / "none")])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert [each.name for each in environment._distributions()] == [each.name for each in metadata.distributions()]
    with monkeypatch.context() as newer:
        # A Python whose finder has it no more.
        kept = {"find_distributions": staticmethod(metadata.MetadataPathFinder.find_distributions)}
        newer.setattr(metadata, "MetadataPathFinder", type("Newer", (), kept))
        assert [each.name for each in environment._distributions()] == [each.name for each in metadata.distributions()]
    found = capture()
    assert {name: found.get(name) for name in ("first", "other", "found")} == dict.fromkeys(("first", "other", "found"), "1.0")


def test_the_distributions_that_bring_a_package_are_those_that_python_names() -> None:
    known = metadata.packages_distributions()
    for package in ("sklearn", "numpy", "six", "dateutil", "yaml"):
        assert sorted(bringing(package)) == sorted(known.get(package, []))
    assert bringing("sklearn") == ["scikit-learn"]
    assert bringing("sklear") == bringing("klearn") == []
