"""Small bundles and repositories: echo models, whose file may hold anything."""

from datetime import UTC, datetime
from pathlib import Path

from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.packing import PackOrder, pack_bundle

CONFIG = """
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
max_batch_size: 8
"""
PACKED_UTC = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_bundle(
    folder: Path,
    *,
    name: str = "m",
    version: int = 1,
    content: bytes = b"weights",
    config: str = CONFIG,
    packed_utc: datetime = PACKED_UTC,
) -> Bundle:
    """Pack an echo model below a folder that is not there yet, or is empty."""
    source = folder / "source" / "model.echo"
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    order = PackOrder(
        model_file=source, name=name, version=version, created_utc=packed_utc, config=config
    )
    return pack_bundle(order, folder / "bundle")


def add_model(
    repository: Path,
    name: str,
    *,
    versions: tuple[str, ...] = ("1",),
    file: str = "model.onnx",
    config: str | None = None,
) -> Path:
    """Put a model into a repository in Triton's layout and return its folder."""
    folder = repository / name
    for version in versions:
        (folder / version).mkdir(parents=True)
        (folder / version / file).write_bytes(b"weights")
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.pbtxt").write_text(config)
    return folder
