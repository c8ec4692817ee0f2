"""The bundles of a registry in an object store, by digest, with a copy of each in the home.

::

    URL/bundles/DIGEST/<file>          every file of the bundle, under its path
    URL/bundles/DIGEST/manifest.json   written last: without it the bundle is not there

Names are digests, so pushes of the same bundle write the same bytes, in whatever order. Nothing is
served from the store: a bundle is fetched, verified byte by byte, and then appears in the home's
copy by one rename. An object is taken to appear as a whole, as S3 and its like promise.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import fsspec

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import NotFoundError, NotReadyError
from serving.registry.blobs import Blobs
from serving.registry.bundles.bundle import CHUNK_BYTES, Bundle, read_bundle
from serving.registry.bundles.manifest import (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    BundleFile,
    parse_manifest,
)
from serving.settings import without_password

FOLDER: Final = "bundles"


class RemoteBlobs:
    """Bundles behind an fsspec URL; the same promises as `Blobs`. Safe for several machines."""

    def __init__(self, url: str, cache: Blobs) -> None:
        """Open the store; nothing is read yet.

        Raises:
            UnsupportedError: Nothing installed here can read such a URL.
            InvalidArgumentError: It is no URL.
        """
        self._url = without_password(url)
        self._cache = cache
        try:
            self._store, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise UnsupportedError(
                f"BASCULE_BLOBS {self._url}: {error}; install the package that it names"
            ) from error
        except ValueError as error:
            raise InvalidArgumentError(f"BASCULE_BLOBS {self._url}: {error}") from error
        self._root = f"{root.rstrip('/')}/{FOLDER}"

    def folder(self, digest: str) -> Path:
        """Return the home's copy of a bundle, which is fetched and verified first if need be.

        Raises:
            NotFoundError: The store has no such bundle.
            InvalidArgumentError: What the store has is damaged.
            NotReadyError: The store does not answer.
        """
        if not self._cache.has(digest):
            self._cache.adopt(digest, lambda folder: self._download(digest, folder))
        return self._cache.folder(digest)

    def has(self, digest: str) -> bool:
        """Whether the store has a bundle as a whole."""
        with self._told():
            there = self._sizes(digest)
            if MANIFEST_FILE not in there:
                return False
            raw = self._store.cat_file(self._key(digest, MANIFEST_FILE))
        try:
            manifest = parse_manifest(raw, f"{self._url}, bundle {digest[:12]}")
        except InvalidArgumentError:
            return False  # damaged: whoever pushes the bundle writes it anew
        return all(there.get(file.path) == file.size_bytes for file in manifest.files)

    def digests(self) -> frozenset[str]:
        """Return the digests of all bundles, whole or not, here or in the store."""
        with self._told():
            self._store.invalidate_cache()
            found = (
                self._store.ls(self._root, detail=False) if self._store.exists(self._root) else ()
            )
        return self._cache.digests() | {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found}

    def size_bytes(self, digest: str) -> int:
        """Return the bytes of a bundle's files in the store."""
        with self._told():
            return sum(self._sizes(digest).values())

    def check(self, digest: str) -> Bundle:
        """Read what the store has of a bundle byte by byte.

        Raises:
            NotFoundError: It is not there.
            InvalidArgumentError: It is damaged.
        """
        with tempfile.TemporaryDirectory(prefix="bascule-check-") as folder:
            place = Path(folder) / "bundle"
            self._download(digest, place)
            return read_bundle(place)

    def add(self, source: Path) -> Bundle:
        """Copy a bundle in, verifying it on the way.

        Of a bundle that the store has already, what is damaged is replaced, and the rest stays.

        Raises:
            NotFoundError: `source` is no bundle.
            InvalidArgumentError: It is damaged.
            NotReadyError: The store does not answer.
        """
        bundle = self._cache.add(source)
        with self._told():
            try:
                self._upload(bundle)
            except FileNotFoundError:
                if self._cache.has(bundle.digest):
                    raise
                # A collection was faster: `has` tells it, and whoever pushes copies it anew.
        return bundle

    def discard(self, digest: str) -> None:
        """Remove a bundle that no version of the catalog names: it is gone with its manifest."""
        with self._told():
            there = self._sizes(digest)
            for path in sorted(there, key=lambda path: path != MANIFEST_FILE):
                self._store.rm_file(self._key(digest, path))
            folder = f"{self._root}/{digest}"
            if self._store.exists(folder):  # a store with real folders
                self._store.rm(folder, recursive=True)
        self._cache.discard(digest)

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder for a bundle to be; what a killed process leaves there the next push clears."""
        return self._cache.scratch()

    def clear_abandoned(self) -> int:
        """Remove what killed processes left half done here; in the store it counts as a bundle."""
        return self._cache.clear_abandoned()

    def count_abandoned(self) -> int:
        """Count the processes that left something half done here and are gone."""
        return self._cache.count_abandoned()

    def _upload(self, bundle: Bundle) -> None:
        whole = self.has(bundle.digest)
        for file in bundle.manifest.files:
            if not (whole and self._has_file(bundle.digest, file)):
                self._put(bundle, file.path)
        if (bundle.folder / SIGNATURE_FILE).exists():
            self._put(bundle, SIGNATURE_FILE)
        if not whole:
            self._put(bundle, MANIFEST_FILE)

    def _key(self, digest: str, path: str) -> str:
        return f"{self._root}/{digest}/{path}"

    def _put(self, bundle: Bundle, path: str) -> None:
        self._store.put_file(str(bundle.folder / path), self._key(bundle.digest, path))

    def _has_file(self, digest: str, file: BundleFile) -> bool:
        """Read what the store has of a file, and say whether it is what was packed."""
        found = hashlib.sha256()
        with self._store.open(self._key(digest, file.path), "rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest() == file.sha256

    def _sizes(self, digest: str) -> Mapping[str, int]:
        """Return the files of a bundle as the store has them now."""
        self._store.invalidate_cache()
        prefix = f"{self._root}/{digest}/"
        found: Mapping[str, Any] = self._store.find(prefix, detail=True)
        return {_inner(path, prefix): int(entry["size"] or 0) for path, entry in found.items()}

    def _download(self, digest: str, folder: Path) -> None:
        with self._told():
            there = self._sizes(digest)
            if MANIFEST_FILE not in there:
                raise NotFoundError(
                    f"{self._url} holds no bundle {digest[:12]}: push the version again"
                )
            for path in there:
                place = folder / path
                if not place.resolve().is_relative_to(folder.resolve()):
                    raise InvalidArgumentError(
                        f"{self._url}: '{path[:80]}' leads out of its bundle"
                    )
                place.parent.mkdir(parents=True, exist_ok=True)
                self._store.get_file(self._key(digest, path), str(place))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the store's failures into errors of our tree."""
        try:
            yield
        except OSError as error:
            told = str(error) or type(error).__name__
            raise NotReadyError(f"the bundles at {self._url} cannot be reached: {told}") from error


def _inner(path: str, prefix: str) -> str:
    """Return a file's path inside its bundle; stores differ in leading slashes."""
    return path.strip("/").removeprefix(prefix.strip("/")).strip("/")
