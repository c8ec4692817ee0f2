"""Pure: does a version's configuration agree with its model, with itself and with what exists?

Model and configuration are compared by the very function that a worker uses
(`runtimes.signature.read_signature`), so both come to one verdict.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from runtimes.contract import TensorSpec
from runtimes.errors import ModelLoadError
from runtimes.findings import Finding, Severity
from runtimes.misspelling import did_you_mean
from runtimes.model_facts import OnnxModel
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Claims, Subject
from runtimes.reshape import with_wire_shapes
from runtimes.signature import Configured, read_signature


def check_configuration(subject: Subject) -> Iterator[Finding]:
    """Yield what contradicts itself, or the model."""
    if subject.name_problem:
        yield found(
            "BP-C06",
            subject.name,
            subject.name_problem,
            "rename it: a version is a positive number without leading zeros",
        )
    if subject.claims.problem:
        yield found("BP-C05", "configuration", subject.claims.problem, "correct the configuration")
        return
    yield from _queue(subject.claims)
    for field in subject.claims.ignored:
        yield found(
            "BP-C07",
            field,
            "it is kept in the configuration, without effect",
            "leave it out, or do without what it asks for",
        )
    if isinstance(subject.model, OnnxModel):
        yield from _tensors(subject.model, subject.claims.configured)


def _queue(claims: Claims) -> Iterator[Finding]:
    rows = claims.configured.max_batch_rows
    too_large = [one for one in claims.preferred_batch_rows if rows is not None and one > rows]
    if too_large:
        yield found(
            "BP-C04",
            "preferred_batch_size",
            f"preferred_batch_size {too_large[0]} is larger than max_batch_size {rows}",
            f"raise max_batch_size to {max(too_large)}, or lower preferred_batch_size",
            evidence=Evidence(str(too_large[0]), f"<= {rows}"),
        )
    delay, timeout = claims.max_queue_delay_s, claims.default_timeout_s
    if timeout and delay >= timeout:
        yield found(
            "BP-C04",
            "max_queue_delay",
            f"calls wait up to {delay:g} s for company and are refused after {timeout:g} s",
            "lower max_queue_delay_microseconds, or raise default_timeout_microseconds",
            evidence=Evidence(f"{delay:g}", f"< {timeout:g}"),
        )
    if claims.replica_count < 1:
        yield found(
            "BP-C04",
            "replicas",
            f"{claims.replica_count} replicas are asked for, and nothing would run",
            "set count of instance_group to 1 or more",
            evidence=Evidence(str(claims.replica_count), ">= 1"),
        )


def _tensors(model: OnnxModel, configured: Configured) -> Iterator[Finding]:
    wanted = {spec.name for spec in (*configured.inputs, *configured.outputs)}
    for name, kind in model.unserved.items():
        is_input = name not in {spec.name for spec in model.outputs}
        if name in wanted or not configured.outputs or is_input:
            yield found(
                "BP-C01",
                name,
                f"it is {kind}, and only plain tensors travel over the protocol",
                "export the model with a tensor in its place (of scikit-learn: options={'zipmap': "
                "False} of to_onnx), or leave it out of the outputs",
                evidence=Evidence(kind, "a plain tensor"),
            )
            return
    inputs, outputs = _seen(model, configured)
    asked = _known_only(model, configured)
    fixed = _fixed_first(inputs + outputs, configured.max_batch_rows or 0)
    if fixed is not None:
        yield found(
            "BP-C02",
            fixed.name,
            f"its first dimension is {fixed.shape[0]}, and max_batch_size "
            f"{configured.max_batch_rows} is claimed",
            "export the model with a free first dimension, or set max_batch_size 0 and write the "
            "full shape as dims",
            evidence=Evidence(str(list(fixed.shape)), "a free first dimension"),
        )
        return
    try:
        seen = with_wire_shapes(inputs, asked.input_reshapes)
        given = with_wire_shapes(outputs, asked.output_reshapes)
        read_signature(seen, given, asked)
    except ModelLoadError as error:
        yield found(
            "BP-C01",
            "configuration",
            f"it contradicts the model: {error.message}{_nearest(error.message, inputs + outputs)}",
            "correct the configuration; bascule inspect shows the model's tensors",
        )


def _seen(
    model: OnnxModel, configured: Configured
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the tensors that a worker would show, without those whose rank nobody states."""
    named_in = {spec.name for spec in configured.inputs}
    named_out = {spec.name for spec in configured.outputs}
    inputs = tuple(
        spec for spec in model.inputs if not spec.optional or not named_in or spec.name in named_in
    )
    kept = tuple(spec for spec in model.outputs if spec.name in named_out) or model.outputs
    return _ranked(model, inputs), _ranked(model, kept)


def _ranked(model: OnnxModel, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(
        spec
        for spec in specs
        if spec.name not in model.unranked and spec.name not in model.unserved
    )


def _known_only(model: OnnxModel, configured: Configured) -> Configured:
    return replace(
        configured,
        inputs=_ranked(model, configured.inputs),
        outputs=_ranked(model, configured.outputs),
    )


def _fixed_first(specs: tuple[TensorSpec, ...], rows: int) -> TensorSpec | None:
    """Return a tensor whose first dimension can never be as many rows as claimed."""
    if rows <= 1:
        return None
    return next((spec for spec in specs if spec.shape and spec.shape[0] != -1), None)


def _nearest(message: str, specs: tuple[TensorSpec, ...]) -> str:
    """Ask whether a name of the model was meant where the configuration names another."""
    found_name = re.search(r"lists (?:input|output) '([^']*)', which", message)
    if found_name is None:
        return ""
    return did_you_mean(found_name[1], [spec.name for spec in specs], "; ")


def check_timeout(subject: Subject) -> Iterator[Finding]:
    """Yield a timeout that one run already takes; only a trial can tell."""
    timeout, trial = subject.claims.default_timeout_s, subject.trial
    if trial is not None and timeout and trial.run_s > timeout:
        yield found(
            "BP-C04",
            "default_timeout",
            f"one run of one row took {trial.run_s:.3g} s here, and calls that wait {timeout:g} s "
            "are refused",
            "raise default_timeout_microseconds",
            evidence=Evidence(f"{trial.run_s:.3g}", f"< {timeout:g}"),
            severity=Severity.WARNING,
        )
