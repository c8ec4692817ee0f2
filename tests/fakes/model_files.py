"""Model files and bundles of small real models, for tests of what reads them."""

from pathlib import Path
from typing import Final

from serving.registry.bundles.packing import PackOrder, pack_bundle
from tests.fakes import models
from tests.fakes.bundles import PACKED_UTC

BATCH: Final = "max_batch_size: 8\n"


def write(folder: Path, content: bytes, name: str = "model.onnx") -> Path:
    """Write a model file into a folder of its own."""
    file = folder / "files" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def bundle(folder: Path, content: bytes | None = None, config: str = BATCH) -> Path:
    """Pack a model, healthy if nothing else is said."""
    order = PackOrder(
        model_file=write(folder, models.tiny() if content is None else content),
        name="m",
        version=1,
        created_utc=PACKED_UTC,
        config=config,
        extra_files=(write(folder, b"a\nb\n", "labels.txt"),),
        licence="mit",
    )
    return pack_bundle(order, folder / "bundle").folder
