"""Pure: what did running a model show? Judges a `Trial`."""

from collections.abc import Iterator
from typing import Final

from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Subject
from runtimes.preflight.trial import Trial

AS_TOLD: Final = "do what the message says, and export the model again where it says nothing"
LOAD_REMEDIES: Final = {
    "BP-E01": "use a node with that device, or serve the model on the CPU",
    "BP-O05": "export the model with FP32, or serve it on a device that has such a kernel",
    "BP-O06": "serve it on the CPU, or export it with operators that CUDA has kernels for",
    "BP-T06": "move the whole module to one device before it is exported",
}
GROWTH_LIMIT_BYTES: Final = 64 << 20
"""An engine's arena settles below that; every call's rows kept for ever do not."""
MIB: Final = 1 << 20


def check_trial(subject: Subject) -> Iterator[Finding]:
    """Yield what was wrong when a model was loaded and run."""
    trial = subject.trial
    if trial is None:
        return
    name = subject.folder.model_file
    if trial.load_problem:
        code = trial.load_code
        yield found(code, name, trial.load_problem, LOAD_REMEDIES.get(code, AS_TOLD))
    elif trial.signature_problem:
        yield found(
            "BP-C01",
            "configuration",
            f"it contradicts the model: {trial.signature_problem}",
            "correct the configuration",
        )
    else:
        yield from _rows(trial, name)
        yield from _golden(trial)
        yield from _values(trial, name)
        yield from trial.placement
        yield from _cost(trial, name, subject.claims.latency_budget_s)


def _rows(trial: Trial, name: str) -> Iterator[Finding]:
    if not trial.row_interaction:
        return
    if trial.is_batch_claimed:
        yield found(
            "BP-C03",
            name,
            f"max_batch_size {trial.max_batch_rows} is claimed, and {trial.row_interaction}: "
            "joined calls would get each other's answers",
            "set max_batch_size 0, or export the model so that rows do not touch each other",
            evidence=Evidence(trial.row_interaction, "equal answers alone and in company"),
        )


def _golden(trial: Trial) -> Iterator[Finding]:
    if trial.golden_problem:
        yield found(
            "BP-R01",
            "golden samples",
            f"they could not be replayed: {trial.golden_problem}",
            "pack the bundle again with samples that fit the model",
        )
    if trial.golden_not_finite:
        yield found(
            "BP-R02",
            ", ".join(trial.golden_not_finite),
            "it is NaN or infinite where golden inputs were given",
            "correct the model or the samples; compare precision and device with those of packing",
        )
        return
    for one in trial.golden:
        if not one.is_within:
            yield found(
                "BP-R01",
                one.output,
                f"its golden values are not reproduced: {one.detail}",
                "find what differs from the environment of packing (bascule reproduce), or declare "
                "a wider tolerance for other environments",
                evidence=Evidence(one.detail, "within its tolerance"),
            )


def _values(trial: Trial, name: str) -> Iterator[Finding]:
    for problem in trial.shape_problems:
        yield found(
            "BP-R03",
            name,
            problem,
            "correct the output's dims and data_type in the configuration",
        )
    if trial.not_finite and not trial.golden_not_finite:
        yield found(
            "BP-R02",
            ", ".join(trial.not_finite),
            "it is NaN or infinite for made-up inputs",
            "try it with real inputs: pack golden samples with the bundle",
            severity=Severity.WARNING,
        )
    if trial.distinct_runs > 1:
        yield found(
            "BP-R05",
            name,
            f"five runs of the same inputs gave {trial.distinct_runs} different answers",
            "ask for deterministic running when you pack it, or declare a tolerance",
            evidence=Evidence(str(trial.distinct_runs), "1"),
        )
    if trial.run_problem:
        yield found(
            "BP-R08",
            name,
            f"it was not run: {trial.run_problem}",
            "pack golden samples with the bundle, so that it can be tried with real inputs",
        )


def _cost(trial: Trial, name: str, budget_s: float) -> Iterator[Finding]:
    slow = [one for one in trial.latencies if budget_s and one.p99_s > budget_s]
    if slow:
        worst = max(slow, key=lambda one: one.p99_s)
        yield found(
            "BP-R04",
            name,
            f"p99 of {worst.run_count} warm runs of {worst.rows} rows is {worst.p99_s * 1e3:.3g} "
            f"ms, over the budget of {budget_s * 1e3:.3g} ms",
            "lower max_batch_size, use more threads or a faster node, or raise the budget",
            evidence=Evidence(f"{worst.p99_s:.3g}", f"<= {budget_s:.3g}"),
        )
    grown = trial.growth
    if grown is not None and grown.grown_bytes > GROWTH_LIMIT_BYTES:
        yield found(
            "BP-R06",
            name,
            f"memory grew by {grown.grown_bytes // MIB} MiB over {grown.run_count} runs with "
            f"{grown.shape_count} shapes",
            "look for what the model keeps between calls; let callers pad to a few shapes",
            evidence=Evidence(str(grown.grown_bytes), f"<= {GROWTH_LIMIT_BYTES}"),
        )
