"""What running a model showed; `runtimes.trial_run` fills it, the checks read it."""

from dataclasses import dataclass

from runtimes.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputComparison:
    """One output against its golden values, over all samples."""

    output: str
    is_within: bool
    detail: str = ""
    """How far off, with the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Warm runs of one batch size."""

    rows: int
    run_count: int
    p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Memory before and after many runs; the largest shape had run before."""

    run_count: int
    shape_count: int
    """Distinct shapes among the runs."""
    grown_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One load and a few runs of a model with its real engine."""

    device: str
    """`cpu`, `cuda:0`."""
    load_problem: str = ""
    """Why the engine refused it; nothing else is known then."""
    load_code: str = "BP-R07"
    """The code of the refusal: the engine's, or that of a device that is not given."""
    placement: tuple[Finding, ...] = ()
    """What is to be told of where it runs."""
    signature_problem: str = ""
    """What the engine's tensors and the configuration disagree about."""
    max_batch_rows: int = 0
    """Rows of a batch, claimed or inferred; 0: no batch dimension."""
    is_batch_claimed: bool = False
    """The configuration claims the batch dimension; else it was inferred, and proven."""
    row_interaction: str = ""
    """Why rows may touch each other; empty where running showed that they do not."""
    is_state_kept: bool = False
    run_problem: str = ""
    """Why made-up inputs could not be run; empty where they ran."""
    shape_problems: tuple[str, ...] = ()
    """Outputs whose shape or datatype is not the declared one."""
    not_finite: tuple[str, ...] = ()
    """Outputs with NaN or infinite values on made-up inputs."""
    golden_problem: str = ""
    """Why the golden samples could not be replayed."""
    golden: tuple[OutputComparison, ...] = ()
    golden_not_finite: tuple[str, ...] = ()
    """Outputs with NaN or infinite values where the golden inputs were given."""
    distinct_runs: int = 1
    """Different answers among five runs of the same inputs."""
    run_s: float = 0.0
    """Median seconds of one warm run of one row; 0: nothing could be run."""
    latencies: tuple[Latency, ...] = ()
    """Times of warm runs, where a budget is to be judged."""
    growth: Growth | None = None
    """How memory changed over many runs; None: they were not made."""
