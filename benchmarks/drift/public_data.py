"""Real tables that packages ship, as npz: digits, breast cancer, image segments.

python -m benchmarks.drift.public_data FOLDER, in the environment of scikit-learn and river.
"""

import sys
from pathlib import Path

import numpy as np
from river.datasets import ImageSegments
from sklearn.datasets import load_breast_cancer, load_digits


def main() -> None:
    """Write the tables: rows, and the class of each."""
    folder = Path(sys.argv[1])
    for name, load in (("digits", load_digits), ("breast_cancer", load_breast_cancer)):
        found = load()
        np.savez(folder / f"{name}.npz", rows=found.data, classes=found.target)
    segments = list(ImageSegments())
    rows = np.array([list(row.values()) for row, _ in segments], dtype=np.float64)
    names = sorted({name for _, name in segments})
    classes = np.array([names.index(name) for _, name in segments])
    np.savez(folder / "image_segments.npz", rows=rows, classes=classes)


if __name__ == "__main__":
    main()
