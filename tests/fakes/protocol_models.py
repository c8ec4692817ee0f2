"""The models that the protocol's promises are tested with, as one repository.

simple      two INT32 inputs, two outputs, batches up to 8: Triton's example
tiny        one FP32 input of 16, batches up to 8, a dynamic batcher; `m a` has a space
id_<TYPE>   gives back its input of any shape [N,D], of each datatype
flat        one FP32 input of exactly 16, no batch
text        decimal numbers as text
picky       an index past 3 makes the run fail
classes     tiny with labels
pair        tiny with two replicas
choice      versions 1, 2 and 3, of which the policy serves 1 and 2
slow        takes as long as it is told, one call at a time
narrow      slow, and only one call may wait
spare       tiny, not loaded at the start; `broken`: no model at all; `empty`: no version
"""

from pathlib import Path
from typing import Final

from runtimes.datatypes import Datatype
from tests.fakes import models

BATCH: Final = "max_batch_size: 8\n"
NO_BATCH: Final = "max_batch_size: 0\n"
ALONE: Final = 'parameters { key: "isolation" value { string_value: "dedicated" } }\n'
LABELS: Final = ("ant", "bee", "cat", "dog")
TINY_TENSORS: Final = (
    'input { name: "x" data_type: TYPE_FP32 dims: [ 16 ] }\n'
    'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }\n'
)
DYNAMIC: Final = (
    "dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 500 }\n"
    "instance_group { kind: KIND_CPU count: 1 }\n"
    "version_policy { latest { num_versions: 2 } }\n"
)
ONE_WAITS: Final = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }\n"
UNLOADED: Final = ("broken", "empty", "spare")


def write_models(folder: Path) -> None:
    """Write all of them."""
    put(folder, "simple", models.simple(), BATCH)
    put(folder, "tiny", models.tiny(), BATCH + DYNAMIC)
    put(folder, "m a", models.tiny(), BATCH)
    put(folder, "flat", models.no_batch(), NO_BATCH)
    put(folder, "text", models.simple_string(), BATCH)
    put(folder, "picky", models.fail_on_demand(), BATCH)
    put(folder, "classes", models.tiny(), BATCH + TINY_TENSORS)
    (folder / "classes" / "labels.txt").write_text("\n".join(LABELS) + "\n")
    put(folder, "pair", models.tiny(), BATCH + "instance_group { kind: KIND_CPU count: 2 }\n")
    for version in (1, 2, 3):
        put(folder, "choice", models.tiny(), "version_policy { specific { versions: [ 1, 2 ] } }\n"
            + BATCH, version)  # fmt: skip
    put(folder, "slow", models.slow(), NO_BATCH + ALONE)
    put(folder, "narrow", models.slow(), NO_BATCH + ALONE + ONE_WAITS)
    for datatype in Datatype:
        put(folder, f"id_{datatype}", models.identity(datatype), NO_BATCH)
    put(folder, "spare", models.tiny(), BATCH)
    put(folder, "broken", models.garbage(), BATCH)
    (folder / "empty").mkdir()


def put(folder: Path, name: str, content: bytes, config: str, version: int = 1) -> None:
    """Write one model's version."""
    place = folder / name / str(version)
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(content)
    (folder / name / "config.pbtxt").write_text(config)


def loaded_names(folder: Path) -> list[str]:
    """Return the models that are loaded at the start."""
    return sorted(item.name for item in folder.iterdir() if item.name not in UNLOADED)
