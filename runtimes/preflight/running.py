"""Pure: what did running a model show? Judges a `Trial`."""

from collections.abc import Iterator

from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Subject
from runtimes.preflight.trial import Trial


def check_trial(subject: Subject) -> Iterator[Finding]:
    """Yield what was wrong when a model was loaded and run."""
    trial = subject.trial
    if trial is None:
        return
    name = subject.folder.model_file
    if trial.load_problem:
        code = "BP-E01" if trial.is_device_problem else "BP-R07"
        remedy = (
            "use a node with that device, or serve the model on the CPU"
            if trial.is_device_problem
            else "do what the message says, and export the model again where it says nothing"
        )
        yield found(code, name, trial.load_problem, remedy)
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
