"""From the painted part to the photograph: uneven light, exposure, white balance, blur, sensor noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, luminance, spread, white


@dataclass(frozen=True, slots=True)
class Camera:
    """How a scene is lit and taken; settled before any defect is painted.

    Attributes:
        light: [H, W] what brightness is multiplied by: lamp, vignette and exposure together.
        tints: gain of each channel.
        grey: whether it takes no colours.
        blur: of the lens, sigma in px.
        grain: [H, W, 3] sensor noise, grey levels of 255; [H, W] where ``grey``.
    """

    light: Array
    tints: tuple[float, float, float]
    grey: bool
    blur: float
    grain: Array

    def expose(self, painted: Array, window: tuple[slice, slice]) -> Array:
        """A part [h, w, 3] of the picture as bright as the photograph shows it, without noise or blur."""
        return np.asarray(np.clip(painted * spread(self.light[window]), 0, 1), np.float32)

    def photograph(self, painted: Array) -> NDArray[np.uint8]:
        """The finished picture [H, W, 3] uint8 of a painted one [H, W, 3] in [0, 1]."""
        if self.grey:
            exposed = luminance(painted) * self.light
        else:
            exposed = painted * np.asarray(cv2.merge([self.light * np.float32(t) for t in self.tints]))
        if self.blur > 0.4:
            exposed = np.asarray(cv2.GaussianBlur(exposed, (0, 0), self.blur), np.float32)
        picture = cv2.addWeighted(exposed, 255.0, self.grain, 1.0, 0.0, dtype=cv2.CV_8U)
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if self.grey else picture, np.uint8)


def take_as_it_is(picture: Array, grey: bool) -> Camera:
    """A camera for a real photograph [H, W, 3] in [0, 1], which was lit and taken before: it adds nothing."""
    height, width = picture.shape[:2]
    shape = (height, width) if grey else (height, width, 3)
    light, grain = np.ones((height, width), np.float32), np.zeros(shape, np.float32)
    return Camera(light=light, tints=(1.0, 1.0, 1.0), grey=grey, blur=0.0, grain=grain)


def set_up_camera(rng: Generator, scene: Array) -> Camera:
    """A camera and lamps for a scene [H, W, 3], exposed for its mean brightness."""
    height, width = scene.shape[:2]
    # Light varies slowly: it is made at a sixteenth of the size.
    y, x = np.mgrid[-1 : 1 : max(2, height // 16) * 1j, -1 : 1 : max(2, width // 16) * 1j]
    angle, middle = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5, 2)
    lamp = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / rng.uniform(0.5, 2.0))
    light = 1 + rng.uniform(0, 0.3) * (x * math.cos(angle) + y * math.sin(angle))
    light += rng.uniform(-0.1, 0.3) * lamp
    light *= 1 - rng.uniform(0, 0.2) * (x * x + y * y)
    typical = float(scene[::8, ::8].mean()) * float(light.mean())
    exposure = float(np.clip(rng.uniform(0.28, 0.6) / max(typical, 0.02), 0.6, 1.35))
    field = cv2.resize((light * exposure).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    tints = rng.normal(1, 0.03, 3)
    grey = bool(rng.random() < 0.25)
    shape = (height, width) if grey else (height, width, 3)
    grain = white(rng, height, math.prod(shape) // height).reshape(shape) * np.float32(rng.uniform(0.5, 9.0))
    return Camera(
        light=np.asarray(field, np.float32),
        tints=(float(tints[0]), float(tints[1]), float(tints[2])),
        grey=grey,
        blur=rng.uniform(0.2, 0.9),
        grain=grain,
    )
