"""Where a registry keeps its bundles: in the home, in another folder, or in an object store."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.registry.blobs import Blobs
from serving.settings import whole_path

if TYPE_CHECKING:
    from serving.registry.remote_blobs import RemoteBlobs

LOCAL: Final = "file://"


def open_blobs(root: Path, place: str) -> "Blobs | RemoteBlobs":
    """Open the place of the bundles.

    Args:
        root: The registry's folder in the home.
        place: A folder, `file://` and a folder, or another fsspec URL; empty: `root`.

    Raises:
        UnsupportedError: Nothing installed here can read such a URL.
        InvalidArgumentError: It is no URL, or in the home of a user who is not known here.
    """
    if not place:
        return Blobs(root)
    if place.startswith(LOCAL) or "://" not in place:
        return Blobs(whole_path(Path(place.removeprefix(LOCAL)), "BASCULE_BLOBS"))
    from serving.registry.remote_blobs import RemoteBlobs  # noqa: PLC0415  a home needs no fsspec

    return RemoteBlobs(place, Blobs(root))
