"""A repository's scan: what is found, what fails alone, and what counts as a change."""

import os
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.registry.repository import Repository
from tests.fakes.bundles import add_model


def test_a_model_without_configuration_is_found(tmp_path: Path) -> None:
    """MODEL/1/model.onnx is enough."""
    add_model(tmp_path, "m")

    (spec,) = Repository(tmp_path).scan().models["m"].versions

    assert (spec.model, spec.version, spec.format) == ("m", 1, "onnx")
    assert spec.file == str(tmp_path / "m/1/model.onnx")
    assert spec.size_bytes == len(b"weights")
    assert spec.policy.max_batch_rows is None


def test_no_reason_tells_where_the_repository_lies(tmp_path: Path) -> None:
    """Callers read the reasons: the paths in them begin with the model's name."""
    add_model(tmp_path, "m", config="version_policy { specific { versions: [ 1, 7 ] } }")
    add_model(tmp_path, "c", config="{")
    (tmp_path / "e").mkdir()

    scans = Repository(tmp_path).scan().models

    reasons = [scans["m"].failed[0].reason, scans["c"].failed[0].reason, scans["e"].reason]
    assert [str(tmp_path) in reason for reason in reasons] == [False] * 3
    assert reasons[0].endswith("m/7 does not exist")


@pytest.mark.parametrize(
    ("config", "versions"),
    [
        pytest.param(None, [10], id="latest-by-default"),
        pytest.param("version_policy { latest { num_versions: 2 } }", [2, 10], id="two"),
        pytest.param("version_policy { all {} }", [1, 2, 10], id="all"),
        pytest.param("version_policy { specific { versions: [ 2 ] } }", [2], id="specific"),
    ],
)
def test_the_version_policy_chooses(
    tmp_path: Path, config: str | None, versions: list[int]
) -> None:
    """Versions are numbers, not texts: 10 is later than 2."""
    add_model(tmp_path, "m", versions=("1", "2", "10"), config=config)

    found = Repository(tmp_path).scan().models["m"].versions

    assert [spec.version for spec in found] == versions


def test_a_broken_model_fails_alone(tmp_path: Path) -> None:
    """A broken configuration is that model's failure, with its line; the others are served."""
    add_model(tmp_path, "bad", config="\nfoo: 1")
    add_model(tmp_path, "good")

    models = Repository(tmp_path).scan().models

    assert len(models["good"].versions) == 1
    assert models["bad"].versions == ()
    assert "config.pbtxt, line 2" in models["bad"].failed[0].reason


def test_a_missing_version_is_a_failure(tmp_path: Path) -> None:
    """A version that the policy names and nobody put there is reported."""
    add_model(tmp_path, "m", config="version_policy { specific { versions: [ 1, 7 ] } }")

    found = Repository(tmp_path).scan().models["m"]

    assert [spec.version for spec in found.versions] == [1]
    assert [(item.version, "does not exist" in item.reason) for item in found.failed] == [(7, True)]


def test_a_model_without_versions_says_so(tmp_path: Path) -> None:
    """A model's folder without any version has a reason."""
    (tmp_path / "m").mkdir()

    assert "holds no version" in Repository(tmp_path).scan().models["m"].reason


def test_one_model_given_as_the_repository_says_so(tmp_path: Path) -> None:
    """Its version is no model: the folder above is the one to give."""
    add_model(tmp_path, "tiny")

    reason = Repository(tmp_path / "tiny").scan().models["1"].reason

    assert "'tiny' looks like one model" in reason
    assert "give the folder that holds 'tiny'" in reason
    assert str(tmp_path) not in reason


@pytest.mark.parametrize(
    ("file", "words"),
    [
        pytest.param("model.pt2", "can run code", id="torch.export"),
        pytest.param("model.plan", "TensorRT", id="tensorrt"),
        pytest.param("readme.txt", "not a model file", id="no-model"),
    ],
)
def test_a_file_of_no_served_format_is_named(tmp_path: Path, file: str, words: str) -> None:
    """The reason names what is there and what is missing."""
    add_model(tmp_path, "m", file=file)

    assert words in Repository(tmp_path).scan().models["m"].failed[0].reason


