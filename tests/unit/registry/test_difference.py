"""What differs between two manifests."""

from datetime import UTC, datetime

from serving.registry.bundles.difference import Comparison, compare
from serving.registry.bundles.manifest import BundleFile, Lineage, Manifest, PackedOn, Requirements


def manifest(**changes: object) -> Manifest:
    """A manifest of one file, changed."""
    values: dict[str, object] = {
        "name": "m",
        "version": 1,
        "format": "echo",
        "model_file": "model.echo",
        "files": (BundleFile(path="model.echo", size_bytes=1, sha256="a" * 64),),
        "created_utc": datetime(2026, 1, 1, tzinfo=UTC),
        "packed_on": PackedOn(python="3.11", platform="linux", packages={"numpy": "2.0"}),
    }
    return Manifest(**(values | changes))  # type: ignore[arg-type]  # a test's own names


def told(found: Comparison) -> dict[str, list[str]]:
    """Every part with differences, in words."""
    return {
        part.name: [f"{item.field}: {item.before} → {item.after}" for item in part.differences]
        for part in found.parts
        if part.differences
    }


def test_the_same_has_no_differences() -> None:
    """A manifest compared with itself: every part is unchanged; number and date do not count."""
    assert told(compare(manifest(), manifest(version=2))) == {}


def test_each_part_tells_its_own() -> None:
    """Environment, lineage, metrics and requirements are told apart, field by field."""
    after = manifest(
        packed_on=PackedOn(python="3.11", platform="linux", packages={"numpy": "2.1"}),
        lineage=Lineage(code_revision="abc", metrics={"accuracy": 0.9}),
        requirements=Requirements(profiles=("cpu-small",)),
    )

    assert told(compare(manifest(), after)) == {
        "environment": ["package.numpy: 2.0 → 2.1"],
        "lineage": ["code_revision: - → abc"],
        "metrics": ["accuracy: - → 0.9"],
        "requirements": ["profiles: - → cpu-small"],
    }


def test_tensors_that_a_bundle_does_not_say_are_not_compared() -> None:
    """Without specs nothing is claimed about callers."""
    assert compare(manifest(), manifest()).contract is None
