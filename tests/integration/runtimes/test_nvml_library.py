"""The driver's library is asked as it wants to be: by a real one's interface, without its GPUs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

SOURCE = Path(__file__).parents[2] / "fakes" / "nvml_stand_in.c"
ASK = """
import dataclasses, json, sys
from runtimes.gpu_events import XidWatch
from runtimes.gpu_probe import SystemNvml, probe_gpus
from runtimes.gpu_reading import read_gpus
watch = XidWatch(SystemNvml())
before = [str(one) for one in watch.poll()]
open(sys.argv[1], "a").write("1 79\\n0 13\\n")
heard = [(one.uuid, one.number) for one in watch.poll()]
again = [str(one) for one in watch.poll()]
readings = [dataclasses.asdict(one) for one in read_gpus(SystemNvml())]
driver = probe_gpus(SystemNvml()).driver
watch.close()
print(json.dumps([before, heard, again, readings, driver], default=sorted))
"""


@pytest.fixture(name="answers")
def asked_library(tmp_path: Path) -> list[Any]:
    """What a process says that was given the stand-in's library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = str(tmp_path / "libnvidia-ml.so.1")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
    subprocess.run([compiler, *flags, "-o", library, str(SOURCE)], check=True)
    xids = str(tmp_path / "xids")
    found = subprocess.run(
        [sys.executable, "-c", ASK, xids],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "NVML_STAND_IN": xids},  # noqa: TID251  own process
        check=True,
        capture_output=True,
    )
    answers: list[Any] = orjson.loads(found.stdout)
    return answers


def test_a_real_librarys_interface_is_spoken(answers: list[Any]) -> None:
    """Every figure in its unit, each error once with its GPU; what is not told is left out."""
    before, heard, again, (first, second), driver = answers

    assert (before, again, driver) == ([], [], "580.1")
    assert heard == [["GPU-00000001-stand-in", 79], ["GPU-00000000-stand-in", 13]]
    assert (first["utilization_ratio"], first["memory_used_bytes"]) == (0.5, 400)
    assert (first["power_w"], first["temperature_c"]) == (70.5, 81)
    assert first["clocks_hz"] == [["graphics", 100e6], ["sm", 101e6], ["memory", 102e6]]
    assert first["throttle_reasons"] == ["hardware_thermal"]
    assert (first["corrected_errors"], first["uncorrected_errors"]) == (3, 2)
    assert first["processes"] == [{"pid": 4711, "memory_bytes": 300}]
    told = {name for name, value in second.items() if value}
    assert told == {"uuid"}
