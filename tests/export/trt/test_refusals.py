"""What is refused on which platform, by the tables of NVIDIA's release notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesafe.export.trt.device.refusals import Platform, detect, refusals, version_of

SERVER = Platform()
ORIN6 = Platform("nvidia jetson agx orin developer kit", (6, 2, 1))
NX6 = Platform("nvidia jetson orin nx engineering reference", (6, 0))
NANO6 = Platform("nvidia jetson orin nano developer kit", (6, 2))
ORIN7 = Platform("nvidia jetson agx orin developer kit", (7, 2, 2))
NX7 = Platform("nvidia jetson orin nx engineering reference", (7, 2, 2))
THOR = Platform("nvidia jetson agx thor developer kit", (7, 2, 2))


def refused(platform: Platform, tensorrt: tuple[int, ...] | None, **settings: Any) -> list[str]:
    precisions = settings.pop("precisions", {"image": "fp16"})
    return refusals(platform, tensorrt, precisions=precisions, **settings)


@pytest.mark.parametrize(
    ("platform", "tensorrt", "good"),
    [
        (ORIN6, (10, 3, 0), True),
        (ORIN6, (10, 7, 0), True),
        (ORIN6, (10, 8), False),
        (NX6, (10, 3), True),
        (NANO6, (10, 3), False),
        (Platform(ORIN6.board, (6,)), (10, 3), True),
        (ORIN7, (11, 4, 1), True),
        (ORIN7, (11, 5), True),
        (Platform(ORIN7.board, (7, 2, 1)), (11, 4, 1), False),
        (Platform(ORIN7.board, (7,)), (11, 4, 1), False),
        (NX7, (11, 4, 1), False),
        (THOR, (11, 4, 1), False),
        (SERVER, (10, 3), False),
        (Platform(ORIN6.board, ()), (10, 3), False),
    ],
)
def test_dla_by_version(platform: Platform, tensorrt: tuple[int, ...], good: bool) -> None:
    found = refused(platform, tensorrt, dla=0)
    assert (not found) is good, found
    if not good:
        assert any("DLA" in line and "leave --dla away" in line for line in found)


def test_dla_takes_fixed_shapes_and_small_types() -> None:
    found = refused(
        ORIN6, (10, 3), dla=0, precisions={"image": "fp32", "roi": "int8"}, dynamic=("roi",)
    )
    assert any("image computes in fp32" in line for line in found)
    assert any("profile of roi equal min, opt and max" in line for line in found)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("platform", "tensorrt", "complaint"),
    [
        (SERVER, (10, 2), "TensorRT 10.2 is too old: 10.3 or later"),
        (ORIN6, (11, 4, 1), "does not support JetPack 6"),
        (ORIN7, (11, 4, 0), "does not support JetPack 7"),
    ],
)
def test_releases_that_do_not_fit(
    platform: Platform, tensorrt: tuple[int, ...], complaint: str
) -> None:
    (found,) = refused(platform, tensorrt)
    assert complaint in found


def test_releases_that_fit() -> None:
    for platform, tensorrt in ((SERVER, (10, 3)), (SERVER, (11, 4, 0)), (ORIN6, (10, 3))):
        assert refused(platform, tensorrt) == []
    assert refused(ORIN7, (10, 13)) == [] and refused(THOR, (11, 4, 1)) == []


def test_compatibility_flags() -> None:
    assert refused(SERVER, (10, 3), hardware_compatible="ampere+", version_compatible=True) == []
    (old,) = refused(SERVER, (10, 8), hardware_compatible="same")
    assert "'same' came with TensorRT 10.9" in old
    assert refused(SERVER, (10, 9), hardware_compatible="same") == []
    for platform in (ORIN6, THOR, Platform("x", ())):
        (found,) = refused(platform, None, hardware_compatible="ampere+")
        assert "do not exist on JetPack" in found
    found = refused(ORIN6, (10, 3), dla=0, version_compatible=True)
    assert found == ["an engine with DLA is for one release: leave version compatibility away"]


def test_compiled_python_plugins_came_late() -> None:
    (found,) = refused(ORIN6, (10, 3), quick_deploy=True)
    assert "came with TensorRT 10.9, this is 10.3" in found
    assert refused(SERVER, (10, 9), quick_deploy=True) == []


def test_where_the_platform_is_not_known_only_contradictions_are_refused() -> None:
    assert refusals(None, None, precisions={"image": "fp16"}, dla=0) == []
    (found,) = refusals(None, None, precisions={"image": "fp32"}, dla=0)
    assert "computes in fp32" in found


def jetson(root: Path, board: str, release: str, package: str | None) -> Path:
    for name in ("proc/device-tree", "etc", "var/lib/dpkg"):
        (root / name).mkdir(parents=True)
    (root / "proc/device-tree/model").write_bytes(board.encode() + b"\0")
    (root / "etc/nv_tegra_release").write_text(f"# {release} (release), REVISION: 4.3, GCID: 1\n")
    entry = f"Package: nvidia-jetpack\nStatus: install ok\nVersion: {package}\n\n"
    other = "Package: nvidia-jetpack-dev\nVersion: 1.2\n\n"
    (root / "var/lib/dpkg/status").write_text(other + (entry if package else ""))
    return root


def test_detection(tmp_path: Path) -> None:
    assert detect(tmp_path / "empty") == Platform("", None)
    board = "NVIDIA Jetson AGX Orin Developer Kit"
    exact = jetson(tmp_path / "a", board, "R36", "6.2.1+b38")
    assert detect(exact) == Platform(board.lower(), (6, 2, 1))
    rough = jetson(tmp_path / "b", board, "R36", None)
    assert detect(rough) == Platform(board.lower(), (6,))
    unknown = jetson(tmp_path / "c", board, "R99", None)
    assert detect(unknown) == Platform(board.lower(), ())
    assert "JetPack 6.2.1" in str(detect(exact)) and str(SERVER) == "not a Jetson"


def test_versions() -> None:
    assert version_of("10.3.0+cuda12") == (10, 3, 0)
    assert version_of("unknown") == ()
