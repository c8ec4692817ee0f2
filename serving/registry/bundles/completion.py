"""Runs a model that is being packed, and fills in what its manifest says of it.

Specs and batch as the engine gives them, memory, where it ran, golden samples with the tolerances
that held here. What cannot be found out is said in the notes, and left empty.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from runtimes.batch_proof import settle_signature
from runtimes.catalogue import runtime_for
from runtimes.contract import LoadedModel, Noted, TensorSpec
from runtimes.devices import CPU, Device
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.golden import encode_sample
from runtimes.golden_measure import Feeds, Measured, Say, feeds_for, measure
from runtimes.gpu_memory import GpuMeter, Taken
from runtimes.node_probe import probe
from runtimes.peak_memory import PeakMemory
from runtimes.signature import Signature
from runtimes.tolerance import Tolerance
from runtimes.warmup import warm_up
from serving.registry.bundles.bundle import Bundle, write_file
from serving.registry.bundles.bundle_model import BundleModel, model_of
from serving.registry.bundles.card import card_text
from serving.registry.bundles.dependencies import differences_text
from serving.registry.bundles.golden_samples import tensors_of, to_stored
from serving.registry.bundles.manifest import Golden, GoldenOutput, Manifest, PackedOn
from serving.registry.bundles.packing import CARD_FILE
from serving.registry.bundles.pins import compare, installed_packages, node_environment, read_pins
from serving.registry.environment import environment_of

GOLDEN_FOLDER: Final = "golden"
DEFAULT_SAMPLES: Final = 3

Given = Callable[[Sequence[TensorSpec]], Sequence[Feeds]]
"""Reads the inputs that somebody brought, for a model with these inputs."""


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """How a model is run while it is packed."""

    golden_count: int = DEFAULT_SAMPLES
    """Samples to make up where none are given; 0: none."""
    given: Given | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=lambda: MappingProxyType({}))
    """By output, what is accepted in another environment, where its owner says so."""
    device: Device = CPU
    meter: GpuMeter | None = None
    """Measures memory of the device; None: it has none of its own."""
    may_execute: bool = False
    """Loading may run code that the file carries: who packs it vouches for it."""
    say: Say = _silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a model turned out to be, here."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int
    """0: no batch dimension."""
    run_s: float
    """Median seconds of one warm run of one row; 0 where nothing could be run."""
    memory_bytes: int
    """Memory that loading and running took at its highest, at least what its files have."""
    notes: tuple[str, ...]
    gpu_memory_bytes: int = 0
    """Likewise of the GPU; 0: it ran on none, or nobody could tell."""
    measured: Measured | None = None
    """Its golden samples; None where there are none."""


def complete_bundle(draft: Bundle, order: RunOrder) -> tuple[Manifest, Inspection]:
    """Run the model of a bundle in the making; write its golden samples and its card.

    Returns:
        The manifest with what was found out, and the same for people.

    Raises:
        ModelLoadError: It does not load, or its configuration contradicts it.
        InvalidArgumentError: A given sample cannot be run, or a tolerance is of no output.
        UnsupportedError: Its engine is not installed.
    """
    model = model_of(draft.folder, draft.manifest)
    signature, seen, feeds = _inspect(model, order)
    _require_outputs(order.tolerances, signature.outputs)
    manifest = draft.manifest.model_copy(
        update={
            "inputs": tensors_of(signature.inputs),
            "outputs": tensors_of(signature.outputs),
            "max_batch_rows": signature.max_batch_rows,
            "requirements": draft.manifest.requirements.model_copy(
                update={
                    "memory_bytes": seen.memory_bytes,
                    "gpu_memory_bytes": seen.gpu_memory_bytes,
                }
            ),
            "packed_on": PackedOn.of(
                environment_of(
                    probe(),
                    format_name=draft.manifest.format,
                    threads=model.threads if feeds else 0,
                    device=order.device,
                )
            ),
        }
    )
    measured = None
    if feeds:
        measured = measure(
            lambda threads: model.load(threads, order.device, may_execute=order.may_execute),
            model.threads,
            feeds,
            has_batch=signature.max_batch_rows > 1,
            say=order.say,
        )
        golden = _write_golden(draft, signature, measured, order)
        manifest = manifest.model_copy(update={"golden": golden})
    if not manifest.card_file and not (draft.folder / CARD_FILE).exists():
        write_file(draft.folder / CARD_FILE, card_text(manifest).encode())
    manifest = manifest.model_copy(update={"card_file": CARD_FILE})
    return manifest, _with_samples(seen, measured)


def _inspect(
    model: BundleModel, order: RunOrder
) -> tuple[Signature, Inspection, tuple[Feeds, ...]]:
    """Load the model once, compare it with its configuration, run it, and choose its samples."""
    order.say("loading the model")
    runtime_for(model.manifest.format)  # the engine's own memory is not the model's
    peak = PeakMemory()
    where, may_execute = order.device, order.may_execute
    with closing(model.load(model.threads, where, may_execute=may_execute)) as loaded:
        _look(order.meter)
        order.say("finding out whether rows touch each other")
        signature = settle_signature(loaded, model.configured)
        _look(order.meter)
        warmth = warm_up(loaded, signature.inputs, now_s=time.perf_counter)
        _look(order.meter)
        own = loaded.notes if isinstance(loaded, Noted) else ()
        feeds, reason = _feeds(loaded, signature, order, keeps_state=bool(own))
        # Memory that the process had left over hides a small model: its weights are in there.
        weights_bytes = sum(file.size_bytes for file in model.manifest.files)
        memory_bytes = max(peak.taken_bytes(), weights_bytes)
    taken = order.meter.taken() if order.meter else Taken(size_bytes=0)
    notes = (*own, *signature.notes, warmth.note, reason, taken.note, *_pin_notes(model))
    seen = Inspection(
        inputs=signature.inputs,
        outputs=signature.outputs,
        max_batch_rows=signature.max_batch_rows,
        run_s=warmth.run_s or 0.0,
        memory_bytes=memory_bytes,
        gpu_memory_bytes=taken.size_bytes,
        notes=tuple(note for note in notes if note),
    )
    return signature, seen, feeds


def _look(meter: GpuMeter | None) -> None:
    if meter is not None:
        meter.look()


def _feeds(
    loaded: LoadedModel, signature: Signature, order: RunOrder, *, keeps_state: bool
) -> tuple[tuple[Feeds, ...], str]:
    """Return the inputs of the golden samples, or none and why."""
    if keeps_state:
        return (), "no golden samples: its answers depend on the calls before"
    if order.given is not None:
        return tuple(order.given(signature.inputs)), ""
    if not order.golden_count:
        return (), "no golden samples: none were asked for"
    try:
        made = feeds_for(
            loaded,
            signature.inputs,
            count=order.golden_count,
            max_batch_rows=signature.max_batch_rows,
        )
    except (InvalidArgumentError, EngineError) as error:
        return (), f"no golden samples: {error.message}; bring inputs with --golden"
    return made, ""


def _write_golden(
    draft: Bundle, signature: Signature, measured: Measured, order: RunOrder
) -> Golden:
    if (draft.folder / GOLDEN_FOLDER).exists():
        raise InvalidArgumentError(
            f"a file to include lies in {GOLDEN_FOLDER}/, where samples go: move it elsewhere"
        )
    (draft.folder / GOLDEN_FOLDER).mkdir()
    paths = []
    for index, sample in enumerate(measured.samples):
        paths.append(f"{GOLDEN_FOLDER}/{index}.npz")
        write_file(draft.folder / paths[-1], encode_sample(sample))
    outputs = tuple(
        GoldenOutput(
            name=spec.name,
            same_environment=to_stored(here),
            other_environment=to_stored(order.tolerances.get(spec.name, there)),
        )
        for spec, here, there in zip(
            signature.outputs, measured.same_environment, measured.other_environment, strict=True
        )
    )
    return Golden(samples=tuple(paths), outputs=outputs, generated=order.given is None)


def _require_outputs(tolerances: Mapping[str, Tolerance], outputs: Sequence[TensorSpec]) -> None:
    names = [spec.name for spec in outputs]
    for name in tolerances:
        if name not in names:
            raise InvalidArgumentError(
                f"--tolerance names output '{name[:60]}', and the model gives {', '.join(names)}"
            )


def _pin_notes(model: BundleModel) -> Iterator[str]:
    """Say that the model was inspected with other packages than it pins, if so."""
    name = model.manifest.requirements.lock_file
    pins = read_pins(model.folder / name) if name else ()
    mismatches = compare(pins, installed_packages(), node_environment()) if pins else ()
    if mismatches:
        yield f"inspected with other packages: {differences_text(mismatches)}"


def _with_samples(seen: Inspection, measured: Measured | None) -> Inspection:
    """Add what measuring showed, in words."""
    if measured is None:
        return seen
    return replace(
        seen, measured=measured, notes=(*seen.notes, *_variation_notes(seen.outputs, measured))
    )


def _variation_notes(outputs: Sequence[TensorSpec], measured: Measured) -> Iterator[str]:
    for variation in measured.variations:
        for spec, found in zip(outputs, variation.outputs, strict=True):
            if not found.is_exact:
                yield (
                    f"output '{spec.name}' moves by up to {found.largest_abs:.3g} "
                    f"({found.largest_ulp} ulp): {variation.what}"
                )
