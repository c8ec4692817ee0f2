"""What a client is told of a sequence whose worker has died."""

import re
from collections.abc import Callable

import pytest
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException


def refusal_of(step: Callable[[], float]) -> InferenceServerException:
    """What a step of a lost sequence is told, once a worker answers again.

    Args:
        step: Takes it, on a connection of its own.
    """
    while True:
        try:
            value = step()
        except HTTPConnectionClosed:
            continue  # the edge had sent the call on a connection that the dead worker held
        except InferenceServerException as error:
            if not re.search("no worker can answer|the worker (failed|died)", str(error)):
                return error  # the others are the edge's, while the worker is away
        else:
            pytest.fail(f"a step without its state was answered: {value}")
