"""Profiles of one's own, in YAML files beside the shipped ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from runtimes.profile import GIB, SHIPPED, HardwareProfile
from serving.registry.preflight.profiles import parse_profiles, read_profiles, size_of

L4 = """
team-l4:
  description: an L4
  device: cuda
  gpu_count: 1
  min_gpu_memory: 20GiB
  min_compute_capability: 8.9
  max_compute_capability: 9.0
  min_driver: "580"
  gpu_arena: 1.5 GiB
  precision: tf32
  allow_cpu_nodes: true
small:
  device: cpu
  min_cpus: 2
  cpu_flags: [avx2, fma]
  min_memory: 512MB
  threads: 1
"""


def test_profiles_are_read_from_yaml() -> None:
    """Every field has its meaning; sizes have units, what is not said has its default."""
    assert parse_profiles(L4.encode(), "own.yaml") == {
        "team-l4": HardwareProfile(
            name="team-l4",
            description="an L4",
            device="cuda",
            gpu_count=1.0,
            min_gpu_memory_bytes=20 * GIB,
            min_compute_capability=(8, 9),
            max_compute_capability=(9, 0),
            min_driver="580",
            gpu_arena_bytes=3 * GIB // 2,
            precision="tf32",
            allow_cpu_nodes=True,
        ),
        "small": HardwareProfile(
            name="small",
            description="",
            device="cpu",
            min_cpus=2,
            cpu_flags=frozenset({"avx2", "fma"}),
            min_memory_bytes=512_000_000,
            threads=1,
        ),
    }


def test_own_profiles_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    """Files of the folder are merged over what is shipped; other files are left alone."""
    (tmp_path / "own.yaml").write_text(L4)
    (tmp_path / "notes.txt").write_text("no profile")

    found = read_profiles(tmp_path)

    assert list(found) == [*SHIPPED, "team-l4", "small"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file_has_no_profiles(text: str) -> None:
    """A file with nothing in it says nothing."""
    assert parse_profiles(text.encode(), "own.yaml") == {}


def test_without_a_folder_there_are_the_shipped_ones(tmp_path: Path) -> None:
    """The folder need not be there."""
    assert read_profiles(tmp_path / "profiles") == SHIPPED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {device: cpu, min_cpu: 2}", "a.min_cpu: a profile has no such field.*min_cpus"),
        ("a: {device: cpu, colour: 2}", "a.colour: a profile has no such field.*there are desc"),
        ("a: {min_cpus: 2}", "a.device: is missing"),
        ("a: {device: tpu}", "a.device: .*'cpu' or 'cuda', got 'tpu'"),
        ("a: {device: cpu, min_memory: 16 GiBi}", "a.min_memory: a size is a number with one of"),
        ("a: {device: cpu, min_memory: -1}", "a.min_memory"),
        ("a: {device: cpu, min_cpus: '2'}", "a.min_cpus: .*integer"),
        ("a: {device: cpu, gpu_count: 1}", "a: gpu_count: only a profile with device cuda"),
        ("a: {device: cuda, gpu_count: 1.5}", "a: gpu_count: a fraction shares one GPU"),
        ("a: {device: cuda, gpu_count: true}", "a.gpu_count"),
        ("a: {device: cuda, min_compute_capability: new}", "a.min_compute_capability.*8.9"),
        ("a: {device: cuda, min_compute_capability: 8.95}", "a.min_compute_capability.*8.9"),
        (
            "a: {device: cuda, min_compute_capability: 9.0, max_compute_capability: 8.0}",
            "above max_compute_capability",
        ),
        ("a: {device: cuda, min_driver: latest}", "a.min_driver"),
        ("a: {device: cuda, precision: fp8}", "a.precision"),
        ("A b: {device: cpu}", "own.yaml: A b"),
        ("- a", "own.yaml: profiles: .*dictionary"),
        ("a: [", "own.yaml is no YAML"),
        ("a: !!python/object:os.system {}", "own.yaml is no YAML"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, words: str) -> None:
    """The message names file, profile and field, what is wrong, and the nearest known name."""
    with pytest.raises(InvalidArgumentError, match=words):
        parse_profiles(text.encode(), "own.yaml")


def test_a_shipped_name_is_taken(tmp_path: Path) -> None:
    """Nobody's `cuda-ampere` means something else than everybody's."""
    (tmp_path / "own.yaml").write_text("cuda-ampere: {device: cuda}")

    with pytest.raises(InvalidArgumentError, match=r"'cuda-ampere' is also.*Bascule ships"):
        read_profiles(tmp_path)


def test_a_name_is_defined_once(tmp_path: Path) -> None:
    """Two files that define one name are both named."""
    (tmp_path / "a.yaml").write_text("mine: {device: cpu}")
    (tmp_path / "b.yaml").write_text("mine: {device: cpu}")

    with pytest.raises(InvalidArgumentError, match=r"b\.yaml.*'mine' is also in .*a\.yaml"):
        read_profiles(tmp_path)


@given(number=st.integers(0, 10**6), gap=st.sampled_from(["", " "]))
def test_sizes_are_exact(number: int, gap: str) -> None:
    """A whole number with a unit is exactly that many bytes."""
    assert size_of(f"{number}{gap}GiB") == number << 30
    assert size_of(f"{number}{gap}MB") == number * 10**6
    assert size_of(str(number)) == number
