"""Models as load requests describe them: read, written aside, removed when nobody needs them."""

from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.control import LoadOverride
from serving.errors import NotFoundError
from serving.registry.repository import Repository
from serving.rollout.overrides import OverridableRepository


@pytest.fixture(name="folder")
def repository(tmp_path: Path) -> OverridableRepository:
    """A repository of one model, with overrides."""
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    (tmp_path / "models" / "m" / "1" / "model.onnx").write_bytes(b"stored")
    return OverridableRepository(Repository(tmp_path / "models"), tmp_path / "overrides")


def test_a_configuration_replaces_the_stored_one(folder: OverridableRepository) -> None:
    """Quoted numbers count, and the same files are another form of the version."""
    (stored,) = folder.scan_model("m").versions

    (found,) = folder.scan_override("m", LoadOverride(config='{"max_batch_size":"16"}')).versions

    assert found.policy.max_batch_rows == 16
    assert found.file == stored.file
    assert found.digest != stored.digest
    assert folder.scan_model("m").versions == (stored,)


@pytest.mark.parametrize("name", ["max_batch_size", "maxBatchSize"])
def test_an_explicit_zero_stays_one(folder: OverridableRepository, name: str) -> None:
    """JSON can say that there is no batch dimension, as text can."""
    (found,) = folder.scan_override("m", LoadOverride(config=f'{{"{name}": 0}}')).versions

    assert found.policy.max_batch_rows == 0


def test_files_replace_the_folder(folder: OverridableRepository) -> None:
    """Only what came along counts, a model that the repository does not have included."""
    override = LoadOverride(config="{}", files={"2/model.onnx": b"sent", "2/w/x.bin": b"0"})

    found = [folder.scan_override(name, override).versions for name in ("m", "new")]

    assert [spec.version for (spec,) in found] == [2, 2]
    assert [Path(spec.file).read_bytes() for (spec,) in found] == [b"sent", b"sent"]
    assert (Path(found[0][0].file).parent / "w" / "x.bin").read_bytes() == b"0"


def test_what_nobody_needs_is_removed(folder: OverridableRepository, tmp_path: Path) -> None:
    """Files of an override stay while a version lies in them; numbers are not used again."""
    override = LoadOverride(config="{}", files={"1/model.onnx": b"sent"})
    first = folder.scan_override("m", override).versions
    second = folder.scan_override("m", override).versions

    folder.keep_only(second)
    later = OverridableRepository(Repository(tmp_path / "models"), tmp_path / "overrides")
    (third,) = later.scan_override("m", override).versions

    assert not Path(first[0].file).exists()
    assert Path(second[0].file).exists()
    assert third.file not in {first[0].file, second[0].file}


@pytest.mark.parametrize(
    "config",
    [
        '{"input": 3}',
        '{"no_such_field": 1}',
        '{"max_batch_size": "many"}',
        '{"input": [{"data_type": "TYPE_NONE"}]}',
        '{"a": ' * 900 + "1" + "}" * 900,
        '{"instance_group": [{"rate_limiter": null, "kind": {}}]}',
    ],
)
def test_what_is_no_configuration_is_refused(folder: OverridableRepository, config: str) -> None:
    """Whatever JSON it is, the answer is the client's mistake and nothing else."""
    with pytest.raises(InvalidArgumentError, match="no model configuration"):
        folder.scan_override("m", LoadOverride(config=config))


def test_a_configuration_that_is_not_served_is_the_versions_failure(
    folder: OverridableRepository,
) -> None:
    """What cannot be served is said of the version, as it is of a stored configuration."""
    found = folder.scan_override("m", LoadOverride(config='{"backend": "python"}'))

    assert found.versions == ()
    assert "parameter 'config': backend 'python' is not served" in found.failed[0].reason


def test_without_permission_nothing_is_read(tmp_path: Path) -> None:
    """Overrides are off unless the operator says otherwise, and the refusal tells how."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    folder = OverridableRepository(Repository(tmp_path), None)

    with pytest.raises(UnsupportedError, match="--allow-load-overrides"):
        folder.scan_override("m", LoadOverride(config="{}"))


def test_a_configuration_alone_needs_the_model(folder: OverridableRepository) -> None:
    """Without files the repository's own are served, so it must have them."""
    with pytest.raises(NotFoundError):
        folder.scan_override("unknown", LoadOverride(config="{}"))
