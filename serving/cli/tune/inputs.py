"""What a trial asks: inputs that somebody gives, a bundle's golden samples, or made-up ones."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from runtimes.contract import TensorSpec
from runtimes.golden_measure import Feeds
from serving.cli.given_samples import given_samples
from serving.cli.predict_http import Body, HttpClient, infer_body
from serving.cli.predict_tensors import NamedTensor, made_up_tensors
from serving.cli.tune.subject import Subject
from serving.host_port import HostPort
from serving.registry.bundles.golden_samples import samples_of, specs_of

METADATA_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The bodies that calls take in turns, and where they come from in words."""

    bodies: tuple[Body, ...]
    text: str


def questions_of(
    subject: Subject, http: HostPort, given: Sequence[Path], rows: int | None
) -> Questions:
    """Return what is asked of a model that is ready.

    Args:
        subject: The model.
        http: Where it is served.
        given: Files of inputs; none: golden samples, or made-up inputs.
        rows: Of made-up inputs; None: golden samples if there are any.

    Raises:
        InvalidArgumentError: A file, or a golden sample, does not suit the model.
    """
    bundle = subject.bundle
    specs = specs_of(bundle.manifest).inputs if bundle else ()
    if not specs:
        with closing(HttpClient(http, METADATA_LIMIT_S)) as client:
            specs = client.metadata(subject.model, None).inputs
    if given:
        feeds = given_samples(given)(specs)
        return _asked(specs, feeds, f"{len(feeds)} given")
    samples = samples_of(bundle.folder, bundle.manifest) if bundle and rows is None else ()
    if samples:
        return _asked(specs, [one.inputs for one in samples], f"{len(samples)} golden samples")
    needed = [spec for spec in specs if not spec.optional]
    tensors = made_up_tensors(needed, rows or 1)
    return Questions(bodies=(infer_body(tensors, {}),), text=f"made up, {rows or 1} rows a call")


def _asked(specs: Sequence[TensorSpec], feeds: Sequence[Feeds], text: str) -> Questions:
    bodies = tuple(
        infer_body(
            tuple(
                NamedTensor(name=spec.name, datatype=spec.datatype, array=array)
                for spec, array in zip(specs, one, strict=True)
                if array is not None
            ),
            {},
        )
        for one in feeds
    )
    sizes = sorted({one[0].shape[0] for one in feeds if one and one[0] is not None and one[0].ndim})
    rows = ", ".join(str(size) for size in sizes)
    return Questions(bodies=bodies, text=f"{text}, first dimension {rows}" if rows else text)
