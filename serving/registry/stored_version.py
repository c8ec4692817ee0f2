"""A row of the catalog and its bundle → the version that a worker loads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.bundle import read_head
from serving.registry.bundles.dependencies import Dependencies
from serving.registry.bundles.golden_samples import golden_spec
from serving.registry.bundles.manifest import Manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.contracts.kept_contract import stored_contract
from serving.registry.file_digests import FileDigest
from serving.registry.model_config.parsing import parse_config
from serving.registry.people import current_user
from serving.registry.trust.trust import Candidate
from serving.registry.trust.trust_file import Stamp
from serving.registry.trust.trust_gate import TrustGate, candidate_of, head_stamp
from serving.registry.version import ServingPolicy, VersionSpec

PROFILE_SUFFIX: Final = ".drift"
REFERENCE_FILE: Final = "reference.drift"
"""What drift is measured against, in a model's folder of a repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A version as it was read; read again when its manifest or signature changes."""

    stamp: tuple[Stamp, Stamp]
    spec: VersionSpec
    candidate: Candidate


class StoredVersions:
    """The versions of a registry as workers get them, each judged by the rules as they are now."""

    def __init__(self, trust: TrustGate, dependencies: Dependencies, *, gpu: bool) -> None:
        """Remember whom to ask.

        Args:
            trust: The registry's rules.
            dependencies: What happens where a pinned package differs.
            gpu: What KIND_AUTO means here.
        """
        self._trust = trust
        self._dependencies = dependencies
        self._gpu = gpu
        self._known: dict[str, _Known] = {}

    def spec(self, row: RegisteredVersion, folder: Path) -> VersionSpec:
        """Describe a version that may be loaded.

        Raises:
            NotFoundError: The bundle is not there.
            InvalidArgumentError: It is another one, or was changed.
            UntrustedError: The registry's rules refuse it.
        OSError: It cannot be looked at, and was not before.
        """
        stamp = head_stamp(folder)
        known = self._known.get(row.digest)
        if known is None or known.stamp != stamp:
            known = self._known[row.digest] = self._read(row, folder, stamp)
        verdict = self._trust.require(known.candidate)
        warnings = (known.spec.warning, *(str(finding) for finding in verdict.findings))
        return replace(
            known.spec,
            may_execute=verdict.may_execute,
            warning="; ".join(text for text in warnings if text),
        )

    def _read(self, row: RegisteredVersion, folder: Path, stamp: tuple[Stamp, Stamp]) -> _Known:
        try:
            head = read_head(folder)
        except OSError:
            known = self._known.get(row.digest)
            if known is None:
                raise
            return known  # as it was: its worker reads every file before it loads one
        spec = stored_spec(row, head.manifest, folder, self._dependencies, gpu=self._gpu)
        return _Known(stamp=stamp, spec=spec, candidate=candidate_of(head))


def unreadable(error: OSError) -> str:
    """Say what of a bundle cannot be looked at for now, and who must be able to."""
    return (
        f"{error.filename or 'its bundle'}: {error.strerror or error}: user {current_user()}, who "
        "runs this, must be able to read it"
    )


def stored_spec(
    row: RegisteredVersion,
    manifest: Manifest,
    folder: Path,
    dependencies: Dependencies,
    *,
    gpu: bool,
) -> VersionSpec:
    """Describe a stored version from its manifest, which must be the one that was pushed.

    Args:
        row: The version.
        manifest: What lies in its bundle.
        folder: Where its bundle lies.
        dependencies: What happens where a pinned package differs.
        gpu: What KIND_AUTO means here.

    Raises:
        InvalidArgumentError: The bundle is another one.
    """
    source = f"configuration of {row.model}:{row.version}"
    config = parse_config(row.config, model=row.model, source=source, gpu=gpu)
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
        contract=stored_contract(folder, manifest),
        reference=_profile_file(folder, manifest),
    )


def _profile_file(folder: Path, manifest: Manifest) -> str:
    """Return where the learnt profile of the training data lies; rows of it are none."""
    name = manifest.reference_file
    return str(folder / name) if name.endswith(PROFILE_SUFFIX) else ""


def policy_of(configured: ServingPolicy, manifest: Manifest) -> ServingPolicy:
    """Return a bundle's policy: its configuration, and what its manifest requires besides."""
    needs = manifest.requirements
    return replace(
        configured,
        profiles=needs.profiles or configured.profiles,
        deterministic=needs.deterministic or configured.deterministic,
    )
