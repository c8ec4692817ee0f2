"""Images as a handful of numbers: light, contrast and sharpness. Pure."""

from typing import Final

import numpy as np

from serving.monitor.drift.columns import FloatArray

IMAGE_STATISTICS: Final = ("mean", "deviation", "dark", "middle", "light", "sharpness")
MIN_SIDE: Final = 8
CHANNELS: Final = (1, 3, 4)


def is_image(shape: tuple[int, ...]) -> bool:
    """Say whether rows of a shape look like images: channels first or last."""
    if len(shape) != 3:  # noqa: PLR2004  channels, height, width
        return False
    first, last = shape[0] in CHANNELS, shape[-1] in CHANNELS
    sides = shape[1:] if first else shape[:-1]
    return (first or last) and min(sides) >= MIN_SIDE


def image_statistics(images: FloatArray) -> FloatArray:
    """Reduce images of shape (rows, *dims) to shape (rows, statistics)."""
    axis = 1 if images.shape[1] in CHANNELS else 3
    luminance = images.mean(axis=axis)
    flat = luminance.reshape(len(luminance), -1)
    if not len(flat):
        return np.zeros((0, len(IMAGE_STATISTICS)))
    with np.errstate(invalid="ignore", over="ignore"):
        quantiles = np.quantile(flat, (0.05, 0.5, 0.95), axis=1)
        inner = luminance[:, 1:-1, 1:-1]
        laplacian = (
            luminance[:, :-2, 1:-1]
            + luminance[:, 2:, 1:-1]
            + luminance[:, 1:-1, :-2]
            + luminance[:, 1:-1, 2:]
            - 4 * inner
        )
        sharpness = laplacian.reshape(len(flat), -1).var(axis=1)
        return np.column_stack((flat.mean(axis=1), flat.std(axis=1), *quantiles, sharpness))
