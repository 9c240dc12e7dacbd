"""The plane through three networks in weight space, in coordinates that preserve distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

FLATTEST = 1e-6  # smallest ratio of the triangle's height to its base; below, rounding would decide the direction


@dataclass(frozen=True)
class Plane:
    """The plane a + x * u + y * v, where u points from a to b, v is orthogonal to u, and both have length 1.

    So distances in the plane are distances between weights. a lies at (0, 0) and b at (b_x, 0).

    Attributes:
        b_x: distance between a and b.
        c_x, c_y: coordinates of c; c_y is positive.
    """

    b_x: float
    c_x: float
    c_y: float

    @property
    def solutions(self) -> dict[str, tuple[float, float]]:
        """Coordinates of the three networks by name: a, b and c."""
        return {"a": (0.0, 0.0), "b": (self.b_x, 0.0), "c": (self.c_x, self.c_y)}

    def shares(self, x: float, y: float) -> tuple[float, float, float]:
        """Barycentric coordinates (a, b, c) of a point: negative outside the triangle, exact at its corners."""
        c = y / self.c_y
        b = (x - c * self.c_x) / self.b_x
        return 1 - b - c, b, c

    def grid(self, points: int, margin: float) -> list[tuple[float, float]]:
        """Coordinates of points * points grid points, evenly spaced, in rows of equal y.

        Args:
            margin: how far the grid extends beyond the networks, as a share of the longer side of their bounding box.
        """
        xs, ys = zip(*self.solutions.values(), strict=True)
        beyond = margin * max(max(xs) - min(xs), max(ys) - min(ys))
        columns, rows = (_spaced(min(side) - beyond, max(side) + beyond, points) for side in (xs, ys))
        return [(x, y) for y in rows for x in columns]


def plane_through(a: Mapping[str, Tensor], b: Mapping[str, Tensor], c: Mapping[str, Tensor]) -> Plane:
    """The plane through three networks.

    Args:
        a, b, c: parameters by name, without buffers, which distances leave out.

    Raises:
        ValueError: the networks lie on one line.
    """
    to_b = {name: b[name].double() - tensor.double() for name, tensor in a.items()}
    to_c = {name: c[name].double() - tensor.double() for name, tensor in a.items()}
    b_x = math.sqrt(_dot(to_b, to_b))
    if b_x > 0:
        along = _dot(to_b, to_c) / b_x**2
        across = {name: tensor - along * to_b[name] for name, tensor in to_c.items()}
        c_y = math.sqrt(_dot(across, across))
        if c_y > FLATTEST * max(b_x, math.sqrt(_dot(to_c, to_c))):
            return Plane(b_x, along * b_x, c_y)
    raise ValueError(
        "the three solutions lie on one line, which leaves no single plane through them; name three others"
    )


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(float((a[name] * b[name]).sum()) for name in a)


def _spaced(low: float, high: float, points: int) -> list[float]:
    return [low + (high - low) * index / (points - 1) for index in range(points)]
