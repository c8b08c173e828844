from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import (
    atomic_folder,
    atomic_write,
    canonical_json,
    check_writable,
    sha256_hex,
)


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_canonical_json_refuses_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": value})


def test_sha256_is_the_known_one() -> None:
    assert sha256_hex(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_write_does_not_follow_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"keep me")
    link = tmp_path / "link"
    link.symlink_to(secret)
    atomic_write(link, b"new")
    assert secret.read_bytes() == b"keep me"
    assert link.read_bytes() == b"new"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("1")
        (folder / "sub").mkdir()
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert os.listdir(target.parent) == ["folder"]


def test_a_failed_folder_never_appears(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(UsageError, match="exists already"), atomic_folder(target):
        pass
    with atomic_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_failed_replacement_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    real = os.rename
    calls = []

    def second_fails(source: Any, destination: Any) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise OSError("power is failing")
        real(source, destination)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError, match="power"), atomic_folder(target, overwrite=True):
        pass
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_only_a_folder_is_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="not a folder"), atomic_folder(target, overwrite=True):
        pass


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none/r.html", "there is no folder .*none: make it first"),
        ("file/r.html", "file is not a folder: choose another place"),
        ("folder", "is a folder: name a file in it"),
        ("gone/r.html", "gone is not a folder"),
    ],
)
def test_where_no_file_can_be_made(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=f"^--report .*{told}") as error:
        check_writable(tmp_path / name, "--report")
    assert error.value.exit_status == 2 and str(tmp_path / name) in str(error.value)


def test_where_a_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").write_text("x")
    for name in ("new", "old", tmp_path / "new"):
        check_writable(name, "--out")
    check_writable("a/b/c/new", "--out", make_folder=True)
    assert os.listdir(tmp_path) == ["old"]
    with pytest.raises(UsageError, match="old is not a folder"):
        check_writable("old/b/new", "--out", make_folder=True)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written to"):
        check_writable(tmp_path / "new", "--out")
