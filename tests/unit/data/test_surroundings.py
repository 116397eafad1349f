from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plimsoll.data.environment import code_version
from plimsoll.data.surroundings import HIDDEN, machine, shown_arguments, shown_url
from plimsoll.store.blobs import LocalBlobs


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["train.csv", "--depth", "3", "-v"], ("train.csv", "--depth", "3", "-v")),
        (["--api-key", "abc", "--depth", "3"], ("--api-key", HIDDEN, "--depth", "3")),
        (["--token=abc=def", "x"], (f"--token={HIDDEN}", "x")),
        (["db.password=abc", "model.depth=3"], (f"db.password={HIDDEN}", "model.depth=3")),
        (["--no-auth", "--depth", "3"], ("--no-auth", "--depth", "3")),
        (["--PASSWORD", "-abc"], ("--PASSWORD", HIDDEN)),
        (["postgresql://dana:abc@host/db"], (f"postgresql://{HIDDEN}@host/db",)),
        (["https://host/a?token=abc"], (f"https://host/a?token={HIDDEN}",)),
        (['{"secret": "abc"}'], (f'{{"secret":{HIDDEN}',)),
        (["--data=https://abc@host/x", "user@host"], (f"--data=https://{HIDDEN}@host/x", "user@host")),
        (["--keys=abc", "AWS_SECRET_ACCESS_KEY=abc"], (f"--keys={HIDDEN}", f"AWS_SECRET_ACCESS_KEY={HIDDEN}")),
        (["--max-tokens", "512", "--tokenizer=bert", "author=dana", "--keypoints", "5"],) * 2,
    ],
)
def test_what_could_be_a_secret_is_not_shown(given: list[str], shown: tuple[str, ...]) -> None:
    assert shown_arguments(given) == tuple(shown)
    assert not any("abc" in argument for argument in shown_arguments(given))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ghp_abc@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://dana:abc@host:8443/a.git?x=abc#abc", "https://host:8443/a.git"),
        ("ssh://git:abc@[::1]:22/a", "ssh://[::1]:22/a"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("/srv/a.git", "/srv/a.git"),
        ("https://abc@host:port/a", "https://host:port/a"),
    ],
)
def test_a_repositorys_address_is_shown_without_a_login(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_remote_is_the_one_called_origin_or_the_first(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    blobs = LocalBlobs(tmp_path / "blobs")
    git("init", "-q")
    assert code_version(tmp_path, blobs, None).remote is None
    git("remote", "add", "fork", "https://abc@host/fork.git")
    assert code_version(tmp_path, blobs, None).remote == "https://host/fork.git"
    git("remote", "add", "origin", "https://abc@host/a.git")
    assert code_version(tmp_path, blobs, None).remote == "https://host/a.git"


def test_the_machine_has_a_name_processors_and_memory() -> None:
    here = machine()
    assert here.host
    assert here.cpus > 0
    assert here.memory > 1 << 20
