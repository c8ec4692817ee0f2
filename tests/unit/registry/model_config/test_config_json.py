"""The completed configuration, as clients see it over HTTP and gRPC."""

import json
from dataclasses import replace

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.model_config.completion import config_json, config_message
from serving.registry.version import ServedVersion

SERVED = ServedVersion(
    platform="onnxruntime_onnx",
    backend="onnxruntime",
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 16)),),
    outputs=(TensorSpec(name="y", datatype=Datatype.BYTES, shape=(-1, -1)),),
    max_batch_rows=64,
    device="cpu",
    threads=1,
    load_s=0.1,
    run_s=0.001,
)


def test_an_empty_configuration_is_completed() -> None:
    """All that clients must find is there, in the protocol's spelling, from the model alone."""
    assert config_json("", "m", SERVED) == {
        "name": "m",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 64,
        "input": [
            {
                "name": "x",
                "data_type": "TYPE_FP32",
                "format": "FORMAT_NONE",
                "dims": [16],
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
                "is_non_linear_format_io": False,
            }
        ],
        "output": [
            {
                "name": "y",
                "data_type": "TYPE_STRING",
                "dims": [-1],
                "label_filename": "",
                "is_shape_tensor": False,
                "is_non_linear_format_io": False,
            }
        ],
        "batch_input": [],
        "batch_output": [],
        "dynamic_batching": {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": 0,
            "preserve_ordering": False,
            "priority_levels": 0,
            "default_priority_level": 0,
            "priority_queue_policy": {},
        },
        "instance_group": [
            {
                "name": "m_0",
                "kind": "KIND_CPU",
                "count": 1,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "model.onnx",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
    }


@pytest.mark.parametrize("absent", ["sequence_batching", "ensemble_scheduling", "response_cache"])
def test_what_is_not_set_is_absent(absent: str) -> None:
    """Clients read a scheduler off the mere presence of its message."""
    assert absent not in config_json("", "m", SERVED)


def test_without_a_batch_dimension_no_batcher_is_shown() -> None:
    """A model that takes no batches has dims of full rank and no dynamic batching."""
    found = config_json("", "m", replace(SERVED, max_batch_rows=0))

    assert "dynamic_batching" not in found
    assert '"dims": [-1, 16]' in json.dumps(found)


def test_what_was_configured_is_kept() -> None:
    """Format, delay, parameters and replicas come through as they were written."""
    text = """
    input { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 16 ] }
    dynamic_batching { max_queue_delay_microseconds: 500 }
    instance_group { count: 3 }
    parameters { key: "k" value { string_value: "v" } }
    """

    text_found = json.dumps(config_json(text, "m", SERVED))

    assert '"format": "FORMAT_NCHW"' in text_found
    assert '"max_queue_delay_microseconds": 500' in text_found
    assert '"count": 3' in text_found
    assert '"parameters": {"k": {"string_value": "v"}}' in text_found


def test_a_gpu_shows_its_index() -> None:
    """A version on cuda:1 says KIND_GPU and which GPU."""
    text = json.dumps(config_json("", "m", replace(SERVED, device="cuda:1")))

    assert '"kind": "KIND_GPU"' in text
    assert '"gpus": [1]' in text


def test_the_message_is_the_callers_own() -> None:
    """Changing a returned message changes no other reply."""
    config_message("", "m", SERVED).name = "changed"

    assert config_message("", "m", SERVED).name == "m"
