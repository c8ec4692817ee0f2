"""From a bundle, a version or a model file to what preflight judges.

Reads files, and never raises for what is wrong with them: that is what preflight is to find. Ready
for callers with 1,500 versions: a tiny model takes a millisecond or two, and a caller that has
verified a bundle's files already leaves hashing out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from packaging.utils import canonicalize_name

from runtimes.errors import BasculeError
from runtimes.facts import NodeFacts
from runtimes.file_kind import read_model_file
from runtimes.model_facts import ModelFacts, OnnxModel
from runtimes.preflight.subject import (
    Claims,
    Contract,
    FileFact,
    FolderFacts,
    Metadata,
    PackedEnvironment,
    PinMismatch,
    Pins,
    Placement,
    Subject,
    Trust,
)
from runtimes.profile import SHIPPED, HardwareProfile
from serving.registry.bundles.dependencies import Policy, effective_policy
from serving.registry.bundles.golden_samples import specs_of
from serving.registry.bundles.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    SIGNATURE_FILE,
    Manifest,
    parse_manifest,
)
from serving.registry.bundles.pins import compare, mending_command, node_environment, read_pins
from serving.registry.bundles.signatures import MAX_ENVELOPE_BYTES, signers, statement
from serving.registry.contracts.contract_file import (
    MAX_CONTRACT_BYTES,
    judged_contract,
    parse_contract,
)
from serving.registry.contracts.contract_fit import misfits
from serving.registry.model_config.parsing import parse_config
from serving.registry.preflight.folder_facts import measure_bundle, measure_file
from serving.registry.trust.trust import Candidate, TrustPolicy, Unsigned, judge
from serving.registry.version import ServingPolicy, VersionSpec

FORMAT_OF_SUFFIX: Final = {
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".jit": "torchscript",
    ".pt2": "torch_export",
    ".echo": "echo",
}
UNREAD_FORMATS: Final = frozenset({"echo"})
CODE_FORMATS: Final = frozenset({"torch_export"})
PIN_POLICIES: Final[Mapping[Policy, Literal["refuse", "warn", "isolate"]]] = MappingProxyType(
    {Policy.REFUSE: "refuse", Policy.WARN: "warn", Policy.ISOLATE: "isolate"}
)
UNSIGNED: Final[Mapping[Unsigned, Literal["allow", "warn", "refuse"]]] = MappingProxyType(
    {Unsigned.ALLOW: "allow", Unsigned.WARN: "warn", Unsigned.REFUSE: "refuse"}
)
MACHINE: Final = re.compile(
    r"(?<![a-z0-9])(x86_64|aarch64|arm64|ppc64le|s390x|riscv64)(?![a-z0-9])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a version is judged against."""

    node: NodeFacts | None = None
    """Where it shall run; None: nothing is said of environment and hardware."""
    installed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Every package of this node, by normalised name; empty: what the node's facts list counts."""
    profiles: Mapping[str, HardwareProfile] = field(default_factory=lambda: SHIPPED)
    wanted_profiles: tuple[str, ...] = ()
    """Profiles to judge by, in place of those that the version lists."""
    trust: TrustPolicy | None = None
    """None: signatures are verified, and trust is not asked for."""
    dependencies: Policy = Policy.WARN
    allowed_licences: tuple[str, ...] = ()
    now_utc: datetime | None = None
    """What ages are counted to; None: contracts are not read."""
    hashes_files: bool = True
    """False: the caller has compared the files with the manifest already."""


