"""Real tables that scikit-learn ships, as npz: digits, breast cancer, wine.

python -m benchmarks.labels.tables FOLDER, in an environment with scikit-learn.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine


def main() -> None:
    """Write rows, and the class of each."""
    folder = Path(sys.argv[1])
    loaders = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
    for name, load in loaders.items():
        found = load()
        np.savez(folder / f"{name}.npz", rows=found.data, classes=found.target)


if __name__ == "__main__":
    main()
