"""Makes a version out of another one: the same model, run in another way, with the reasons."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from serving.registry.bundles.bundle import Bundle, hash_file, walk, write_file
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE, parse_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What is new."""

    version: int
    config: str
    created_utc: datetime
    parent: str
    """The version that it is made from."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by their paths in the bundle; what lies there is replaced."""


def revise(bundle: Bundle, change: Revision, destination: Path) -> Bundle:
    """Write a bundle with another configuration; the model, samples and promises stay.

    Signatures stay behind: who vouched for one version has not vouched for the other.

    Raises:
        InvalidArgumentError: The manifest would be none.
    """
    left_out = shutil.ignore_patterns(SIGNATURE_FILE, MANIFEST_FILE)
    shutil.copytree(bundle.folder, destination, ignore=left_out)
    for path, content in change.files.items():
        place = destination / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        write_file(place, content)
    manifest = bundle.manifest
    kept = tuple(file for file in manifest.files if file.path not in change.files)
    known = {file.path for file in kept}
    new = tuple(
        hash_file(destination / path, path) for path in walk(destination) if path not in known
    )
    whole = manifest.model_copy(
        update={
            "version": change.version,
            "config": change.config,
            "created_utc": change.created_utc,
            "files": (*kept, *new),
            "lineage": manifest.lineage.model_copy(update={"parent": change.parent}),
        }
    )
    checked = parse_manifest(whole.pretty(), f"bundle of {manifest.name}")
    write_file(destination / MANIFEST_FILE, checked.pretty())
    return Bundle(folder=destination, manifest=checked, digest=checked.digest())
