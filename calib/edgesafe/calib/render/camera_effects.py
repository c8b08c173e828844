"""What a cheap camera does to a picture, in the order in which it happens.

Lens (defocus, motion), sensor (exposure, noise, softness of the Bayer pattern), processing (white
balance, gamma, sharpening), storage (JPEG). Everything acts on the whole frame, so that parts and
background have been through the same camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["CameraEffects", "photograph"]

_MEDIUM = 95.0

RGB8 = NDArray[np.uint8]
Rng = np.random.Generator


@dataclass(frozen=True)
class CameraEffects:
    """Largest strength of each effect; each frame draws its own between none and this.

    Attributes:
        defocus: Standard deviation of the lens blur, px.
        motion: Length of the motion blur, px.
        motion_share: Share of frames with motion blur.
        softness: Standard deviation of the colour blur of demosaicing, px.
        noise: Standard deviation of the brightness noise, of 255.
        colour_noise: Standard deviation of the colour noise, of 255.
        cast: Largest gain or loss of a colour channel.
        exposure: Largest error of the automatic exposure, stops.
        gamma: Largest change of the logarithm of gamma.
        sharpening: Weight of the unsharp mask.
        jpeg: Lowest JPEG quality.
        jpeg_share: Share of frames that were JPEG once.
    """

    defocus: float = 1.4
    motion: float = 7.0
    motion_share: float = 0.15
    softness: float = 2.0
    noise: float = 9.0
    colour_noise: float = 9.0
    cast: float = 0.2
    exposure: float = 0.6
    gamma: float = 0.3
    sharpening: float = 1.2
    jpeg: int = 55
    jpeg_share: float = 0.4


def photograph(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    """Return the frame as a random camera would have stored it, (height, width, 3)."""
    frame = _lens(frame, rng, effects)
    frame = _tone(frame, rng, effects)
    frame = _sensor(frame, rng, effects)
    frame = _sharpen(frame, rng, effects)
    return _store(frame, rng, effects)


def _lens(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    import cv2

    # Most cameras are nearly in focus.
    blur = effects.defocus * rng.random() ** 1.5
    if blur > 0.25:
        frame = cast(RGB8, cv2.GaussianBlur(frame, (0, 0), blur))
    if rng.random() < effects.motion_share:
        length = rng.uniform(0, effects.motion)
        angle = rng.uniform(0, np.pi)
        reach = int(np.ceil(length / 2)) + 1
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        for step in np.linspace(-length / 2, length / 2, 25):
            x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
            kernel[round(y), round(x)] += 1
        frame = cast(RGB8, cv2.filter2D(frame, -1, kernel / kernel.sum()))
    return frame


def _tone(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    """Exposure, white balance, gamma and a lifted or crushed black, in one table a channel."""
    import cv2

    # The camera tries to come to a medium brightness and misses it by up to ``exposure``.
    mean = max(float(frame[::4, ::4].mean()), 8.0)
    gain = (_MEDIUM / mean) ** 0.8 * 2 ** rng.uniform(-effects.exposure, effects.exposure)
    balance = 1 + rng.uniform(-effects.cast, effects.cast, 3)
    gamma = np.exp(rng.uniform(-effects.gamma, effects.gamma))
    black = rng.uniform(-12, 12)
    level = np.arange(256)[:, None] / 255
    table = (level * balance * gain) ** gamma * (255 - black) + black
    table = np.clip(table, 0, 255).astype(np.uint8)
    return cast(RGB8, cv2.LUT(frame, table[:, None]))


def _sensor(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    import cv2

    height, width = frame.shape[:2]
    bright, *colours = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
    softness = rng.uniform(0, effects.softness)
    # Mostly little noise, sometimes much.
    noise = effects.noise * rng.random() ** 3
    colour_noise = effects.colour_noise * rng.random() ** 3
    if noise > 0.3:
        bright = cv2.add(bright, _noise(rng, height, width, noise), dtype=cv2.CV_8U)
    for at, channel in enumerate(colours):
        if softness > 0.4:
            channel = cv2.GaussianBlur(channel, (0, 0), softness)
        if colour_noise > 0.3:
            # Demosaicing and compression leave colour noise in blotches.
            coarse = _noise(rng, (height + 1) // 2, (width + 1) // 2, colour_noise)
            grain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
            channel = cv2.add(channel, grain, dtype=cv2.CV_8U)
        colours[at] = channel
    return cast(RGB8, cv2.cvtColor(cv2.merge([bright, *colours]), cv2.COLOR_YCrCb2RGB))


def _noise(rng: Rng, height: int, width: int, deviation: float) -> NDArray[np.int16]:
    """Return normal noise rounded to integers, (height, width)."""
    values = rng.standard_normal((height, width), dtype=np.float32)
    return cast(NDArray[np.int16], np.rint(values * np.float32(deviation)).astype(np.int16))


def _sharpen(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    import cv2

    amount = effects.sharpening * rng.random()
    if rng.random() < 0.5 or amount < 0.1:
        return frame
    soft = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.7, 1.5))
    return cast(RGB8, cv2.addWeighted(frame, 1 + amount, soft, -amount, 0))


def _store(frame: RGB8, rng: Rng, effects: CameraEffects) -> RGB8:
    import cv2

    if rng.random() >= effects.jpeg_share:
        return frame
    quality = int(rng.integers(effects.jpeg, 96))
    # The order of the channels matters: JPEG keeps green best and blue worst.
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
