"""Where things are: parts on a table or afloat, clutter around them, occluders before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.shapes import hand, random_shape
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = [
    "BoardPlace",
    "Body",
    "FixedToBoard",
    "Scene",
    "SceneOptions",
    "random_rotation",
    "random_scene",
]

Array = NDArray[np.float64]
Rng = np.random.Generator

_TRIES = 60


class FixedToBoard(NamedTuple):
    """Where a part that never moves against the marker board stands on it.

    Attributes:
        x: Of its origin in the board's frame, mm.
        y: The same.
        degrees: Angle of its x axis, from the board's x to its y; its z axis points away from the
            board.
    """

    x: float
    y: float
    degrees: float

    @property
    def R(self) -> Array:
        """(3, 3) the rotation of T_board_obj."""
        c, s = np.cos(np.radians(self.degrees)), np.sin(np.radians(self.degrees))
        return np.array([[c, s, 0], [s, -c, 0], [0, 0, -1.0]])


class BoardPlace(NamedTuple):
    """Where a marker board lies on the ground.

    Attributes:
        angle: By which it is turned clockwise as it is looked at, radians.
        middle: (2,) x and y of its middle in the frame of the ground, mm.
    """

    angle: float
    middle: Array

    @property
    def R(self) -> Array:
        """(3, 3) the rotation of T_ground_board: z of the board is down."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s, 0], [-s, -c, 0], [0, 0, -1.0]])


@dataclass(frozen=True)
class SceneOptions:
    """What scenes are made of; shares and probabilities in 0..1.

    Attributes:
        objects: Fewest and most parts in a frame.
        distance: Nearest and furthest depth of a part's origin, mm.
        table: Share of frames with a table; in the others everything floats.
        board: Share of the tables with the marker board, where there is one.
        upright: Share of parts with +z up (to within a few degrees) seen from above; the others
            are turned uniformly over all rotations.
        elevation: Lowest and highest angle of view above the table, degrees.
        roll: Standard deviation of the camera's roll about its axis, degrees; one frame in six is
            turned anyhow.
        border: How far a part's origin stays inside the frame, as a share of its sides; negative
            lets it leave.
        occluders: Fewest and most things that are put before a part.
        clutter: Fewest and most other things.
        fixed: Where on the board, which lies on every table, each part stands; there is one in a
            frame, upright, so that ``objects`` must be (1, 1), ``table`` and ``board`` 1. Empty:
            parts and board know nothing of one another.
    """

    objects: tuple[int, int] = (6, 10)
    distance: tuple[float, float] = (400.0, 1300.0)
    table: float = 0.6
    board: float = 0.35
    upright: float = 0.7
    elevation: tuple[float, float] = (5.0, 88.0)
    roll: float = 15.0
    border: float = 0.03
    occluders: tuple[int, int] = (0, 4)
    clutter: tuple[int, int] = (4, 14)
    fixed: Mapping[int, FixedToBoard] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Body:
    """One thing in a scene.

    Attributes:
        surface: Its shape.
        R: (3, 3) rotation of T_cam_body.
        t: (3,) translation of T_cam_body, mm.
        part: The number of the object, or None for what has no label.
    """

    surface: Surface
    R: Array
    t: Array
    part: int | None


@dataclass(frozen=True, eq=False)
class Scene:
    """The bodies of a frame, and the pose of the table where there is one.

    Attributes:
        bodies: In any order.
        R_ground: (3, 3) rotation of T_cam_ground; z of the ground is up.
        t_ground: (3,) its translation, mm; None without a table.
        board: Where the marker board must lie, for a part stands on it; else None.
    """

    bodies: tuple[Body, ...]
    R_ground: Array
    t_ground: Array | None
    board: BoardPlace | None = None


