"""A registry with two versions of a small model, for tests that move traffic between them."""

from datetime import UTC, datetime
from pathlib import Path

from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.store import Registry
from tests.fakes.models import tiny


def push_versions(home: Path, url: str = "", config: str = "", *, model: str = "m") -> None:
    """Put versions 1, which is live, and 2 of a model into a registry."""
    with Registry(home, url=url) as registry:
        for version, content in ((1, tiny()), (2, tiny("B"))):
            source = home / f"source-{model}-{version}" / "model.onnx"
            source.parent.mkdir()
            source.write_bytes(content)
            order = PackOrder(
                model_file=source,
                name=model,
                version=version,
                created_utc=datetime.now(UTC),
                config=config,
            )
            registry.push(pack_bundle(order, home / f"bundle-{model}-{version}").folder, "ann")
