"""What an instance says of one of its models: rows and runs so far, and its engine's threads."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Final

from benchmarks.instance import Instance

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What was run since the model was loaded."""

    rows: int
    batches: int

    def mean_rows_since(self, before: "Runs") -> float:
        """Return the mean rows of the batches since; 0: there was none."""
        batches = self.batches - before.batches
        return (self.rows - before.rows) / batches if batches else 0.0


def runs_so_far(instance: Instance, model: str) -> Runs:
    """Ask for a model's statistics.

    Raises:
        OSError: They were not answered.
    """
    url = f"http://{instance.http}/v2/models/{model}/stats"
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
        (statistics,) = json.load(reply)["model_stats"]
    return Runs(rows=statistics["inference_count"], batches=statistics["execution_count"])


def engine_threads(instance: Instance, model: str) -> int:
    """Return how many threads a model's engine has.

    Raises:
        InstanceError: The instance printed no status.
    """
    versions = instance.status()["versions"]
    return next(int(one["served"]["threads"]) for one in versions if one["model"] == model)