def random_rotation(rng: Rng) -> Array:
    """Return a rotation drawn uniformly from SO(3), (3, 3): a uniform unit quaternion."""
    w, x, y, z = (lambda q: q / np.linalg.norm(q))(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def random_scene(
    parts: Mapping[int, Surface], camera: Camera, options: SceneOptions, rng: Rng
) -> Scene:
    """Return a scene; parts are drawn without repetition as long as there are enough."""
    wanted = int(rng.integers(options.objects[0], options.objects[1] + 1))
    order: list[int] = []
    while len(order) < wanted:
        order += [int(part) for part in rng.permutation(list(parts))]
    order = order[:wanted]
    R_ground = _view(options, rng)
    bodies: list[Body] = []
    board: BoardPlace | None = None
    clutter = int(rng.integers(options.clutter[0], options.clutter[1] + 1))
    if rng.random() < options.table:
        near, far = options.distance
        middle = _ray(
            camera, camera.width * rng.uniform(0.3, 0.7), camera.height * rng.uniform(0.3, 0.7)
        ) * rng.uniform(near + 0.2 * (far - near), far - 0.1 * (far - near))
        setting = _Setting(parts, camera, options, rng, R_ground, middle)
        if options.fixed:
            bodies, board = setting.on_board(order.pop())
        bodies += setting.on_table(order, clutter)
    else:
        setting = _Setting(parts, camera, options, rng, R_ground, None)
        bodies = setting.afloat(order, clutter)
    bodies += setting.occluders(bodies)
    return Scene(tuple(bodies), R_ground, setting.middle, board)


def _view(options: SceneOptions, rng: Rng) -> Array:
    """Return (3, 3) the rotation of T_cam_ground for a random view from above."""
    elevation = np.radians(rng.uniform(*options.elevation))
    roll = np.radians(rng.normal(0, options.roll))
    if rng.random() < 1 / 6:
        roll = rng.uniform(-np.pi, np.pi)
    forward = np.array([0, np.cos(elevation), -np.sin(elevation)])
    right = np.array([1.0, 0, 0])
    looking = np.stack([right, np.cross(forward, right), forward])
    return np.asarray(_about_z(roll) @ looking @ _about_z(rng.uniform(0, 2 * np.pi)))


def _about_z(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _ray(camera: Camera, u: float, v: float) -> Array:
    """Return (3,) the point at depth 1 that is seen at pixel (u, v)."""
    return np.asarray(np.linalg.solve(camera.K, [u, v, 1.0]))


def _project(camera: Camera, point: Array) -> Array:
    """Return (2,) the pixel of a point, (3,), before the camera."""
    image = camera.K @ point
    return np.asarray(image[:2] / image[2])


class _Setting:
    """Puts bodies down one by one, each clear of those before it."""

    def __init__(
        self,
        parts: Mapping[int, Surface],
        camera: Camera,
        options: SceneOptions,
        rng: Rng,
        R_ground: Array,
        middle: Array | None,
    ) -> None:
        self.parts, self.camera, self.options, self.rng = parts, camera, options, rng
        self.R_ground, self.middle = R_ground, middle
        self._spots: list[tuple[Array, float]] = []

    def on_table(self, order: list[int], clutter: int) -> list[Body]:
        assert self.middle is not None
        bodies: list[Body] = []
        things: list[tuple[Surface, int | None]] = [(self.parts[part], part) for part in order]
        things += [
            (random_shape(self.rng, self.rng.uniform(40, 320)), None) for _ in range(clutter)
        ]
        # A heap of parts here, a few far apart there.
        spread = self.rng.uniform(120, 380)
        for surface, part in things:
            R = self._turn(upright=0.8 if part is None else self.options.upright)
            standing = surface.vertices @ R.T
            lift = -float(standing[:, 2].min())
            footprint = float(np.sqrt((standing[:, :2] ** 2).sum(1).max()))
            reach = spread * (1.6 if part is None else 1)
            for _ in range(_TRIES):
                spot = self.rng.normal(0, reach / 1.7, 2)
                place = np.array([spot[0], spot[1], lift])
                t = self.R_ground @ place + self.middle
                if part is not None and not self._in_view(t):
                    continue
                if part is None and t[2] < 0.75 * self.middle[2]:
                    continue
                if self._clear(spot, 0.72 * footprint):
                    bodies.append(Body(surface, self.R_ground @ R, t, part))
                    break
        return bodies

    def on_board(self, part: int) -> tuple[list[Body], BoardPlace]:
        """Stand a part near the middle, and say where the board must lie for it."""
        assert self.middle is not None
        surface, fixed = self.parts[part], self.options.fixed[part]
        bodies: list[Body] = []
        for _ in range(_TRIES):
            place = BoardPlace(self.rng.uniform(0, 2 * np.pi), np.zeros(2))
            R = place.R @ fixed.R
            standing = surface.vertices @ R.T
            spot = self.rng.normal(0, 40, 2)
            place = place._replace(middle=spot - place.R[:2, :2] @ [fixed.x, fixed.y])
            t = self.R_ground @ [*spot, -float(standing[:, 2].min())] + self.middle
            if self._in_view(t):
                footprint = float(np.sqrt((standing[:, :2] ** 2).sum(1).max()))
                self._clear(spot, 0.72 * footprint)
                bodies.append(Body(surface, self.R_ground @ R, t, part))
                break
        return bodies, place

    def afloat(self, order: list[int], clutter: int) -> list[Body]:
        bodies: list[Body] = []
        for part in order:
            surface = self.parts[part]
            for _ in range(_TRIES):
                t = self._somewhere()
                if self._clear(t, 0.6 * surface.radius):
                    R = _view(self.options, self.rng) @ self._turn(upright=self.options.upright)
                    bodies.append(Body(surface, R, t, part))
                    break
        for _ in range(clutter):
            shape = random_shape(self.rng, self.rng.uniform(40, 250))
            t = self._somewhere()
            if self._clear(t, 0.6 * shape.radius):
                bodies.append(Body(shape, random_rotation(self.rng), t, None))
        return bodies

    def occluders(self, bodies: list[Body]) -> list[Body]:
        """Put things between the camera and some of the parts."""
        targets = [body for body in bodies if body.part is not None]
        count = int(self.rng.integers(self.options.occluders[0], self.options.occluders[1] + 1))
        out: list[Body] = []
        for _ in range(count if targets else 0):
            target = targets[self.rng.integers(len(targets))]
            radius = target.surface.radius
            # Nearer than all of the target, beside its middle, so that a part of it stays visible.
            aside = self.rng.normal(size=3)
            aside *= radius * self.rng.uniform(0.5, 1.2) / np.linalg.norm(aside)
            size = radius * self.rng.uniform(0.4, 1.5)
            if self.rng.random() < 0.25:
                shape, size = hand(self.rng), 160.0
            else:
                shape = random_shape(self.rng, size)
            before = radius * 1.05 + size / 2 + self.rng.uniform(0, 60)
            # So near to the camera it would fill the frame.
            if before < target.t[2] / 2:
                t = (target.t + aside) * (1 - before / target.t[2])
                out.append(Body(shape, random_rotation(self.rng), t, None))
        return out

    def _turn(self, upright: float) -> Array:
        """Return a rotation of T_ground_body."""
        if self.rng.random() >= upright:
            return random_rotation(self.rng)
        axis = self.rng.normal(size=2)
        axis *= np.radians(abs(self.rng.normal(0, 2))) / max(np.linalg.norm(axis), 1e-9)
        x, y = axis
        lean = np.array([[1, 0, y], [0, 1, -x], [-y, x, 1.0]])
        # The nearest rotation to a small tilt.
        u, _, v = np.linalg.svd(lean)
        return np.asarray(u @ v @ _about_z(self.rng.uniform(0, 2 * np.pi)))

    def _somewhere(self) -> Array:
        camera, border = self.camera, self.options.border
        u = camera.width * self.rng.uniform(border, 1 - border)
        v = camera.height * self.rng.uniform(border, 1 - border)
        return _ray(camera, u, v) * self.rng.uniform(*self.options.distance)

    def _in_view(self, t: Array) -> bool:
        near, far = self.options.distance
        if not near <= t[2] <= far:
            return False
        u, v = _project(self.camera, t)
        side_x, side_y = self.camera.width, self.camera.height
        border = self.options.border
        return bool(
            border * side_x <= u <= (1 - border) * side_x
            and border * side_y <= v <= (1 - border) * side_y
        )

    def _clear(self, spot: Array, radius: float) -> bool:
        for other, size in self._spots:
            if np.linalg.norm(spot - other) < radius + size:
                return False
        self._spots.append((spot, radius))
        return True
