"""A row of the catalog and its bundle → the version that a worker loads."""

from dataclasses import replace
from pathlib import Path

from runtimes.errors import InvalidArgumentError
from serving.registry.bundle import read_manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.dependencies import Dependencies
from serving.registry.file_digests import FileDigest
from serving.registry.golden_samples import golden_spec
from serving.registry.manifest import Manifest
from serving.registry.triton_config import parse_config
from serving.registry.version import ServingPolicy, VersionSpec


def stored_spec(
    row: RegisteredVersion, folder: Path, dependencies: Dependencies, *, gpu: bool
) -> VersionSpec:
    """Describe a stored version from its manifest, which must be the one that was pushed.

    Args:
        row: The version.
        folder: Where its bundle lies.
        dependencies: What happens where a pinned package differs.
        gpu: What KIND_AUTO means here.

    Raises:
        NotFoundError: The bundle is not there.
        InvalidArgumentError: It is another one.
    """
    source = f"configuration of {row.model}:{row.version}"
    config = parse_config(row.config, model=row.model, source=source, gpu=gpu)
    manifest = read_manifest(folder)
    if manifest.digest() != row.digest:
        raise InvalidArgumentError(
            f"BP-F01 manifest.json: it is not the one that was pushed as {row.model}:{row.version} "
            f"(digest {manifest.digest()[:12]}, pushed {row.digest[:12]}): push the bundle again"
        )
    decision = dependencies.decide(manifest.requirements, folder)
    return VersionSpec(
        model=row.model,
        version=row.version,
        file=str(folder / row.model_file),
        format=row.format,
        size_bytes=row.size_bytes,
        digest=row.digest,
        origin=f"registry {folder}",
        policy=policy_of(config.policy, manifest),
        config_text=config.text,
        folder=str(folder),
        files=tuple(
            FileDigest(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in manifest.files
        ),
        lock_file=decision.lock_file,
        warning=decision.warning,
        golden=golden_spec(manifest),
    )


def policy_of(configured: ServingPolicy, manifest: Manifest) -> ServingPolicy:
    """Return a bundle's policy: its configuration, and what its manifest requires besides."""
    needs = manifest.requirements
    return replace(
        configured,
        profiles=needs.profiles or configured.profiles,
        deterministic=needs.deterministic or configured.deterministic,
    )
