"""Where the pixels of a processed picture were in the original one.

Coordinates are of edges, not of centres: the pixel in column 3 reaches from x = 3 to x = 4, and a picture 20 wide from
x = 0 to x = 20. So a box round whole pixels has whole numbers, and stretching is one factor.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """An affine map from the pixels that a model sees back to those of the picture it was given.

    Args:
        width: Of the original picture, in pixels.
        height: Likewise.
        processed_width: Of what the model sees, borders included.
        processed_height: Likewise.
        matrix: ``(xx, xy, x0, yx, yy, y0)``: processed (x, y) was at (xx x + xy y + x0, yx x + yy y + y0).
    """

    width: int
    height: int
    processed_width: int
    processed_height: int
    matrix: tuple[float, float, float, float, float, float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @classmethod
    def of(cls, width: int, height: int) -> Geometry:
        """That of a picture to which nothing was done."""
        return cls(width, height, width, height)

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        """Where a point was: outside of the original picture for points on a border that was added."""
        xx, xy, x0, yx, yy, y0 = self.matrix
        return xx * x + xy * y + x0, yx * x + yy * y + y0

    def box_to_original(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """Where a box was, clipped to the original picture.

        Args:
            left: Edges of the box in what the model sees, in pixels.
            top: Likewise.
            right: Likewise.
            bottom: Likewise.

        Returns:
            Left, top, right and bottom in the original picture. A box that lies on an added border alone comes out
            without width or without height, at the nearest edge of the picture.
        """
        corners = self.to_original(left, top), self.to_original(right, bottom)
        xs = sorted(min(max(x, 0.0), float(self.width)) for x, _ in corners)
        ys = sorted(min(max(y, 0.0), float(self.height)) for _, y in corners)
        return xs[0], ys[0], xs[1], ys[1]

    def resized(self, height: int, width: int) -> Geometry:
        """After stretching to a height and width."""
        x, y = self.processed_width / width, self.processed_height / height
        return self._after(width, height, (x, 0.0, 0.0, 0.0, y, 0.0))

    def turned(self) -> Geometry:
        """After a quarter turn clockwise."""
        return self._after(
            self.processed_height, self.processed_width, (0.0, 1.0, 0.0, -1.0, 0.0, float(self.processed_height))
        )

    def window(self, top: int, left: int, height: int, width: int) -> Geometry:
        """After cutting out a window, which may reach beyond the picture: a crop, a border, or both."""
        return self._after(width, height, (1.0, 0.0, float(left), 0.0, 1.0, float(top)))

    def _after(self, width: int, height: int, back: tuple[float, float, float, float, float, float]) -> Geometry:
        """After one more step, given the map from its result to what it was applied to."""
        xx, xy, x0, yx, yy, y0 = self.matrix
        bxx, bxy, bx0, byx, byy, by0 = back
        matrix = (
            xx * bxx + xy * byx,
            xx * bxy + xy * byy,
            xx * bx0 + xy * by0 + x0,
            yx * bxx + yy * byx,
            yx * bxy + yy * byy,
            yx * bx0 + yy * by0 + y0,
        )
        return Geometry(self.width, self.height, width, height, matrix)
