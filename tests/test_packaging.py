"""The wheel, as a user gets it: built here, installed into an empty environment, put to work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from edgesafe.cli import COMMANDS
from edgesafe.runtime.version import VERSION

ROOT = Path(__file__).parents[1]
MB = 1e6


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o"]
    done = subprocess.run([*command, folder, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel with [cpu] and nothing else, not even pip."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=False, symlinks=True)
    python = str(folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    done = subprocess.run([*command, f"{wheel}[cpu]"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def run_in(device: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # -P and a neutral folder keep this checkout off the path.
    return subprocess.run(
        [device / "bin" / command[0], *command[1:]], cwd=device, capture_output=True, text=True
    )


def requirements(wheel: Path, extra: str) -> list[str]:
    """Return what the wheel requires, itself and for one extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    found = []
    for line in metadata.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        if not marker or f"extra == '{extra}'" in marker:
            found.append(requirement.strip())
    return found


def test_the_wheel_holds_the_parts_and_the_samples(names: list[str]) -> None:
    for part in ("runtime", "calib", "train", "export", "samples"):
        assert f"edgesafe/{part}/__init__.py" in names
    assert "edgesafe/cli.py" in names
    assert "edgesafe/samples/report.css" in names
    assert "edgesafe/samples/data/README.md" in names
    assert "edgesafe/samples/models/README.md" in names
    assert f"edgesafe-{VERSION}.dist-info/licenses/LICENSE" in names


def test_every_sample_file_of_the_checkout_is_in_the_wheel(names: list[str]) -> None:
    for kind in ("data", "models"):
        folder = ROOT / "samples" / kind
        files = [path for path in folder.rglob("*") if path.is_file()]
        files = [path for path in files if folder / "checkpoints" not in path.parents]
        assert files
        for path in files:
            name = f"edgesafe/samples/{kind}/{path.relative_to(folder).as_posix()}"
            assert name in names, name


def test_the_wheel_holds_nothing_else(names: list[str]) -> None:
    for name in names:
        assert name.startswith(("edgesafe/", "edgesafe-")), name
        assert not re.search(r"(^|/)(tests?|__pycache__|\.[^/]+)(/|$)|conftest|\.pyc$", name), name
    assert "edgesafe/__init__.py" not in names
    assert not any("models/checkpoints" in name for name in names)
    assert len(names) == len(set(names))


def test_the_version_is_that_of_the_runtime(wheel: Path) -> None:
    assert wheel.name == f"edgesafe-{VERSION}-py3-none-any.whl"


def test_two_builds_are_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_no_torch_arrives_with_cpu(device: Path) -> None:
    (site,) = (device / "lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    assert {"edgesafe", "onnxruntime", "tokenizers", "numpy", "pillow"} <= installed
    assert not {"torch", "torchvision", "transformers", "onnx", "scipy", "pandas"} & installed
    assert run_in(device, "python", "-P", "-c", "import torch").returncode != 0


def test_the_installed_size_stays_slim(device: Path) -> None:
    (site,) = (device / "lib").glob("python*/site-packages")
    sizes: dict[str, int] = {}
    for path in site.rglob("*"):
        if path.is_file() and not path.is_symlink():
            top = path.relative_to(site).parts[0]
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
    total = sum(sizes.values())
    vision = sum(size for top, size in sizes.items() if top.startswith(("cv2", "opencv")))
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert vision > 0
    folder = site / "edgesafe" / "samples" / "models"
    models = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert total < 450 * MB, largest
    assert total - vision - models < 235 * MB, largest
    assert models < 60 * MB


def test_the_command_of_the_wheel_starts(device: Path) -> None:
    done = run_in(device, "edgesafe", "--help")
    assert done.returncode == 0, done.stderr
    assert "moderate" in done.stdout
    assert f"version {VERSION}" in run_in(device, "edgesafe", "--version").stdout


def test_every_command_of_a_device_starts_there(device: Path) -> None:
    for name, entry in COMMANDS.items():
        if entry.extra == "cpu":
            done = run_in(device, "edgesafe", name, "--help")
            assert done.returncode == 0, done.stderr
    for group, command in (("evaluate", "pose"), ("bench", "pose"), ("calibrate", "camera")):
        done = run_in(device, "edgesafe", group, command, "--help")
        assert done.returncode == 0, done.stderr


def test_a_device_renders_and_inspects_poses(device: Path) -> None:
    corners = ["0 0 0", "60 0 0", "0 40 0", "0 0 50"]
    faces = ["3 0 2 1", "3 0 1 3", "3 0 3 2", "3 1 2 3"]
    head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
    head += "property float z\nelement face 4\nproperty list uchar int vertex_indices\nend_header"
    (device / "part.ply").write_text("\n".join([head, *corners, *faces]) + "\n", "ascii")
    arguments = ["part.ply", "--frames", "1", "--size", "160x120", "--out", "parts"]
    done = run_in(device, "edgesafe", "render", *arguments)
    assert done.returncode == 0, done.stderr
    done = run_in(device, "edgesafe", "inspect", "parts", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["splits"]["train"]["frames"] == 1


def test_a_command_without_its_extra_says_which(device: Path) -> None:
    done = run_in(device, "edgesafe", "train", "hysac", "--help")
    assert done.returncode == 3
    assert "pip install 'edgesafe[train]'" in done.stderr
    done = run_in(device, "edgesafe", "export", "--help")
    assert done.returncode == 3
    assert "pip install 'edgesafe[export]'" in done.stderr


def test_the_wheel_moderates_a_photo_with_its_own_model(device: Path, names: list[str]) -> None:
    if "edgesafe/samples/models/moderation/manifest.json" not in names:
        pytest.skip("samples/models/moderation is not there yet")
    (site,) = (device / "lib").glob("python*/site-packages")
    photos = sorted((site / "edgesafe" / "samples" / "data" / "photos").glob("*.jpg"))
    done = run_in(device, "edgesafe", "moderate", "--json", str(photos[0]))
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line["verdict"] in ("safe", "unsafe")
    assert line["source"] == str(photos[0])
    assert line["score"] > 0 and line["threshold"] > 0
    done = run_in(device, "edgesafe", "demo", "--out", str(device / "report"))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_file()


@pytest.mark.parametrize("extra", ["cpu"])
def test_the_device_extra_resolves_for_aarch64_and_python_310(
    wheel: Path, tmp_path: Path, extra: str
) -> None:
    # What JetPack 6 has. `pip download` would fetch 100 MB; a dry run of install resolves the same.
    wanted = requirements(wheel, extra)
    assert {re.split(r"[<>=!~ ]", line)[0] for line in wanted} == {
        "click",
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "tokenizers",
    }
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 24, 17)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
    command += ["--ignore-installed", "--target", str(tmp_path), "--only-binary=:all:"]
    command += ["--python-version", "3.10"]
    for platform in (*platforms, "manylinux2014_aarch64"):
        command += ["--platform", platform]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    chosen = [item["download_info"]["url"] for item in json.loads(done.stdout)["install"]]
    assert len(chosen) >= len(wanted)
    for url in chosen:
        assert re.search(r"(aarch64|-none-any)\.whl$", url), url
