"""From the words of the command line to a load: questions by the model's metadata, and answers."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing

from runtimes.errors import InvalidArgumentError
from serving.cli.load.clients import Asked, Learner
from serving.cli.load.question import Question, sized_tensors
from serving.cli.load.truth import Steps, Tolerance, Truth
from serving.cli.predict_http import HttpClient, Metadata
from serving.cli.predict_tensors import NamedTensor, read_text, tensors_from_json
from serving.host_port import HostPort


def described(http: HostPort, model: str, limit_s: float) -> Metadata:
    """Ask a model for its inputs, its outputs and its versions.

    Raises:
        NotReadyError: Nobody answers at the address.
        RefusedPredictionError: The server does not have the model.
    """
    with closing(HttpClient(http, limit_s)) as client:
        return client.metadata(model, None)


def question_tensors(
    metadata: Metadata, given: str | None, sizes_bytes: Sequence[int]
) -> tuple[tuple[NamedTensor, ...], ...]:
    """Return the inputs of each question: those in a JSON file, or made up in the wanted sizes.

    Raises:
        InvalidArgumentError: Both were given, or they do not suit the model.
    """
    if given is not None:
        if sizes_bytes:
            raise InvalidArgumentError("give --json-input or --body-bytes, not both")
        return (tensors_from_json(read_text(given), metadata.inputs),)
    return tuple(sized_tensors(metadata.inputs, size) for size in sizes_bytes or (0,))


def told_answers(metadata: Metadata, place: str) -> dict[str, Steps]:
    """Read `{version: {output: nested lists}}`.

    Raises:
        InvalidArgumentError: The file is something else.
    """
    try:
        found = json.loads(read_text(place))
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"--expect {place} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f'--expect {place}: {{"1": {{"y": [[…]]}}, …}} is expected')
    return {
        str(version): (tensors_from_json(json.dumps(outputs), metadata.outputs),)
        for version, outputs in found.items()
    }


def asked_questions(
    http: HostPort,
    questions: Sequence[Question],
    told: Mapping[str, Steps],
    tolerance: Tolerance,
    limit_s: float,
) -> tuple[Asked, ...]:
    """Put questions and what is known of their answers together."""
    return tuple(
        Asked(question=question, truth=Truth(Learner(http, question, limit_s), told, tolerance))
        for question in questions
    )
