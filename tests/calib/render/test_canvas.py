from __future__ import annotations

import numpy as np

from edgesafe.calib.render.canvas import SAMPLES, Canvas, finer, silhouette
from edgesafe.calib.render.raster import RasterBuffers, rasterise
from edgesafe.calib.render.shapes import box

K = np.array([[500.0, 0, 49.5], [0, 500.0, 39.5], [0, 0, 1]])
WIDTH, HEIGHT = 100, 80


def draw(size: list[float], t: list[float], margin: int = 0) -> RasterBuffers:
    return rasterise(
        box(size),
        np.eye(3),
        np.array(t),
        finer(K),
        WIDTH * SAMPLES,
        HEIGHT * SAMPLES,
        margin=margin,
    )


def put(canvas: Canvas, buffers: RasterBuffers, value: float, owner: int) -> None:
    seen = canvas.claim(buffers, owner)
    canvas.paint(seen, np.full((len(seen.index), 3), value, np.float32))


def test_the_middle_of_the_samples_of_a_pixel_is_the_pixel_centre():
    fine = finer(K)
    point = np.array([12.0, -7.0, 500.0])
    pixel = (K @ point / 500)[:2]
    sample = (fine @ point / 500)[:2]
    # Samples 2u and 2u + 1 of pixel u lie about it evenly.
    np.testing.assert_allclose((sample - (SAMPLES - 1) / 2) / SAMPLES, pixel)


def test_the_nearer_body_hides_the_other_whichever_is_drawn_first():
    near, far = draw([20, 20, 2], [0, 0, 400.0]), draw([60, 60, 2], [0, 0, 500.0])
    frames = []
    for order in ((near, far), (far, near)):
        canvas = Canvas(WIDTH, HEIGHT)
        for owner, buffers in enumerate(order):
            put(canvas, buffers, 200 if buffers is near else 100, owner)
        frames.append(canvas.over(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    np.testing.assert_array_equal(frames[0], frames[1])
    assert frames[0][40, 50, 0] == 200
    assert frames[0][40, 25, 0] == 100


def test_visible_masks_never_overlap_and_lie_within_the_whole_ones():
    rng = np.random.default_rng(0)
    canvas = Canvas(WIDTH, HEIGHT)
    outlines = []
    for owner in range(8):
        place = [*rng.uniform(-40, 40, 2), rng.uniform(400, 500)]
        buffers = draw(rng.uniform(10, 40, 3).tolist(), place)
        put(canvas, buffers, 99, owner)
        outlines.append(silhouette(buffers))
    seen = np.zeros((HEIGHT, WIDTH), int)
    for owner, outline in enumerate(outlines):
        visible = canvas.visible(owner, outline.window)
        assert not (visible & ~outline.in_frame(WIDTH, HEIGHT)).any()
        seen += visible
    assert seen.max() == 1
    assert seen.sum() > 500


def test_an_edge_that_runs_through_a_pixel_is_mixed_with_the_background():
    # Edges at 49.5 +- 20.25 px: half a column of samples beyond a whole pixel.
    buffers = draw([40.5, 40.5, 0.002], [0, 0, 500.001])
    canvas = Canvas(WIDTH, HEIGHT)
    put(canvas, buffers, 200, 0)
    frame = canvas.over(np.full((HEIGHT, WIDTH, 3), 100, np.uint8))
    row = frame[40, :, 0].astype(int)
    assert set(row[:29]) == {100} and set(row[31:69]) == {200}
    assert 140 <= row[29] <= 160 or 140 <= row[30] <= 160


def test_a_silhouette_knows_what_the_border_cuts_off():
    buffers = draw([40, 40, 0.002], [-50, 0, 500.001], margin=200)
    outline = silhouette(buffers)
    assert outline.window.x < 0
    assert outline.mask.sum() == 40 * 40
    assert outline.in_frame(WIDTH, HEIGHT).sum() == 20 * 40
