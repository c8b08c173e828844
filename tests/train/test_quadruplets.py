"""Records: both vocabularies, every format, and a report of everything that is wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgesafe.calib.bad_records import json_lines, table
from edgesafe.runtime.errors import DataError
from edgesafe.train.config import DataConfig
from edgesafe.train.data import BadRecordsError, read_quadruplets
from edgesafe.train.data.images import check_images, read_rgb

Maker = Callable[..., Path]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_records_are_read_whole(tmp_path: Path, make_records: Maker) -> None:
    found = read_quadruplets(make_records(tmp_path, "train", 3, negatives=True))
    assert [r.id for r in found.records] == ["train0", "train1", "train2"]
    second = found.records[1]
    assert second.safe_text == "a photo of thing 1"
    assert second.unsafe_image == tmp_path / "images/train1_unsafe.png"
    assert second.negative_text == "thing 1 is on a cushion"
    assert found.records[0].negative_image is None
    assert found.describe()["tags"] == {"fire": 3}
    assert found.bad == ()


def test_every_format_gives_the_same_records(tmp_path: Path, make_records: Maker) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = make_records(tmp_path, "train", 3)
    rows = rows_of(lines)
    (tmp_path / "list.json").write_text(json.dumps(rows))
    write(tmp_path / "lines.json", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    first = read_quadruplets(lines)
    for other in (tmp_path, *(tmp_path / n for n in ("list.json", "lines.json", "table.parquet"))):
        assert read_quadruplets(other) == first


def test_visu_text_names_and_templates(tmp_path: Path) -> None:
    for folder in ("train2017", "val2017", "nsfw"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train2017/000000000001.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "val2017/000000000002.jpg")
    for i in (10, 11):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"nsfw/{i}_1.png")
    rows = [
        {
            "incremental_id": 10 + i,
            "safe": "a dog",
            "nsfw": "a bad dog",
            "coco_id": f"{i + 1:012d}",
            "tag": "violence",
            "prompt_id": 1,
        }
        for i in range(2)
    ]
    config = DataConfig(
        safe_images=("train2017/{coco_id}.jpg", "val2017/{coco_id}.jpg"),
        unsafe_images=("nsfw/{incremental_id}_{prompt_id}.png",),
    )
    found = read_quadruplets(write(tmp_path / "visu.jsonl", rows), config).records
    assert [r.id for r in found] == ["10", "11"]
    assert [r.safe_image.parent.name for r in found] == ["train2017", "val2017"]
    assert found[0].unsafe_text == "a bad dog" and found[0].tag == "violence"
    assert found[1].unsafe_image == tmp_path / "nsfw/11_1.png"


@pytest.fixture
def broken(tmp_path: Path, make_records: Maker) -> Path:
    path = make_records(tmp_path, "train", 7)
    rows: list[Any] = rows_of(path)
    rows[0]["safe_text"] = "  "
    rows[1]["unsafe_image"] = "images/none.png"
    del rows[2]["unsafe_text"], rows[2]["safe_image"]
    rows[3]["id"] = "train4"
    rows[3]["tag"] = None
    whole = (tmp_path / rows[5]["safe_image"]).read_bytes()
    (tmp_path / rows[5]["safe_image"]).write_bytes(whole[: len(whole) // 2])
    (tmp_path / rows[5]["unsafe_image"]).write_bytes(b"not an image")
    rows += ["{broken", [1, 2], {**rows[6], "id": "x", "safe_text": 3}]
    return write(path, rows)


def test_every_bad_record_is_reported(broken: Path) -> None:
    with pytest.raises(BadRecordsError) as error:
        read_quadruplets(broken)
    found = [(b.line, b.id, b.field, b.problem) for b in error.value.bad]
    assert found == [
        (1, "train0", "safe_text", "empty_caption"),
        (2, "train1", "unsafe_image", "missing_file"),
        (3, "train2", "unsafe_text", "missing_key"),
        (3, "train2", "safe_image", "missing_key"),
        (5, "train4", "id", "duplicate_id"),
        (6, "train5", "safe_image", "broken_file"),
        (6, "train5", "unsafe_image", "broken_file"),
        (8, None, None, "bad_json"),
        (9, None, None, "not_a_record"),
        (10, "x", "safe_text", "wrong_type"),
    ]
    message = str(error.value)
    assert "8 bad records" in message and "--skip-bad" in message and "none.png" in message
    assert error.value.exit_status == 3
    lines = [json.loads(line) for line in json_lines(error.value.bad).splitlines()]
    assert lines[0]["problem"] == "empty_caption" and len(lines) == 10


def test_skip_bad_keeps_the_rest(broken: Path) -> None:
    found = read_quadruplets(broken, skip_bad=True)
    assert [r.id for r in found.records] == ["train4", "train6"]
    assert found.describe()["skipped"] == 8


def test_long_reports_are_cut_in_the_message_only(broken: Path) -> None:
    with pytest.raises(BadRecordsError) as error:
        read_quadruplets(broken)
    assert table(error.value.bad, limit=3).splitlines()[-1].strip() == "… and 7 more"
    copy = pickle.loads(pickle.dumps(error.value))
    assert str(copy) == str(error.value) and copy.bad == error.value.bad


def test_images_need_not_be_decoded(broken: Path) -> None:
    found = read_quadruplets(broken, DataConfig(check_images=False), skip_bad=True)
    assert "train5" in [r.id for r in found.records]


def test_fingerprint_sees_texts_and_pixels(tmp_path: Path, make_records: Maker) -> None:
    path = make_records(tmp_path, "train", 3)
    first = read_quadruplets(path).fingerprint
    assert read_quadruplets(path).fingerprint == first
    rows = rows_of(path)
    rows[0]["tag"] = "blood"
    write(path, rows)
    second = read_quadruplets(path).fingerprint
    Image.new("RGB", (8, 8)).save(tmp_path / rows[0]["safe_image"])
    assert len({first, second, read_quadruplets(path).fingerprint}) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "holds no usable record"),
        ("a.jsonl", b"\xff\xfe", "is not UTF-8"),
        ("a.json", b"[1,", "is not valid JSON"),
        ("a.parquet", b"PAR1", "not a readable parquet file"),
        ("a.csv", b"", "records end in"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_quadruplets(tmp_path / name)


def test_missing_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_quadruplets(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no train.jsonl"):
        read_quadruplets(tmp_path)


def test_images_are_upright_and_on_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").size == (4, 8)
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_rgb(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    assert check_images([tmp_path])[tmp_path].problem == "missing_file"
