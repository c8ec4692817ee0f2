"""Inputs that somebody brings for golden samples: JSON as for `bascule predict`, or .npz files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError
from runtimes.golden import read_arrays, take_inputs
from runtimes.golden_measure import Feeds
from serving.cli.predict_tensors import read_text, tensors_from_json


def given_samples(files: Sequence[Path]) -> Callable[[Sequence[TensorSpec]], Sequence[Feeds]]:
    """Return what reads the samples of files, once the model's inputs are known.

    A .npz file is one sample: arrays by the inputs' names, or `input_0` …; a .json file is one
    (an object) or several (a list of objects).
    """
    return lambda specs: [feeds for file in files for feeds in _samples(file, specs)]


def _samples(file: Path, specs: Sequence[TensorSpec]) -> list[Feeds]:
    if file.suffix.lower() == ".json":
        return _from_json(file, specs)
    if file.suffix.lower() != ".npz":
        raise InvalidArgumentError(f"{file}: golden inputs are .npz or .json files")
    arrays = read_arrays(file)
    places = {spec.name: f"input_{index}" for index, spec in enumerate(specs)}
    named = {places.get(name, name): array for name, array in arrays.items()}
    feeds = take_inputs(named, specs, str(file))
    unknown = [name for name in named if not name.startswith("output_")]
    if unknown:
        raise InvalidArgumentError(
            f"{file}: the model has no input '{unknown[0][:60]}': it takes {', '.join(places)}"
        )
    return [feeds]


def _from_json(file: Path, specs: Sequence[TensorSpec]) -> list[Feeds]:
    try:
        found = json.loads(read_text(str(file)))
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"{file} is no JSON: {error}") from error
    listed = found if isinstance(found, list) else [found]
    return [_feeds(json.dumps(item), specs, file) for item in listed]


def _feeds(text: str, specs: Sequence[TensorSpec], file: Path) -> Feeds:
    try:
        named = {item.name: item.array for item in tensors_from_json(text, specs)}
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: {error.message}") from error
    for spec in specs:
        if spec.name not in named and not spec.optional:
            raise InvalidArgumentError(f"{file}: input '{spec.name}' is missing")
    return tuple(named.get(spec.name) for spec in specs)