def subject_of_bundle(folder: Path, around: Surroundings) -> Subject:
    """Describe a bundle, damaged or not.

    Raises:
        OSError: Its folder cannot be read at all.
    """
    path = folder / MANIFEST_FILE
    try:
        raw = _read_up_to(path, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(raw, MANIFEST_FILE)
        facts = _measured(folder, manifest, hashes_files=around.hashes_files)
    except OSError as error:
        return _unusable(folder.name, f"{MANIFEST_FILE} cannot be read: {error.strerror}")
    except BasculeError as error:
        return _unusable(folder.name, error.message)
    name = f"{manifest.name}:{manifest.version}"
    claims, listed = _claims_of_text(manifest.config, manifest.name)
    profiles = manifest.requirements.profiles or listed
    subject = Subject(
        name=name,
        format=manifest.format,
        folder=facts,
        model=_model(folder / manifest.model_file, manifest.format, facts),
        claims=_with_rows(claims, manifest.max_batch_rows),
        packed=PackedEnvironment(
            python=manifest.packed_on.python,
            machine=_machine(manifest.packed_on.platform),
            packages=MappingProxyType(dict(manifest.packed_on.packages)),
        ),
        pins=_pins(folder, manifest, around),
        contract=_contract(folder, manifest, around.now_utc),
        trust=_trust(folder, manifest, raw, around),
        metadata=Metadata(
            licence=manifest.licence,
            allowed_licences=around.allowed_licences,
            has_card=bool(manifest.card_file),
            has_golden=manifest.golden is not None,
            needs_memory_bytes=manifest.requirements.memory_bytes,
            needs_gpu_memory_bytes=manifest.requirements.gpu_memory_bytes,
        ),
    )
    return _placed(subject, around, profiles)


def subject_of_file(
    file: Path, around: Surroundings, *, policy: ServingPolicy | None = None
) -> Subject:
    """Describe a model file that has no manifest.

    Args:
        file: The model file.
        around: What it is judged against.
        policy: What its configuration says, if it has one.

    Raises:
        OSError: It cannot be read at all.
    """
    format_name = FORMAT_OF_SUFFIX.get(file.suffix.lower(), "")
    model = None if format_name in UNREAD_FORMATS else read_model_file(file)
    external = model.external if isinstance(model, OnnxModel) else ()
    subject = Subject(
        name=file.name,
        format=format_name,
        folder=measure_file(file, [part.location for part in external]),
        model=model,
        claims=_claims(policy) if policy else Claims(),
    )
    return _placed(subject, around, policy.profiles if policy else ())


def subject_of_version(spec: VersionSpec, around: Surroundings) -> Subject:
    """Describe a version as the controller and the workers know it.

    Raises:
        OSError: Its files cannot be read at all.
    """
    if not spec.folder:
        subject = subject_of_file(Path(spec.file), around, policy=spec.policy)
        contract = None
        if spec.contract is not None and around.now_utc is not None:
            contract = judged_contract(spec.contract, around.now_utc)
        return replace(subject, name=str(spec.key), format=spec.format, contract=contract)
    subject = subject_of_bundle(Path(spec.folder), around)
    claimed = replace(subject, name=str(spec.key), claims=_claims(spec.policy))
    chosen = (spec.policy.profile,) if spec.policy.profile else spec.policy.profiles
    return _placed(claimed, around, chosen)


def _placed(subject: Subject, around: Surroundings, listed: tuple[str, ...]) -> Subject:
    """Add the node, and the profiles that are known there."""
    names = around.wanted_profiles or listed
    unknown = tuple(name for name in names if name not in around.profiles)
    known = tuple(around.profiles[name] for name in names if name in around.profiles)
    placement = Placement(node=around.node, profiles=known) if around.node else None
    return replace(subject, unknown_profiles=unknown, placement=placement)


def _unusable(name: str, problem: str) -> Subject:
    return Subject(
        name=name,
        format="",
        folder=FolderFacts(model_file=""),
        model=None,
        manifest_problem=problem,
    )


def _measured(folder: Path, manifest: Manifest, *, hashes_files: bool) -> FolderFacts:
    listed = tuple(
        FileFact(
            path=file.path,
            size_bytes=file.size_bytes,
            sha256=file.sha256 if hashes_files else "",
        )
        for file in manifest.files
    )
    ignored = (MANIFEST_FILE, SIGNATURE_FILE)
    return measure_bundle(folder, manifest.model_file, listed, ignored=ignored)


def _model(file: Path, format_name: str, facts: FolderFacts) -> ModelFacts | None:
    is_there = any(one.path == facts.model_file for one in facts.measured)
    if not is_there or format_name in UNREAD_FORMATS:
        return None
    return read_model_file(file)


def _claims_of_text(text: str, model: str) -> tuple[Claims, tuple[str, ...]]:
    """Return what a configuration claims, and the profiles that it lists."""
    try:
        policy = parse_config(text, model=model, source="configuration").policy
    except BasculeError as error:
        return Claims(problem=error.message), ()
    return _claims(policy), policy.profiles


def claims_of_config(text: str, model: str) -> Claims:
    """Return what a configuration claims; one that cannot be read claims its problem."""
    return _claims_of_text(text, model)[0]


def _claims(policy: ServingPolicy) -> Claims:
    return Claims(
        configured=policy.configured,
        ignored=policy.ignored,
        device="cuda" if policy.device.startswith("cuda") else "cpu",
        replica_count=policy.replica_count,
        threads=policy.threads,
        preferred_batch_rows=policy.queue.preferred_batch_rows,
        max_queue_delay_s=policy.queue.max_queue_delay_s,
        default_timeout_s=policy.queue.default_timeout_s,
    )


def _with_rows(claims: Claims, rows: int | None) -> Claims:
    """Let what was found out when it was packed stand where the configuration says nothing."""
    if claims.problem or rows is None or claims.configured.max_batch_rows is not None:
        return claims
    return replace(claims, configured=replace(claims.configured, max_batch_rows=rows))


def _machine(platform: str) -> str:
    found = MACHINE.search(platform)
    return found[1] if found else ""


def _pins(folder: Path, manifest: Manifest, around: Surroundings) -> Pins:
    requirements = manifest.requirements
    policy = effective_policy(requirements, around.dependencies)
    if not requirements.lock_file or policy is Policy.IGNORE or around.node is None:
        return Pins()
    try:
        pins = read_pins(folder / requirements.lock_file)
    except BasculeError as error:
        return Pins(problem=error.message)
    listed = {str(canonicalize_name(name)): one for name, one in around.node.packages.items()}
    environment = {**node_environment(), **_python(around.node.python)}
    differing = compare(pins, around.installed or listed, environment)
    if not around.installed:  # facts list some packages only: what they do not list is unknown
        differing = tuple(one for one in differing if one.found)
    return Pins(
        mismatches=tuple(
            PinMismatch(name=one.name, wanted=one.wanted, found=one.found) for one in differing
        ),
        command=mending_command(differing),
        policy=PIN_POLICIES[policy],
    )


def _contract(folder: Path, manifest: Manifest, now_utc: datetime | None) -> Contract | None:
    file = folder / manifest.contract_file
    if not manifest.contract_file or now_utc is None or not file.is_file() or file.is_symlink():
        return None
    try:
        said = parse_contract(_read_up_to(file, MAX_CONTRACT_BYTES))
    except BasculeError as error:
        return Contract(problem=error.message)
    digests = {one.path: one.sha256 for one in manifest.files}
    specs = specs_of(manifest)
    is_batched = (manifest.max_batch_rows or 0) > 0
    problems = misfits(said, specs.inputs, specs.outputs, is_batched=is_batched)
    return replace(
        judged_contract(said.with_training(manifest.lineage.trained_until), now_utc),
        rule_problems=tuple(problems) if specs.inputs else (),
        model_inputs=specs.inputs,
        model_outputs=specs.outputs,
        packed_reference_sha256=digests.get(manifest.reference_file, ""),
    )


def _python(version: str) -> dict[str, str]:
    short = ".".join(version.split(".")[:2])
    return {"python_version": short, "python_full_version": version} if version else {}


def _trust(folder: Path, manifest: Manifest, raw: bytes, around: Surroundings) -> Trust:
    required = UNSIGNED[around.trust.unsigned] if around.trust else "allow"
    file = folder / SIGNATURE_FILE
    if not file.is_file() or file.is_symlink():
        return Trust(state="unsigned", required=required)
    try:
        envelope = _read_up_to(file, MAX_ENVELOPE_BYTES)
        keys = signers(envelope, statement(manifest, raw), SIGNATURE_FILE)
    except BasculeError as error:
        return Trust(state="invalid", required=required, problem=error.message)
    candidate = Candidate(
        model=manifest.name,
        version=manifest.version,
        runs_code=manifest.format in CODE_FORMATS,
        signers=keys,
    )
    verdict = judge(around.trust or TrustPolicy(), candidate)
    return Trust(
        state="trusted" if verdict.signed_by else "untrusted",
        signer=", ".join(verdict.signed_by or [key.key_id for key in keys]),
        required=required,
        may_execute=verdict.may_execute,
    )


def _read_up_to(file: Path, limit_bytes: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(limit_bytes + 1)
