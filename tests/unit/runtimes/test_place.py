"""What changes of a node under a process is found by looking again."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.place import Place, now_of, packages_in, read_place, search_path
from tests.fakes.node_facts import CPU_NODE, T4_NODE
from tests.fakes.nvml import NO_LIBRARY, FakeNvml, fake_gpu

THERE = Place(
    cpu_model=CPU_NODE.cpu_model,
    cpu_flags=CPU_NODE.cpu_flags,
    packages={"numpy": "2.4.0", "torch": "2.13.0"},
    driver="580.159.03",
)


def test_what_stays_as_it_was_is_no_change() -> None:
    """Nor is what the looker sees differently from the process, as long as it stays so."""
    assert now_of(CPU_NODE, THERE, replace(THERE)) is None
    assert now_of(replace(CPU_NODE, cpu_model="another"), THERE, THERE) is None


@pytest.mark.parametrize(
    ("changes", "fact", "value"),
    [
        pytest.param({"cpu_model": "EPYC"}, "cpu_model", "EPYC", id="the CPU"),
        pytest.param({"cpu_flags": frozenset({"avx2"})}, "cpu_flags", {"avx2"}, id="its flags"),
        pytest.param({"driver": "590.1"}, "driver", "590.1", id="the driver"),
    ],
)
def test_a_change_replaces_the_fact(changes: dict[str, object], fact: str, value: object) -> None:
    """Only that one: the other facts stay as the process measured them."""
    now = replace(THERE, **changes)  # type: ignore[arg-type]  # the test's own names

    changed = now_of(T4_NODE, THERE, now)

    assert changed is not None
    assert getattr(changed, fact) == value
    assert changed == replace(T4_NODE, **{fact: getattr(changed, fact)})


def test_packages_that_came_changed_and_went_are_told() -> None:
    """What was not looked at stays."""
    began = replace(CPU_NODE, packages={"numpy": "2.4.0", "torch": "2.13.0", "other": "1"})
    now = replace(THERE, packages={"numpy": "2.4.6", "onnx": "1.23"})

    changed = now_of(began, THERE, now)

    assert changed is not None
    assert changed.packages == {"numpy": "2.4.6", "onnx": "1.23", "other": "1"}


def test_a_process_that_loaded_the_newer_one_already_runs_in_no_other() -> None:
    """A look that was older than the process's start is no news about it."""
    newer = replace(THERE, packages={"numpy": "2.4.6", "torch": "2.13.0"})
    began = replace(CPU_NODE, packages=dict(newer.packages))

    assert now_of(began, THERE, newer) is None


def test_files_say_what_is_installed(tmp_path: Path) -> None:
    """The first folder that has a package counts, as for Python itself."""
    for place, version in (("a", "1.0"), ("b", "2.0")):
        folder = tmp_path / place / f"numpy-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: numpy\nVersion: {version}\n")

    assert packages_in([str(tmp_path / "a"), str(tmp_path / "b")]) == {"numpy": "1.0"}
    assert packages_in([str(tmp_path)]) == {}


def test_a_virtual_environment_shadows_ours(tmp_path: Path) -> None:
    """What it does not pin is ours."""
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)

    assert search_path(str(tmp_path / "bin" / "python")) == [str(site), *sys.path]
    assert search_path(sys.executable) is sys.path


def test_this_node_can_be_looked_at() -> None:
    """A driver that answers is named; one that does not says why; nobody asks without a GPU."""
    here = read_place(sys.executable, None)

    assert (here.driver, bool(here.packages)) == ("", True)
    assert read_place(sys.executable, FakeNvml([fake_gpu()])).driver == "580.159.03"
    assert "Not Found" in read_place(sys.executable, FakeNvml(problem=NO_LIBRARY)).driver
