from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import edgesafe
from edgesafe.runtime.errors import PackageError, SourceError, UsageError
from edgesafe.runtime.files import sha256_hex
from edgesafe.runtime.manifest import manifest_digest, parse_manifest
from edgesafe.runtime.package import default_model_path, read_package, write_package


def test_what_was_written_is_read(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    package = write_package(tmp_path / "p", fields, files)
    again = read_package(tmp_path / "p")
    assert again == package
    assert again.files == files
    assert again.manifest.files["image.onnx"].sha256 == sha256_hex(files["image.onnx"])
    assert again.manifest.thresholds["image"].value == 0.5
    assert again.manifest.training == fields["training"]
    assert again.manifest.identity == f"tiny@1#{again.manifest.digest[:12]}"
    assert set(os.listdir(tmp_path)) == {"p"}


def test_a_manifest_can_be_passed_on_with_changes(tiny_parts: Any, tmp_path: Path) -> None:
    first = write_package(tmp_path / "p", *tiny_parts())
    fields = {**first.manifest.raw, "release": 2}
    second = write_package(tmp_path / "p", fields, first.files, overwrite=True)
    assert second.manifest.release == 2
    assert second.manifest.digest != first.manifest.digest
    assert second.manifest.created == first.manifest.created
    with pytest.raises(UsageError, match="exists already"):
        write_package(tmp_path / "p", fields, first.files)


def test_a_package_that_would_be_refused_is_not_written(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    for wrong in ({"release": 0}, {"limits": [object()]}, {"name": "a/b"}):
        with pytest.raises(PackageError):
            write_package(tmp_path / "p", {**fields, **wrong}, files)
    with pytest.raises(PackageError, match="not a name"):
        write_package(tmp_path / "p", fields, {**files, "../x": b""})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_nothing(
    tiny_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_package(tmp_path / "p", *tiny_parts())
    assert os.listdir(tmp_path) == []


def test_the_folder_itself_may_be_a_link(tiny_package: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(tiny_package)
    assert read_package(link).manifest.name == "tiny"


@pytest.mark.parametrize("place", ["nowhere", "file", "empty"])
def test_what_is_no_package_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError, match=place):
        read_package(tmp_path / place)


def test_hard_links_are_allowed_where_an_installer_made_them(
    tiny_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site" / "edgesafe" / "samples" / "models" / "moderation"
    write_package(folder, *tiny_parts())
    os.link(folder / "image.onnx", tmp_path / "cache")
    with pytest.raises(PackageError, match="hard link"):
        read_package(folder)
    assert read_package(folder, allow_hard_links=True).manifest.name == "tiny"
    fake = types.SimpleNamespace(__path__=[str(tmp_path / "site" / "edgesafe")])
    monkeypatch.setitem(sys.modules, "edgesafe", fake)
    assert read_package(folder).manifest.name == "tiny"
    assert default_model_path() == folder


def test_the_sample_package_is_found_in_a_checkout_too(
    tiny_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples" / "edgesafe").mkdir(parents=True)
    (tmp_path / "runtime" / "edgesafe").mkdir(parents=True)
    portions = [str(tmp_path / part / "edgesafe") for part in ("runtime", "samples")]
    monkeypatch.setattr(edgesafe, "__path__", portions)
    with pytest.raises(SourceError, match="no sample model"):
        default_model_path()
    folder = tmp_path / "samples" / "models" / "moderation"
    write_package(folder, *tiny_parts())
    assert default_model_path() == folder


def _edit(fields: dict[str, Any], path: str, value: Any) -> bytes:
    """Set a key of a finished manifest (its path with bars), or delete it; mend the digest."""
    edited = json.loads(json.dumps(fields))
    *parents, last = path.split("|")
    place = edited
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    if path != "digest":
        edited["digest"] = manifest_digest(edited)
    return json.dumps(edited).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "pose"),
        ("kind", ...),
        ("name", ""),
        ("name", "../evil"),
        ("release", 0),
        ("release", 1.0),
        ("release", True),
        ("release", "1"),
        ("created", 5),
        ("minimum_runtime", "99.0"),
        ("minimum_runtime", "one"),
        ("minimum_runtime", "1.-2"),
        ("geometry|curvature", 0),
        ("geometry|curvature", -1.0),
        ("geometry|curvature", "1"),
        ("geometry|curvature", 10**400),
        ("geometry|dim", 8.0),
        ("geometry|model", "poincare"),
        ("geometry|extra", 1),
        ("files", {}),
        ("files", []),
        ("files|image.onnx", ...),
        ("files|image.onnx", {"sha256": "00", "size": 1}),
        ("files|image.onnx", {"sha256": "0" * 64, "size": -1}),
        ("files|image.onnx", {"sha256": "0" * 64, "size": 2**40}),
        ("files|../secret", {"sha256": "0" * 64, "size": 1}),
        ("files|/etc/passwd", {"sha256": "0" * 64, "size": 1}),
        ("encoders", {}),
        ("encoders|sound", {}),
        ("encoders|image|file", "other.onnx"),
        ("encoders|image|file", "text.onnx"),
        ("encoders|image|outputs", ["embedding"]),
        ("encoders|image|outputs", ["embedding", "embedding"]),
        ("encoders|image|preprocess|std", [0, 0, 0]),
        ("encoders|image|preprocess|mode", "nearest"),
        ("encoders|image|preprocess|extra", 1),
        ("encoders|text|max_tokens", 3),
        ("encoders|text|fixed_length", 0),
        ("thresholds|image|value", "0.5"),
        ("thresholds|image|value", 1e9),
        ("thresholds|image|value", -0.1),
        ("thresholds|image|value", None),
        ("thresholds|image|interval", [0.6, 0.4]),
        ("thresholds|image|interval", [0.6]),
        ("thresholds|image|data_sha256", "Z" * 64),
        ("thresholds|image|fpr|value", 1.5),
        ("thresholds|sound", {}),
        ("bounds|safe_text", {"avg": 1, "low_05": 2, "up_95": 1}),
        ("bounds|someone", {"avg": 1, "low_05": 1, "up_95": 1}),
        ("concepts|file", "nothing.json"),
        ("parity|image|n", 0),
        ("weights|origin", "me"),
        ("weights|origin", [1]),
        ("limits", "none"),
        ("training", None),
        ("unknown", 1),
    ],
)
def test_a_manifest_value_outside_its_range_is_refused(
    tiny_package: Path, path: str, value: Any
) -> None:
    raw = json.loads((tiny_package / "manifest.json").read_bytes())
    with pytest.raises(PackageError):
        parse_manifest(_edit(raw, path, value))


def test_every_key_of_the_manifest_is_needed(tiny_package: Path) -> None:
    raw = json.loads((tiny_package / "manifest.json").read_bytes())
    assert len(raw) == 20
    for key in raw:
        with pytest.raises(PackageError, match=key):
            parse_manifest(_edit(raw, key, ...))


def test_free_keys_are_free(tiny_package: Path) -> None:
    raw = json.loads((tiny_package / "manifest.json").read_bytes())
    manifest = parse_manifest(_edit(raw, "x_deployment", {"site": 4}))
    assert manifest.raw["x_deployment"] == {"site": 4}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": "edgesafe.package/2"}',
        b'{"format": "edgesafe.package/1"}',
        b'{"format": "edgesafe.package/1", "minimum_runtime": "0.1.0", "a": 1e999, "digest": "0"}',
        b'{"format": "edgesafe.package/1", "minimum_runtime": "0.1.0", "a": "\\ud800"}',
        b'{"n": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(PackageError):
        parse_manifest(data)


def test_importing_the_runtime_is_light() -> None:
    code = (
        "import sys, edgesafe.runtime as r; r.UsageError; "
        "print([m for m in ('numpy','PIL','cv2','onnxruntime','tokenizers') if m in sys.modules])"
    )
    path = os.pathsep.join(edgesafe.__path__[i].rsplit(os.sep, 1)[0] for i in range(1))
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "[]"
