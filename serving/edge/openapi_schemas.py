"""What requests and replies look like, as JSON Schema for the OpenAPI document. Pure."""

from typing import Any, Final

from runtimes.datatypes import Datatype

Json = dict[str, Any]

STRING: Final = "string"
INTEGER: Final = "integer"
BOOLEAN: Final = "boolean"


def schemas() -> Json:
    """Return every schema by its name."""
    inference = {**_asked(), **_answered(), **_flat()}
    others = {**_repository(), **_settings(), **_regions(), **_labels()}
    return {**_server(), **_model(), **inference, **others}


def _server() -> Json:
    return {
        "Object": {"type": "object"},
        "Error": _object({"error": _type(STRING)}, required=("error",)),
        "ServerMetadata": _object(
            {"name": _type(STRING), "version": _type(STRING), "extensions": _list(_type(STRING))}
        ),
        "Live": _object({"live": _type(BOOLEAN)}),
        "Ready": _object({"ready": _type(BOOLEAN), "live": _type(BOOLEAN)}),
    }


def _model() -> Json:
    duration = _reference("Duration")
    phases = ("compute_input", "compute_infer", "compute_output")
    sums = ("success", "fail", "queue", *phases, "cache_hit", "cache_miss")
    return {
        "Datatype": {"type": STRING, "enum": [str(datatype) for datatype in Datatype]},
        "TensorMetadata": _object(
            {
                "name": _type(STRING),
                "datatype": _reference("Datatype"),
                "shape": _list({"type": INTEGER, "minimum": -1}),
            }
        ),
        "ModelMetadata": _object(
            {
                "name": _type(STRING),
                "versions": _list(_type(STRING)),
                "platform": _type(STRING),
                "inputs": _list(_reference("TensorMetadata")),
                "outputs": _list(_reference("TensorMetadata")),
            }
        ),
        "ModelReady": _object({"name": _type(STRING), "ready": _type(BOOLEAN)}),
        "ModelConfig": _object(
            {
                "name": _type(STRING),
                "platform": _type(STRING),
                "max_batch_size": _type(INTEGER),
                "input": _list(_type("object")),
                "output": _list(_type("object")),
            }
        ),
        "Duration": _object({"count": _count(), "ns": _count()}),
        "BatchStatistics": _object({"batch_size": _count(), **dict.fromkeys(phases, duration)}),
        "ModelStatistics": _object(
            {
                "name": _type(STRING),
                "version": _type(STRING),
                "last_inference": _count(),
                "inference_count": _count(),
                "execution_count": _count(),
                "inference_stats": _object(dict.fromkeys(sums, duration)),
                "batch_stats": _list(_reference("BatchStatistics")),
            }
        ),
        "Statistics": _object({"model_stats": _list(_reference("ModelStatistics"))}),
    }


def _asked() -> Json:
    place = {
        "shared_memory_region": _type(STRING),
        "shared_memory_byte_size": _count(),
        "shared_memory_offset": _count(),
    }
    return {
        "Parameters": {
            "type": "object",
            "additionalProperties": {"type": [STRING, "number", BOOLEAN]},
        },
        "InputTensor": _object(
            {
                "name": _type(STRING),
                "shape": _list(_count()),
                "datatype": _reference("Datatype"),
                "data": {"type": "array", "description": "Flat or nested, row by row."},
                "parameters": _object({"binary_data_size": _count(), **place}, required=()),
            },
            required=("name", "shape", "datatype"),
        ),
        "WantedOutput": _object(
            {
                "name": _type(STRING),
                "parameters": _object(
                    {"binary_data": _type(BOOLEAN), "classification": _count(), **place},
                    required=(),
                ),
            },
            required=("name",),
        ),
        "InferRequest": _object(
            {
                "id": _type(STRING),
                "parameters": _reference("Parameters"),
                "inputs": _list(_reference("InputTensor")),
                "outputs": _list(_reference("WantedOutput")),
            },
            required=("inputs",),
        ),
    }


