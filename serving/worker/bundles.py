"""A bundle named on the command line → the version to load.

Kept apart: it needs the registry's parsers (pydantic, protobuf), which a supervised worker never
imports.
"""

from dataclasses import replace
from pathlib import Path

from serving.registry.bundles.bundle import read_bundle
from serving.registry.bundles.golden_samples import golden_spec
from serving.registry.contracts.kept_contract import bundle_contract
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import VersionSpec


def bundle_version(folder: Path, *, device: str, threads: int) -> VersionSpec:
    """Verify a bundle and describe it.

    Raises:
        NotFoundError: There is no manifest in the folder.
        InvalidArgumentError: The bundle is not what its manifest says.
        UnsupportedError: Its configuration asks for something that is not served.
    """
    bundle = read_bundle(folder)
    manifest = bundle.manifest
    config = parse_config(manifest.config, model=manifest.name, source=str(folder))
    return VersionSpec(
        model=manifest.name,
        version=manifest.version,
        file=str(bundle.folder / manifest.model_file),
        format=manifest.format,
        size_bytes=bundle.size_bytes,
        digest=bundle.digest,
        origin=f"bundle {bundle.folder}",
        policy=replace(config.policy, device=device, threads=threads or config.policy.threads),
        config_text=config.text,
        folder=str(bundle.folder),
        golden=golden_spec(manifest),
        contract=bundle_contract(bundle.folder, manifest),
    )