def test_one_model_file_of_any_name_is_taken(tmp_path: Path) -> None:
    """A single model file needs no configuration that names it; of two, one must be named."""
    add_model(tmp_path, "one", file="resnet.onnx")
    add_model(tmp_path, "two", file="a.onnx")
    (tmp_path / "two/1/b.onnx").write_bytes(b"")

    models = Repository(tmp_path).scan().models

    assert models["one"].versions[0].file.endswith("resnet.onnx")
    assert "a.onnx, b.onnx" in models["two"].failed[0].reason


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    """Dot-names, files, words and numbers with leading zeros are no models and no versions."""
    add_model(tmp_path, ".git")
    add_model(tmp_path, "m", versions=("1", "02", "0", "old", "-3"))
    (tmp_path / "notes.txt").write_text("")

    models = Repository(tmp_path).scan().models

    assert list(models) == ["m"]
    assert [spec.version for spec in models["m"].versions] == [1]


def test_a_name_that_cannot_be_routed_is_a_problem(tmp_path: Path) -> None:
    """An impossible name is reported, and hides no other model."""
    add_model(tmp_path, "stats")
    add_model(tmp_path, "m")

    scan = Repository(tmp_path).scan()

    assert list(scan.models) == ["m"]
    assert len(scan.problems) == 1
    assert "reserved" in scan.problems[0]


def test_the_digest_stands_for_files_and_configuration(tmp_path: Path) -> None:
    """The digest is the same until a file, its time or the configuration changes."""
    folder = add_model(tmp_path, "m")
    repository = Repository(tmp_path)

    def digest() -> str:
        return repository.scan_model("m").versions[0].digest

    seen = [digest(), digest()]
    (folder / "1" / "labels.txt").write_text("a")
    seen.append(digest())
    os.utime(folder / "1" / "model.onnx", ns=(1, 1))
    seen.append(digest())
    (folder / "config.pbtxt").write_text("max_batch_size: 0")
    seen.append(digest())

    assert seen[0] == seen[1]
    assert len(set(seen)) == 4


def test_a_corrected_configuration_is_read_again(tmp_path: Path) -> None:
    """A configuration is remembered only as long as its file stays the same."""
    folder = add_model(tmp_path, "m", config="foo: 1")
    repository = Repository(tmp_path)
    broken = repository.scan_model("m")

    (folder / "config.pbtxt").write_text("max_batch_size: 2")

    assert broken.versions == ()
    assert repository.scan_model("m").versions[0].policy.max_batch_rows == 2


def test_a_linked_model_is_followed(tmp_path: Path) -> None:
    """Operators link models and files into a repository."""
    add_model(tmp_path / "store", "m")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "linked").symlink_to(tmp_path / "store" / "m")

    assert len(Repository(tmp_path / "repository").scan().models["linked"].versions) == 1


def test_a_link_in_a_circle_hides_nothing(tmp_path: Path) -> None:
    """Neither another model nor another version; it is no folder of either."""
    add_model(tmp_path, "m")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "m" / "2").symlink_to("2")

    found = Repository(tmp_path).scan()

    assert found.models.keys() == {"m"}
    assert [item.version for item in found.models["m"].versions] == [1]


def test_a_missing_repository_is_an_error(tmp_path: Path) -> None:
    """A repository that does not exist is never an empty one."""
    with pytest.raises(NotFoundError, match="does not exist"):
        Repository(tmp_path / "none").scan()


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    """A path that is no folder is refused."""
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        Repository(tmp_path / "file").scan()


def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    """Reading one model that is not there says so."""
    with pytest.raises(NotFoundError, match="'m' is not found"):
        Repository(tmp_path).scan_model("m")


@pytest.mark.parametrize("name", [b"mod\xe8le.onnx", b"mod\xe8le.txt"])
def test_a_file_whose_name_is_no_utf8_fails_its_version_alone(tmp_path: Path, name: bytes) -> None:
    """No JSON can carry it: it would end whoever tells workers of the version."""
    add_model(tmp_path, "m")
    add_model(tmp_path, "other")
    folder = tmp_path / "m" / "1"
    if name.endswith(b".onnx"):
        (folder / "model.onnx").rename(folder / os.fsdecode(name))
    else:
        (folder / os.fsdecode(name)).write_bytes(b"")

    scans = Repository(tmp_path).scan().models

    assert scans["m"].versions == ()
    (failed,) = scans["m"].failed
    failed.reason.encode()
    assert "is not UTF-8: rename it" in failed.reason
    assert len(scans["other"].versions) == 1
