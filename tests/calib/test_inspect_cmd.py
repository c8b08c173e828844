"""``edgesafe inspect`` hands data sets to one half and packages to the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.bop import BopWriter, LabelledObject
from edgesafe.calib.inspect_cmd import inspect
from edgesafe.cli import main
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.intrinsics import Camera


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    camera = Camera(np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]]), 160, 120)
    corners = np.array([[x, y, z] for x in (-20, 20) for y in (-20, 20) for z in (-20, 20.0)])
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 6, 5], [5, 6, 7], [0, 4, 1], [1, 4, 5]])
    mask = np.zeros((120, 160), bool)
    mask[49:70, 69:90] = True
    with BopWriter(tmp_path / "data", camera) as writer:
        writer.add_model(1, Mesh(corners, faces))
        for shade in (30, 200):
            frame = np.full((120, 160, 3), shade, np.uint8)
            t = np.array([0.0, 0, 420])
            writer.add_frame(frame, camera.K, [LabelledObject(1, np.eye(3), t, mask)])
    return tmp_path / "data"


def test_a_data_set_is_checked_and_drawn(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, "--out", tmp_path / "drawn")
    assert result.exit_code == 0, result.output
    assert "Split train: 1 scenes, 2 frames 160 x 120 pixels, 2 instances" in result.stdout
    assert len(list((tmp_path / "drawn").iterdir())) == 2
    report = json.loads(run(dataset, "--json").stdout)
    assert report["splits"]["train"]["frames"] == 2


def test_a_package_is_shown_as_before(tiny_package: Path) -> None:
    from edgesafe.runtime.inspect_cmd import inspect as inspect_package

    assert (
        run(tiny_package).stdout == CliRunner().invoke(inspect_package, [str(tiny_package)]).stdout
    )
    assert json.loads(run(tiny_package, "--json").stdout)["kind"] == "moderation"


def test_options_of_the_other_kind_are_wrong_usage(dataset: Path, tiny_package: Path) -> None:
    result = run(tiny_package, "--out", "x")
    assert result.exit_code == 2 and "is for BOP data sets" in result.stderr
    result = run(dataset, "--allow-hard-links")
    assert result.exit_code == 2 and "is for packages" in result.stderr


def test_every_option_of_the_package_half_is_taken_over() -> None:
    from edgesafe.runtime.inspect_cmd import inspect as inspect_package

    own = {option for parameter in inspect.params for option in parameter.opts}
    assert {option for parameter in inspect_package.params for option in parameter.opts} <= own
