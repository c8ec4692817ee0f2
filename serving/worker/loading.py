"""Loads one version: the files that were packed → runtime → batch decision → warm-up → golden.

Blocks; runs in the loader's thread.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtimes.batch_proof import settle_signature
from runtimes.catalogue import runtime_for
from runtimes.contract import Array, LoadedModel, Noted, Placed, TensorSpec
from runtimes.signature import as_configured
from runtimes.threads import available_cpus, threads_for
from runtimes.warmup import warm_up
from serving.environments.own import environment_note
from serving.registry.file_digests import require_files
from serving.registry.load_request import load_request
from serving.registry.policies.sequence_policy import SequencePolicy
from serving.registry.version import ServedVersion, ServingPolicy, VersionSpec
from serving.wire.padding import Padding
from serving.wire.padding_fit import fit_padding
from serving.worker.golden_replay import replay_golden
from serving.worker.initial_states import initial_states
from serving.worker.model_files import read_labels, run_warmups
from serving.worker.own_environment import OwnEnvironment
from serving.worker.recorder import LOADER_SLOT, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedParts:
    """A model in memory, and what it turned out to be."""

    model: LoadedModel
    served: ServedVersion
    labels: tuple[tuple[str, ...], ...] = ()
    """Class names for each output; empty where none has any."""
    initial_states: tuple[Array, ...] = ()
    """What its sequences start with, if it has any."""
    padding: Padding | None = None
    """How calls of different lengths run together, if they do."""


def load_parts(spec: VersionSpec, note: Note, own: OwnEnvironment) -> LoadedParts:
    """Load, inspect and warm up a version.

    Args:
        spec: What to load.
        note: The version's pen in the flight recorder.
        own: What this process computes with.

    Raises:
        ModelLoadError: It cannot work here, or contradicts its configuration.
        UnsupportedError: Its format is not served here.
        InvalidArgumentError: Its device does not exist.
    """
    begin_s = time.perf_counter()
    policy = spec.policy
    configured = policy.configured
    runtime = runtime_for(spec.format)
    request = load_request(spec, threads=_threads(policy))
    require_files(Path(spec.folder), spec.files)
    with _noted(note):
        opened = runtime.load(request)
        model = as_configured(opened, configured)
        with _closed_on_error(model):
            signature = settle_signature(model, configured)
            padding = fit_padding(policy.padding, signature)
            warmth = warm_up(model, signature.inputs, now_s=time.perf_counter)
            where = opened.device if isinstance(opened, Placed) else request.device
            fingerprint = own.fingerprint(spec.format, request.threads, where)
            golden = replay_golden(model, spec, fingerprint)
            sampled = run_warmups(model, signature, spec)
            hidden = _hidden(policy.sequences)
            outputs = _shown(signature.outputs, hidden.outputs)
            labels = read_labels(outputs, spec)
            initial = initial_states(spec, max_batch_rows=signature.max_batch_rows)
    told = opened.notes if isinstance(opened, Noted) else ()
    found = (*told, *signature.notes, warmth.note, golden, sampled, labels.note)
    notes = (*found, environment_note(), hidden.note)
    served = ServedVersion(
        platform=runtime.platform,
        backend=runtime.backend,
        inputs=_shown(signature.inputs, hidden.inputs),
        outputs=outputs,
        max_batch_rows=signature.max_batch_rows,
        device=str(where),
        threads=request.threads,
        load_s=time.perf_counter() - begin_s,
        run_s=warmth.run_s or 0.0,
        fingerprint=fingerprint,
        has_sequences=policy.sequences is not None,
        notes=tuple(text for text in notes if text),
        findings=opened.findings if isinstance(opened, Placed) else (),
    )
    return LoadedParts(
        model=model,
        served=served,
        labels=labels.names,
        initial_states=initial,
        padding=padding,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hidden:
    """Tensors that the worker itself feeds and keeps (`worker.sequence_stacking`)."""

    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    note: str = ""


def _hidden(sequences: SequencePolicy | None) -> _Hidden:
    if sequences is None:
        return _Hidden()
    return _Hidden(
        inputs=sequences.hidden_inputs,
        outputs=sequences.hidden_outputs,
        note=f"this one worker keeps the state of its sequences, {sequences.max_sequences} at most "
        f"at a time; one that is silent for {sequences.idle_s:g} s ends",
    )


def _shown(specs: Sequence[TensorSpec], hidden: frozenset[str]) -> tuple[TensorSpec, ...]:
    return tuple(spec for spec in specs if spec.name not in hidden)


def _threads(policy: ServingPolicy) -> int:
    """Return the engine's threads: what is asked for, else a share of the node's CPUs."""
    if policy.deterministic:
        return 1
    return policy.threads or threads_for(available_cpus(), policy.replica_count)


@contextmanager
def _noted(note: Note) -> Iterator[None]:
    note.begin(LOADER_SLOT)
    try:
        yield
    finally:
        note.end(LOADER_SLOT)


@contextmanager
def _closed_on_error(model: LoadedModel) -> Iterator[None]:
    try:
        yield
    except BaseException:
        model.close()
        raise
