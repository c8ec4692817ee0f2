"""What a version is, as the controller hands it to a worker, and what became of it there.

These records cross process boundaries as JSON (msgspec reads and writes frozen dataclasses), from
our own processes only: untrusted input was checked before it became one of them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.engine_options import DEFAULT_OPTIONS, EngineOptions
from runtimes.findings import Finding
from runtimes.profile import Precision
from runtimes.reshape import Reshape
from runtimes.signature import Configured
from runtimes.tolerance import Tolerance
from serving.ids import VersionKey
from serving.registry.contracts.data_contract import DataContract
from serving.registry.ensemble import EnsembleStep
from serving.registry.file_digests import FileDigest
from serving.registry.policies.drift_policy import DEFAULT_DRIFT, DriftPolicy
from serving.registry.policies.label_policy import NOTHING_SAID, LabelPolicy
from serving.registry.policies.log_policy import UNSAID, LogPolicy
from serving.registry.policies.padding_policy import PaddingPolicy
from serving.registry.policies.scaling_policy import ScalingPolicy
from serving.registry.policies.sequence_policy import SequencePolicy

WARMUP_FOLDER: Final = "warmup"
"""Where a model's folder holds the data of its warm-up samples."""


class Isolation(StrEnum):
    """Who shares a worker process with whom."""

    AUTO = "auto"
    DEDICATED = "dedicated"
    SHARED = "shared"


