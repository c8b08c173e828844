from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesafe.calib.render.camera_effects import CameraEffects
from edgesafe.calib.render.frame import Studio
from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.scene import (
    FixedToBoard,
    SceneOptions,
    random_rotation,
    random_scene,
)
from edgesafe.calib.render.shapes import box, hand, lathe, random_shape
from edgesafe.runtime.pose.intrinsics import Camera

CAMERA = Camera(np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]]), 320, 240)


@pytest.fixture
def studio() -> Studio:
    cone = lathe(np.array([0, 40.0, 20.0, 0]), np.array([-50.0, -50.0, 50.0, 50.0]))
    options = SceneOptions(objects=(3, 5), distance=(300.0, 900.0), clutter=(1, 3))
    return Studio(
        {3: box([60, 80, 100]), 5: cone}, CAMERA, Photos(), None, options, CameraEffects()
    )


def test_the_same_seed_gives_the_same_frame(studio: Studio):
    one, other = (studio.frame(np.random.default_rng([3, 1])) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    assert [part.t.tolist() for part in one.objects] == [part.t.tolist() for part in other.objects]
    third = studio.frame(np.random.default_rng([3, 2]))
    assert not np.array_equal(one.rgb, third.rgb)


def test_the_truth_agrees_with_the_picture_and_with_itself(studio: Studio):
    for number in range(6):
        frame = studio.frame(np.random.default_rng([0, number]))
        assert frame.rgb.shape == (240, 320, 3) and frame.rgb.dtype == np.uint8
        assert frame.objects
        for part in frame.objects:
            np.testing.assert_allclose(part.R @ part.R.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(part.R) == pytest.approx(1)
            assert part.mask is not None and part.visible is not None
            assert not (part.visible & ~part.mask).any()
            info = part.info()
            assert info["px_count_visib"] == part.visible.sum() <= info["px_count_all"]
            assert 0 <= info["visib_fract"] <= 1
            # The box of the silhouette is the box of the projected corners of the mesh.
            surface = studio.parts[part.obj_id]
            points = (surface.vertices @ part.R.T + part.t) @ CAMERA.K.T
            u, v = (points[:, :2] / points[:, 2:]).T
            x, y, w, h = info["bbox_obj"]
            assert abs(x - u.min()) <= 1.5 and abs(x + w - 1 - u.max()) <= 1.5
            assert abs(y - v.min()) <= 1.5 and abs(y + h - 1 - v.max()) <= 1.5


def test_distance_and_place_in_the_frame_are_kept(studio: Studio):
    options = replace(studio.scenes, distance=(500.0, 700.0), border=0.1)
    for number in range(8):
        frame = replace(studio, scenes=options).frame(np.random.default_rng([1, number]))
        for part in frame.objects:
            assert 500 <= part.t[2] <= 700
            u, v, _ = CAMERA.K @ part.t / part.t[2]
            assert 31.9 <= u <= 288.1 and 23.9 <= v <= 216.1


def test_on_a_table_upright_parts_share_one_up_and_stand_at_one_height(studio: Studio):
    options = replace(studio.scenes, table=1.0, upright=1.0, occluders=(0, 0))
    heights, leans, frames = [], [], 0
    for number in range(6):
        frame = replace(studio, scenes=options).frame(np.random.default_rng([2, number]))
        if len(frame.objects) < 2:
            continue
        frames += 1
        up = np.mean([part.R[:, 2] for part in frame.objects], axis=0)
        up /= np.linalg.norm(up)
        leans += [part.R[:, 2] @ up for part in frame.objects]
        # Seen from above: up points towards the camera, against its view.
        assert up[2] < 0.1
        # Both parts are 100 high with their origin in the middle.
        heights += [np.ptp([up @ part.t for part in frame.objects])]
    assert frames >= 3
    assert np.min(leans) > np.cos(np.radians(12))
    assert np.median(heights) < 12


def test_occluders_hide_something(studio: Studio):
    def mean_visible(occluders: tuple[int, int]) -> float:
        options = replace(studio.scenes, occluders=occluders, clutter=(0, 0), objects=(1, 1))
        frames = (
            replace(studio, scenes=options).frame(np.random.default_rng([4, n])) for n in range(10)
        )
        return float(
            np.mean([part.info()["visib_fract"] for frame in frames for part in frame.objects])
        )

    assert mean_visible((0, 0)) > 0.93  # cut by the border at most
    assert 0.05 < mean_visible((3, 3)) < 0.85


def test_random_rotations_are_uniform():
    rng = np.random.default_rng(0)
    turns = np.array([random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    # Each entry of a uniform rotation has mean 0 and variance 1/3; the trace has mean 0.
    assert np.abs(turns.mean(0)).max() < 0.05
    np.testing.assert_allclose(turns.var(0), 1 / 3, atol=0.03)
    assert abs(np.trace(turns, axis1=1, axis2=2).mean()) < 0.06


def test_shapes_are_finite_and_of_the_wanted_size():
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = random_shape(rng, 100.0)
        assert shape.radius == pytest.approx(50)
        for values in (shape.vertices, shape.normals, shape.colours):
            assert np.isfinite(values).all()
        assert shape.faces.max() < len(shape.vertices)
    assert 60 < hand(rng).radius < 400


def test_without_effects_a_camera_changes_little():
    from edgesafe.calib.render.camera_effects import photograph

    still = CameraEffects(
        defocus=0, motion=0, motion_share=0, softness=0, noise=0, colour_noise=0, cast=0,
        exposure=0, gamma=0, sharpening=0, jpeg_share=0,
    )  # fmt: skip
    frame = np.random.default_rng(0).integers(60, 130, (64, 64, 3)).astype(np.uint8)
    out = photograph(frame, np.random.default_rng(0), still)
    assert np.abs(out.astype(int) - frame).mean() < 16  # a random black level remains
    strong = photograph(frame, np.random.default_rng(0), CameraEffects())
    assert np.abs(strong.astype(int) - frame).mean() > np.abs(out.astype(int) - frame).mean()


def test_a_part_fixed_to_the_board_never_moves_against_it(studio: Studio):
    fixed = {3: FixedToBoard(30.0, -90.0, 40.0), 5: FixedToBoard(0.0, 0.0, 0.0)}
    options = replace(
        studio.scenes, objects=(1, 1), table=1.0, board=1.0, fixed=fixed, clutter=(1, 2)
    )
    seen: set[int] = set()
    for number in range(12):
        rng = np.random.default_rng([6, number])
        scene = random_scene(studio.parts, CAMERA, options, rng)
        assert scene.board is not None and scene.t_ground is not None
        (body,) = (body for body in scene.bodies if body.part is not None)
        assert body.part is not None
        seen.add(body.part)
        R_board = scene.R_ground @ scene.board.R
        t_board = scene.R_ground @ [*scene.board.middle, 0] + scene.t_ground
        place = fixed[body.part]
        np.testing.assert_allclose(R_board.T @ body.R, place.R, atol=1e-9)
        # Both parts are 100 high with their origin in the middle; z of a board is down.
        relative = R_board.T @ (body.t - t_board)
        np.testing.assert_allclose(relative, [place.x, place.y, -50.0], atol=1e-9)
        turned = place.R[:2, 0]
        assert np.degrees(np.arctan2(turned[1], turned[0])) == pytest.approx(place.degrees)
    assert seen == {3, 5}
