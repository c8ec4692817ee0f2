"""Loads a bundle's model once, on the CPU, as a worker would: what is it, does it run, how fast?"""

import time
from dataclasses import dataclass

from runtimes.batch_proof import settle_signature
from runtimes.catalogue import runtime_for
from runtimes.contract import LoadRequest, Noted, TensorSpec
from runtimes.devices import CPU
from runtimes.signature import Configured, declared_inputs, declared_outputs
from runtimes.threads import available_cpus, threads_for
from runtimes.warmup import warm_up
from serving.registry.bundle import Bundle
from serving.registry.dependencies import differences_text
from serving.registry.pins import compare, installed_packages, node_environment, read_pins
from serving.registry.triton_config import parse_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a model turned out to be, here."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int
    """0: no batch dimension."""
    run_s: float
    """Median seconds of one warm run of one row; 0 where nothing could be run."""
    notes: tuple[str, ...]


def inspect_bundle(bundle: Bundle, *, may_execute: bool = False) -> Inspection:
    """Load the model from its bundle, compare it with its configuration, and run it once.

    Args:
        bundle: What to look at.
        may_execute: Loading may run code that the file carries.

    Raises:
        ModelLoadError: It does not load, or its configuration contradicts it.
        UnsupportedError: Its engine is not installed.
    """
    manifest = bundle.manifest
    policy = parse_config(manifest.config, model=manifest.name).policy
    configured = Configured(
        max_batch_rows=policy.max_batch_rows, inputs=policy.inputs, outputs=policy.outputs
    )
    request = LoadRequest(
        file=bundle.folder / manifest.model_file,
        device=CPU,
        threads=policy.threads or threads_for(available_cpus(), policy.replica_count),
        declared_inputs=declared_inputs(configured),
        declared_outputs=declared_outputs(configured),
        may_execute=may_execute,
    )
    model = runtime_for(manifest.format).load(request)
    try:
        signature = settle_signature(model, configured)
        warmth = warm_up(model, signature.inputs, now_s=time.perf_counter)
        own = model.notes if isinstance(model, Noted) else ()
    finally:
        model.close()
    return Inspection(
        inputs=signature.inputs,
        outputs=signature.outputs,
        max_batch_rows=signature.max_batch_rows,
        run_s=warmth.run_s or 0.0,
        notes=tuple(
            note for note in (*own, *signature.notes, warmth.note, _pins_note(bundle)) if note
        ),
    )


def _pins_note(bundle: Bundle) -> str:
    """Say that the model was inspected with other packages than it pins, if so."""
    name = bundle.manifest.requirements.lock_file
    pins = read_pins(bundle.folder / name) if name else ()
    mismatches = compare(pins, installed_packages(), node_environment()) if pins else ()
    return f"inspected with other packages: {differences_text(mismatches)}" if mismatches else ""
