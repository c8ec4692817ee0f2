"""Bundles that are changed after they were packed, with a manifest that fits again."""

from pathlib import Path

from serving.registry.bundles.bundle import Bundle, hash_file, read_bundle
from serving.registry.bundles.manifest import Manifest


def rewrite_file(bundle: Bundle, path: str, content: bytes) -> None:
    """Write other bytes into a bundle's file; its manifest stays as it is."""
    file = bundle.folder / path
    file.chmod(0o644)
    file.write_bytes(content)


def rewrite_manifest(bundle: Bundle, **fields: object) -> Bundle:
    """Measure every file anew, change fields of the manifest, and return the sound bundle."""
    files = tuple(hash_file(bundle.folder / item.path, item.path) for item in bundle.manifest.files)
    changed: Manifest = bundle.manifest.model_copy(update={"files": files, **fields})
    place: Path = bundle.folder / "manifest.json"
    place.chmod(0o644)
    place.write_bytes(changed.pretty())
    return read_bundle(bundle.folder)
