"""The drawing: true radii, true cones, and the same in SVG and in pixels."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from edgesafe.calib.explain.disk import _cone_edge, draw_disk
from edgesafe.calib.explain.drawing import Drawing
from edgesafe.calib.explain.explanation import ConceptView, explain
from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank
from edgesafe.runtime.manifest import Geometry
from edgesafe.runtime.verdict import Verdict


@pytest.mark.parametrize("c", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("degrees", [20.0, 90.0])
def test_the_edge_of_a_cone_is_seen_under_its_half_aperture(c: float, degrees: float) -> None:
    concept = ConceptView("x", "t", True, 0.5, 0.4, 0.0, 0.0, math.radians(degrees), True)
    edge = list(_cone_edge(concept, c, 1.5))
    apex = lorentz.exp_map0(np.array([0.4, 0.0]), c)
    assert edge[0] == pytest.approx((0.4, 0.0)) and edge[-1][0] == pytest.approx(1.5)
    for radius, angle in edge[1:-1]:
        y = lorentz.exp_map0(radius * np.array([math.cos(angle), math.sin(angle)]), c)
        seen = math.degrees(float(lorentz.exterior_angle(apex, y, c)))
        assert seen == pytest.approx(degrees, abs=1e-6)


def test_svg_and_pixels_show_the_same() -> None:
    drawing = Drawing(40, 30)
    square = [(10, 10), (20, 10), (20, 20), (10, 20)]
    drawing.shape(square, fill="#ff0000")
    drawing.shape([(30, 0), (30, 30)], stroke="#0000ff", width=2, closed=False, dash=(5, 5))
    drawing.shape([(2, 2), (6, 2), (6, 6), (2, 6)], fill="#000000", opacity=0.5)
    pixels = np.asarray(drawing.image())
    assert pixels.shape == (60, 80, 3)
    assert pixels[30, 30].tolist() == [255, 0, 0] and pixels[50, 30].tolist() == [255] * 3
    assert pixels[8, 8] == pytest.approx([128] * 3, abs=2)
    column = pixels[:, 60].astype(int)
    assert (column[4] - column[15]).tolist()[0] < -100  # a dash, then a gap
    root = ET.fromstring(drawing.svg("a <label>"))
    assert root.get("aria-label") == "a <label>" and len(root) == 4


def test_words_are_escaped_and_drawn() -> None:
    drawing = Drawing(60, 30)
    drawing.words(5, 20, "<b>&", bold=True, halo=True)
    assert "&lt;b&gt;&amp;" in drawing.svg("x")
    assert np.asarray(drawing.image()).min() < 100


@pytest.mark.parametrize("radius", [0.0, 0.3, 2.5])
def test_any_explanation_can_be_drawn(radius: float) -> None:
    geometry = Geometry(curvature=1.0, dim=2, min_radius=0.1)
    verdict = Verdict.undecided("no_threshold", None, modality="text", package="p@1#0")
    point = lorentz.exp_map0(np.array([radius, 0.0]), 1.0)
    bank = ConceptBank((), np.empty((0, 2)), geometry)
    drawing = draw_disk(explain(point, verdict, bank, {}))
    text = drawing.svg("x")
    ET.fromstring(text)
    assert "no threshold" in text and "no concept" in text and "nan" not in text