class VersionState(StrEnum):
    """A version's state, in Triton's words."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"  # failed or unloaded: the reason says which


class TimeoutAction(StrEnum):
    """What becomes of a call that has waited longer than its level allows."""

    REJECT = "REJECT"
    DELAY = "DELAY"  # it runs after the calls of its level that are on time


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPolicy:
    """How the calls of one priority level wait (Triton's ModelQueuePolicy)."""

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_s: float = 0.0
    """Queue time after which the action is taken; 0: never."""
    may_override: bool = False
    """A call's own, shorter timeout leads to the same action; otherwise it refuses the call."""
    max_calls: int = 0
    """Calls of the level that may wait; 0: no bound of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityPolicy:
    """How calls of several levels share one queue: a lower level's number goes first."""

    level_count: int
    default_level: int
    """Where calls go that name no level, or none of these."""
    default: LevelPolicy = LevelPolicy()
    special: tuple[tuple[int, LevelPolicy], ...] = ()
    """Levels that have a policy of their own."""
    client_header: str = ""
    """Clients, told apart by this header, take turns within a level; empty: order of arrival."""
    ageing_s: float = 0.0
    """Each time a call has waited for so long it goes up a level; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How calls wait and which of them run together."""

    preferred_batch_rows: tuple[int, ...] = ()
    max_queue_delay_s: float = 0.0
    max_queue_rows: int = 4096
    """0: no bound in rows."""
    max_queue_calls: int = 0
    """0: no bound in calls."""
    default_timeout_s: float = 0.0
    """Queue time after which a call is refused; 0 means no limit."""
    priorities: PriorityPolicy | None = None
    """None: one queue in order of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """The class names of an output: one a line."""

    output: str
    file: str
    """Relative to the model's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupInput:
    """One tensor of a warm-up sample, without the batch dimension."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    source: Literal["zeros", "random", "file"] = "zeros"
    file: str = ""
    """Raw bytes of one row, below the model's folder `warmup`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupSample:
    """A call that is made when the model is loaded; if it fails, so does the load."""

    name: str
    rows: int
    run_count: int
    inputs: tuple[WarmupInput, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPolicy:
    """What a model's configuration says of how to serve it.

    `inputs` and `outputs` are the configured tensors *without* the batch dimension (Triton's
    `dims`); empty where the configuration lists none and the model itself is the authority.
    """

    max_batch_rows: int | None = None
    """0: no batch dimension; n: the first dimension of every tensor is the batch, at most n rows;
    None: unsaid, found out from the model at load."""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    queue: QueuePolicy = QueuePolicy()
    ensemble: tuple[EnsembleStep, ...] = ()
    """The calls that an ensemble is made of; empty for a model."""
    response_cache: bool = False
    """Answers are kept by what was asked, within the worker's bound."""
    replica_count: int = 1
    """Workers; where they are as many as calls ask for (`scaling`), how many at most."""
    scaling: ScalingPolicy | None = None
    """How many workers there are, by how much it is called; None: `replica_count`, always."""
    device: str = "cpu"
    """`cpu` or `cuda`; a replica that was given devices counts them from 0."""
    threads: int = 0
    """Intra-op threads of the engine; 0: from the node's CPUs and the replicas on it."""
    isolation: Isolation = Isolation.AUTO
    profiles: tuple[str, ...] = ()
    """Hardware profiles in order of preference; empty: any node will do."""
    profile: str = ""
    """The one that was chosen before placement; the fields below are what it says."""
    gpu_count: float = 1.0
    """GPUs of one replica where `device` is one of CUDA; a fraction shares one."""
    precision: Precision = "fp32"
    gpu_arena_bytes: int = 0
    allow_cpu_nodes: bool = True
    may_use_cpu: bool = False
    """On a GPU: a model without any CUDA kernel may run on the CPU: its configuration leaves the
    device open."""
    deterministic: bool = False
    """Run with the engine's deterministic algorithms, and with one thread."""
    sequences: SequencePolicy | None = None
    """Calls come in sequences, whose state one worker keeps; None: each stands for itself.
    `inputs` and `outputs` then name the tensors of the model, hidden ones included."""
    input_reshapes: tuple[Reshape, ...] = ()
    output_reshapes: tuple[Reshape, ...] = ()
    labels: tuple[LabelFile, ...] = ()
    warmups: tuple[WarmupSample, ...] = ()
    options: EngineOptions = DEFAULT_OPTIONS
    log: LogPolicy = UNSAID
    """What is kept of its predictions, where the server keeps any."""
    labelled: LabelPolicy = NOTHING_SAID
    """What its outputs mean beside labels."""
    drift: DriftPolicy = DEFAULT_DRIFT
    """How its rows are watched for drift."""
    padding: PaddingPolicy | None = None
    """Which calls of different lengths run together; None: none do."""
    ignored: tuple[str, ...] = ()
    """What the configuration says and nothing acts on, for people."""

    @property
    def configured(self) -> Configured:
        """What it says of the model's tensors."""
        return Configured(
            max_batch_rows=self.max_batch_rows,
            inputs=self.inputs,
            outputs=self.outputs,
            input_reshapes=self.input_reshapes,
            output_reshapes=self.output_reshapes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSpec:
    """Golden samples of a bundle, and how far outputs may be from them."""

    samples: tuple[str, ...]
    """Files of the bundle, by their paths in it."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    same_environment: tuple[Tolerance, ...]
    """One for each output, where nothing differs from the environment that made the samples."""
    other_environment: tuple[Tolerance, ...]
    """And anywhere else."""
    fingerprint: str = ""
    """Of the environment that made the samples; empty: nobody measured it."""
    waiver: str = ""
    """Until when, by whom and why other answers are allowed; empty: they are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpec:
    """One version to load: everything a worker needs, and where it came from."""

    model: str
    version: int
    file: str
    """Absolute path of the model file, inside its immutable directory."""
    format: str
    """A name of `runtimes.catalogue`: `onnx`, `torchscript`, `torch_export`, `echo`."""
    size_bytes: int
    digest: str
    """Changes when anything of the version changes; a worker reloads on a new digest."""
    origin: str
    """`registry` or `repository`, with the place: for people."""
    policy: ServingPolicy = ServingPolicy()
    config_text: str = ""
    """The model's configuration as protobuf text (config.pbtxt), canonical; may be empty."""
    folder: str = ""
    """Absolute path of the bundle; empty: the version is not from one."""
    files: tuple[FileDigest, ...] = ()
    """What the bundle's files must be: compared before the version is loaded."""
    lock_file: str = ""
    """Absolute path of the lock whose environment its worker runs in; empty: it runs in ours."""
    may_execute: bool = False
    """Loading it may run code that it carries: somebody trusted has signed it, and the registry's
    rules allow it. Formats that cannot do so need it not."""
    warning: str = ""
    """What is to be said of it although it can be served: a pinned package that differs, …"""
    golden: GoldenSpec | None = None
    """Replayed on the real device before the version takes a call."""
    contract: DataContract | None = None
    """What its inputs and outputs must look like; None: nobody said."""
    reference: str = ""
    """Absolute path of the profile that drift is measured against; empty: there is none."""

    @property
    def key(self) -> VersionKey:
        """The version's key."""
        return VersionKey(self.model, self.version)

    @property
    def model_folder(self) -> Path:
        """Where what all versions of the model share lies: labels, warm-up data."""
        return Path(self.folder) if self.folder else Path(self.file).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A loaded version as the worker describes it.

    `inputs` and `outputs` are what metadata shows: with a leading -1 exactly if `max_batch_rows`
    is at least 1.
    """

    platform: str
    backend: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int
    device: str
    threads: int
    load_s: float
    run_s: float
    """Median seconds of one warm run of one row; 0 where nothing could be run at load."""
    fingerprint: str = ""
    """Of the environment that it runs in: all that can change a result."""
    has_sequences: bool = False
    """Its worker keeps the state of sequences."""
    notes: tuple[str, ...] = ()
    """What was inferred or could not be, for people."""
    findings: tuple[Finding, ...] = ()
    """What was noticed when it was loaded."""
