"""The index on disk: what is added stays, whatever happens to the process."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edgesafe.calib
import edgesafe.runtime
from edgesafe.calib.retrieval.index import Index, Origin, create_index, open_writer
from edgesafe.calib.retrieval.items import Item
from edgesafe.calib.retrieval.vectors import Space
from edgesafe.runtime.errors import DataError, UsageError

SPACE = Space("lorentz", 4, 0.5)
ORIGIN = Origin("tiny@1#abc", "d" * 64, "s" * 64, "/nowhere")


def item(name: str, sha: str = "1", **fields: object) -> Item:
    values = dict(source=name, modality="image", verdict="safe", score=0.25, reason=None)
    values |= {"id": name, "caption": "", "sha256": sha, **fields}
    return Item(**values)  # type: ignore[arg-type]


def point(value: float) -> np.ndarray:
    return np.array([value, 0.0, 0.0, 0.1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "idx"
    create_index(path, SPACE, ORIGIN)
    with open_writer(path) as writer:
        for i in range(3):
            writer.add(item(f"{i}.jpg", meta={"n": i}), point(i))
    return path


def test_what_goes_in_comes_out(folder: Path) -> None:
    index = Index.open(folder, verify=True)
    assert len(index) == index.rows == 3
    assert index.space == SPACE and index.origin == ORIGIN
    assert [index.item(i).id for i in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert index.item(2) == item("2.jpg", meta={"n": 2})
    np.testing.assert_allclose(index.point(2), point(2), rtol=1e-6)


def test_an_empty_one(tmp_path: Path) -> None:
    create_index(tmp_path / "new" / "idx", SPACE, ORIGIN)
    index = Index.open(tmp_path / "new" / "idx", verify=True)
    assert len(index) == 0 and index.alive.size == 0 and index.decision.size == 0


def test_adding_replaces_what_changed(folder: Path) -> None:
    first = Index.open(folder)
    with open_writer(folder) as writer:
        assert writer.has("1.jpg", "1") and not writer.has("1.jpg", "2")
        writer.add(item("1.jpg", "2", verdict="unsafe"), point(9))
        writer.add(item("new", modality="text", caption="ä\n<b>"), point(5))
        assert (writer.pending, writer.replacing) == (2, 1)
    index = Index.open(folder, verify=True)
    assert (len(index), index.rows) == (4, 5)
    assert index.alive.tolist() == [True, False, True, True, True]
    assert index.decision.tolist() == [0, 0, 0, 1, 0] and index.modality.tolist() == [0] * 4 + [1]
    assert index.ids()["1.jpg"] == (3, "2")
    assert index.item(4).caption == "ä\n<b>"
    # A reader of before is not disturbed.
    assert len(first) == 3 and first.item(1).verdict == "safe"


def test_one_id_twice_in_one_go(folder: Path) -> None:
    with open_writer(folder) as writer:
        writer.add(item("x", "1"), point(1))
        writer.add(item("x", "2"), point(2))
    assert Index.open(folder).ids()["x"] == (4, "2")


def test_an_error_drops_what_was_not_committed(folder: Path) -> None:
    with pytest.raises(RuntimeError), open_writer(folder) as writer:
        writer.add(item("a"), point(1))
        writer.commit()
        writer.add(item("b"), point(1))
        raise RuntimeError
    assert set(Index.open(folder).ids()) == {"0.jpg", "1.jpg", "2.jpg", "a"}


def test_one_writer_at_a_time(folder: Path) -> None:
    with open_writer(folder), pytest.raises(UsageError, match="another process"):
        with open_writer(folder):
            pass


def test_leftovers_of_a_killed_writer_are_removed(folder: Path) -> None:
    left = [folder / "000009-aaaaaaaa.vectors", folder / ".000009-aaaaaaaa.items.tmp-0011"]
    for path in left:
        path.write_bytes(b"half")
    (folder / "notes.md").write_text("mine")
    assert len(Index.open(folder)) == 3
    with open_writer(folder):
        pass
    assert not any(path.exists() for path in left) and (folder / "notes.md").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="--add"):
        create_index(folder, SPACE, ORIGIN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("a")
    with pytest.raises(UsageError, match="holds something else"):
        create_index(tmp_path / "other", SPACE, ORIGIN)
    with pytest.raises(DataError, match="not an index"):
        Index.open(tmp_path / "other")


@pytest.mark.parametrize("part", ["vectors", "rows", "items"])
def test_damage_is_seen(folder: Path, part: str) -> None:
    (file,) = folder.glob(f"*.{part}")
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    file.write_bytes(flipped)
    with pytest.raises(DataError, match="SHA-256"):
        Index.open(folder, verify=True)
    with pytest.raises(DataError, match="SHA-256"), open_writer(folder):
        pass
    file.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="not a plain file of"):
        Index.open(folder)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        Index.open(folder)
    file.symlink_to(shutil.copy(folder / "index.json", folder / "copy"))
    with pytest.raises(DataError, match="cannot be read"):
        Index.open(folder)


def test_an_edited_index_json_is_refused(folder: Path) -> None:
    path = folder / "index.json"
    value = json.loads(path.read_text())
    value["package"]["identity"] = "other"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="edited"):
        Index.open(folder)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        Index.open(folder)


WRITER = """
import sys
import numpy as np
from edgesafe.calib.retrieval.index import open_writer
from edgesafe.calib.retrieval.items import Item
with open_writer(sys.argv[1]) as writer:
    start = writer._rows
    for i in range(start, start + 100_000):
        item = Item(str(i), str(i), "text", "safe", 0.5, None, "x" * 200, str(i))
        writer.add(item, np.full(4, float(i % 100)))
        if writer.pending == 16:
            writer.commit()
            print(i + 1, flush=True)
"""


def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    """Killed at random moments, an index opens, is whole, and holds what was acknowledged."""
    folder = tmp_path / "idx"
    create_index(folder, SPACE, ORIGIN)
    rng = random.Random(2)
    roots = [Path(m.__file__ or "").parents[2] for m in (edgesafe.runtime, edgesafe.calib)]
    path = os.pathsep.join(map(str, roots))
    seen = [0]
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.08))
        writer.send_signal(signal.SIGKILL)
        acknowledged = [first, *writer.communicate()[0].splitlines()]
        assert writer.returncode == -signal.SIGKILL
        index = Index.open(folder, verify=True)
        assert len(index) % 16 == 0
        # One more commit may have landed than was told.
        assert len(index) - int(acknowledged[-1]) in (0, 16)
        assert index.item(len(index) - 1).id == str(len(index) - 1)
        assert index.point(len(index) - 1)[0] == float((len(index) - 1) % 100)
        seen.append(len(index))
    assert seen == sorted(set(seen))
