"""What preflight judges: everything that is known of a version and of its node, as plain records.

`serving.registry.preflight.subject` fills a `Subject` from a bundle, a version or a raw file. What
is not known is None (or empty), and the checks that need it stay silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.facts import NodeFacts
from runtimes.model_facts import ModelFacts
from runtimes.preflight.trial import Trial
from runtimes.profile import HardwareProfile
from runtimes.signature import Configured

NOTHING_CONFIGURED: Final = Configured()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """One file: as a manifest lists it, or as it was measured."""

    path: str
    """Relative to the version's folder."""
    size_bytes: int
    sha256: str = ""
    """Empty: not measured, or not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A version's folder."""

    model_file: str
    listed: tuple[FileFact, ...] | None = None
    """What the manifest lists; None: there is no manifest."""
    measured: tuple[FileFact, ...] = ()
    """What lies there. A file that the manifest does not list, or lists with another size, has no
    sha256."""
    links: tuple[str, ...] = ()
    """Links, and links only: files that lie elsewhere."""
    outside: tuple[str, ...] = ()
    """Links that lead out of the folder."""
    writable: tuple[str, ...] = ()
    """The folder (`.`) or files that every user of the node may change."""
    foreign: tuple[str, ...] = ()
    """Files of another user, who may change them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a version's configuration asks for."""

    configured: Configured = NOTHING_CONFIGURED
    device: Literal["cpu", "cuda"] = "cpu"
    replica_count: int = 1
    threads: int = 0
    """0: chosen from the node's CPUs."""
    preferred_batch_rows: tuple[int, ...] = ()
    max_queue_delay_s: float = 0.0
    default_timeout_s: float = 0.0
    """0: no limit."""
    ignored: tuple[str, ...] = ()
    """Fields of the configuration that nothing acts on."""
    latency_budget_s: float = 0.0
    """What a warm run may take; 0: nobody said."""
    problem: str = ""
    """Why the configuration cannot be read; the other fields say nothing then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedEnvironment:
    """Where a bundle was packed."""

    python: str = ""
    machine: str = ""
    """`x86_64`; empty: not recorded."""
    packages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PinMismatch:
    """A package that the bundle's lock pins and that is not there so."""

    name: str
    wanted: str
    found: str
    """Empty: not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """How a node's packages differ from a bundle's lock."""

    mismatches: tuple[PinMismatch, ...] = ()
    command: str = ""
    """The one command that mends them all."""
    problem: str = ""
    """Why the lock cannot be read."""
    policy: Literal["refuse", "warn", "isolate"] = "refuse"
    """What becomes of a version whose packages differ; `isolate`: it gets an environment of its own
    that is built from the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of a bundle's signature, and what is asked for."""

    state: Literal["unknown", "unsigned", "trusted", "untrusted", "invalid"] = "unknown"
    """`untrusted`: signed well, by a key that is not allowed. `unknown`: nobody looked."""
    signer: str = ""
    required: Literal["allow", "warn", "refuse"] = "allow"
    """What becomes of a bundle without a trusted signature."""
    may_execute: bool = False
    """Its loading may run code that it carries: trusted, and on the allow-list."""
    problem: str = ""
    """Why the signature does not verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the version shall run."""

    node: NodeFacts
    profiles: tuple[HardwareProfile, ...] = ()
    """In order of preference: the first that the node fits is used."""
    activation_bytes: int | None = None
    """Estimated peak of one batch on the device; None: not estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What people wrote about a version; None stands for a raw file, which has nowhere to write."""

    licence: str = ""
    allowed_licences: tuple[str, ...] = ()
    """Empty: any."""
    has_card: bool = False
    has_golden: bool = False
    needs_memory_bytes: int = 0
    """Measured when it was packed; 0: not."""
    needs_gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTensor:
    """A tensor that a data contract is about; None: it says nothing of that."""

    name: str
    datatype: Datatype | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How old some data are."""

    what: str
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeLimits:
    """How old data may be; None: any age will do."""

    warn_s: float | None = None
    block_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a version's data contract says, beside what it is about."""

    inputs: tuple[ContractTensor, ...] = ()
    outputs: tuple[ContractTensor, ...] = ()
    model_inputs: tuple[TensorSpec, ...] = ()
    """As the manifest has them; empty: nobody knows them."""
    model_outputs: tuple[TensorSpec, ...] = ()
    reference_sha256: str = ""
    """Of the reference data that it was written for; empty: it does not say."""
    packed_reference_sha256: str = ""
    """Of the reference in the bundle; empty: there is none."""
    ages: tuple[Age, ...] = ()
    limits: AgeLimits = AgeLimits()
    rule_problems: tuple[str, ...] = ()
    """Rules that cannot be asked of the model's tensors, each with the reason."""
    problem: str = ""
    """Why it cannot be read; the other fields say nothing then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A version and the node that shall run it."""

    name: str
    """What to call it: `model:version`, or a file's name."""
    format: str
    """The declared format, a name of `runtimes.catalogue` or `torch_export`; empty: none."""
    folder: FolderFacts
    model: ModelFacts | None
    """None: there is no model file to read."""
    claims: Claims = Claims()
    packed: PackedEnvironment | None = None
    pins: Pins = Pins()
    trust: Trust = Trust()
    metadata: Metadata | None = None
    contract: Contract | None = None
    """None: it has no contract, or nobody read it."""
    manifest_problem: str = ""
    """Why the manifest, or the folder's layout, cannot be used."""
    name_problem: str = ""
    """Why the model's name or its version's number cannot be used."""
    unknown_profiles: tuple[str, ...] = ()
    """Names of profiles that it lists and that nobody defines."""
    placement: Placement | None = None
    """None: no node was chosen, so nothing is said of environment and hardware."""
    trial: Trial | None = None
    """None: nothing was run."""