def _answered() -> Json:
    return {
        "OutputTensor": _object(
            {
                "name": _type(STRING),
                "datatype": _reference("Datatype"),
                "shape": _list(_count()),
                "data": {"type": "array", "description": "Flat, row by row."},
                "parameters": _object({"binary_data_size": _count()}, required=()),
            },
            required=("name", "datatype", "shape"),
        ),
        "InferResponse": _object(
            {
                "id": _type(STRING),
                "model_name": _type(STRING),
                "model_version": _type(STRING),
                "parameters": _reference("Parameters"),
                "outputs": _list(_reference("OutputTensor")),
            },
            required=("model_name", "model_version", "outputs"),
        ),
    }


def _flat() -> Json:
    return {
        "Generate": {
            "type": "object",
            "description": "A member for each input, by its name; others are parameters.",
        },
        "Generated": _object(
            {"model_name": _type(STRING), "model_version": _type(STRING), "id": _type(STRING)},
            required=("model_name", "model_version"),
        ),
    }


def _repository() -> Json:
    states = ["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
    return {
        "IndexRequest": _object({"ready": _type(BOOLEAN)}, required=()),
        "IndexEntry": _object(
            {
                "name": _type(STRING),
                "version": _type(STRING),
                "state": {"type": STRING, "enum": states},
                "reason": _type(STRING),
            },
            required=("name",),
        ),
        "Index": _list(_reference("IndexEntry")),
        "RepositoryRequest": _object({"parameters": _reference("Parameters")}, required=()),
    }


def _settings() -> Json:
    text = _type(STRING)
    values = ("trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode")
    flags = dict.fromkeys(("log_info", "log_warning", "log_error"), _type(BOOLEAN))
    return {
        "TraceSettings": _object({"trace_level": _list(text), **dict.fromkeys(values, text)}),
        "TraceChanges": {
            "type": "object",
            "additionalProperties": {"type": [STRING, "array", "number", "null"]},
        },
        "LogSettings": _object(
            {"log_file": text, **flags, "log_verbose_level": _count(), "log_format": text}
        ),
    }


def _regions() -> Json:
    return {
        "Region": _object(
            {"key": _type(STRING), "offset": _count(), "byte_size": _count()},
            required=("byte_size",),
        ),
        "RegionStatus": _object(
            {
                "name": _type(STRING),
                "key": _type(STRING),
                "offset": _count(),
                "byte_size": _count(),
            }
        ),
        "Regions": _list(_reference("RegionStatus")),
        "CudaRegion": _object(
            {
                "raw_handle": _object({"b64": _type(STRING)}),
                "device_id": _count(),
                "byte_size": _count(),
            }
        ),
        "CudaRegionStatus": _object(
            {"name": _type(STRING), "device_id": _count(), "byte_size": _count()}
        ),
        "CudaRegions": _list(_reference("CudaRegionStatus")),
    }


def _labels() -> Json:
    value = {"type": [STRING, "number", BOOLEAN]}
    return {
        "Label": _object(
            {
                "prediction_id": {"type": STRING, "format": "uuid"},
                "label": {"type": [STRING, "number", BOOLEAN, "object"]}
                | {"additionalProperties": value, "description": "A value, or one per output."},
                "row": _count(),
                "label_time": {"type": STRING, "format": "date-time"},
                "source": _type(STRING),
                "weight": {"type": "number", "exclusiveMinimum": 0},
            },
            required=("prediction_id", "label"),
        ),
        "Labels": _list(_reference("Label")),
        "LabelsKept": _object({"labels": _count()}),
    }


def _object(properties: Json, *, required: tuple[str, ...] | None = None) -> Json:
    """An object; all of its properties are required unless told otherwise."""
    needed = tuple(properties) if required is None else required
    schema: Json = {"type": "object", "properties": properties}
    return schema | {"required": list(needed)} if needed else schema


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _type(name: str) -> Json:
    return {"type": name}


def _count() -> Json:
    return {"type": INTEGER, "minimum": 0}


def _reference(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
