"""A folder of packages that Python looks into first: what is installed there can change."""

from pathlib import Path


def install(site: Path, version: str) -> None:
    """Install a version of ml_dtypes where Python looks first, as far as its metadata goes.

    Whoever looks sees the version before, or this one.
    """
    folder = site / "ml_dtypes-0.dist-info"
    folder.mkdir(exist_ok=True)
    fresh = folder / "METADATA.new"
    fresh.write_text(f"Name: ml_dtypes\nVersion: {version}\n")
    fresh.replace(folder / "METADATA")
