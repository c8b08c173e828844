from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from edgesafe.runtime.owner_cache import CacheUnusable, OwnerCache, cache_root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_the_owner_can_read_it(root: Path) -> None:
    before = os.umask(0)
    try:
        cache = OwnerCache("things")
        cache.write("a", b"1")
    finally:
        os.umask(before)
    for path, mode in ((root, 0o700), (root / "things", 0o700), (root / "things" / "a", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert cache.read("a", 1) == b"1"
    assert cache.read("a", 0) is None
    assert cache.read("b", 1) is None
    assert cache.names() == ["a"]
    cache.remove("a")
    cache.remove("a")
    assert cache.names() == []


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_folder_that_is_open_to_others_is_refused(root: Path, mode: int) -> None:
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(CacheUnusable, match="EDGESAFE_CACHE"):
        OwnerCache("things")
    assert stat.S_IMODE(root.stat().st_mode) == mode


def test_a_link_or_a_file_in_its_place_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "theirs")
    with pytest.raises(CacheUnusable, match="not a folder"):
        OwnerCache("things")
    root.unlink()
    root.write_text("")
    with pytest.raises(CacheUnusable):
        OwnerCache("things")


def test_files_that_others_could_have_written_are_absent(root: Path, tmp_path: Path) -> None:
    cache = OwnerCache("things")
    file = cache.folder / "a"
    cache.write("a", b"1")
    file.chmod(0o620)
    assert cache.read("a", 9) is None
    file.chmod(0o600)
    os.link(file, tmp_path / "second")
    assert cache.read("a", 9) is None
    (cache.folder / "b").symlink_to(tmp_path / "second")
    assert cache.read("b", 9) is None
    os.mkfifo(cache.folder / "c", 0o600)
    assert cache.read("c", 9) is None


def test_the_lock_keeps_others_out(root: Path) -> None:
    cache = OwnerCache("things")
    order = []

    def second() -> None:
        with OwnerCache("things").lock():
            order.append("second")

    thread = threading.Thread(target=second)
    with cache.lock():
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGESAFE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "edgesafe"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "edgesafe"
