"""A model configuration in JSON, as clients send it, into protobuf text."""

import json
from typing import Final

from google.protobuf import json_format, text_format

from protos.generated import model_config_pb2 as pb
from runtimes.errors import InvalidArgumentError

MAX_DEPTH: Final = 50
MAX_BATCH: Final = frozenset({"max_batch_size", "maxBatchSize"})


def config_text_of_json(text: str) -> str:
    """Return a configuration as `config.pbtxt` would say it.

    Numbers may be quoted, and names written in either of protobuf's two ways.

    Raises:
        InvalidArgumentError: It is no model configuration.
    """
    try:
        given = json.loads(text)
        message = json_format.ParseDict(given, pb.ModelConfig(), max_recursion_depth=MAX_DEPTH)
        written = text_format.MessageToString(message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InvalidArgumentError(
            f"parameter 'config' is no model configuration: {reason}"
        ) from error
    # Proto3 text cannot tell an explicit 0 from silence, so it is written out.
    says_zero = not message.max_batch_size and not MAX_BATCH.isdisjoint(given)
    return written + ("max_batch_size: 0\n" if says_zero else "")
