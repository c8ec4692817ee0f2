"""What callers read of an engine's failure; the texts are real ones."""

import pytest

from runtimes.engine_messages import MESSAGE_CHARACTERS, clean_engine_message, is_callers_fault
from runtimes.onnx_refusals import explain_load_failure

GATHER = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running GatherElements "
    "node. Name:'' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/"
    "gather_elements.cc:150 void onnxruntime::core_impl(const Tensor*, const Tensor*, Tensor*, "
    "int64_t, concurrency::ThreadPool*) [with Tin = long int; int64_t = long int] GatherElements "
    "op: Out of range value in index tensor\n"
)
WORD_ID = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running "
    "Gather node. Name:'/word/Gather' Status Message: indices element out of data bounds, "
    "idx=99999 must be within the inclusive range [-30522,30521]"
)
WORD_ID_CLEAN = (
    "node '/word/Gather' (Gather): indices element out of data bounds, idx=99999 must be within "
    "the inclusive range [-30522,30521]"
)
BROADCAST = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Mul node. Name:'' "
    "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 "
    "void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest "
    "was false. Attempting to broadcast an axis by a dimension other than 1. 3 by 4\n"
)
NESTED = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running If "
    "node. Name:'If_0' Status Message: Non-zero status code returned while running LSTM node. "
    "Name:'If_0_else_branch__Inline_0__/decoder/rnn/LSTM' Status Message: Input X must have 3 "
    "dimensions only. Actual:{1,1,1,128,2}"
)
NESTED_CLEAN = (
    "node 'If_0_else_branch__Inline_0__/decoder/rnn/LSTM' (LSTM): Input X must have 3 dimensions "
    "only. Actual:{1,1,1,128,2}"
)
CAST = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Cast "
    "node. Name:'' Status Message: stoll"
)
MISSING = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Gemm node. "
    "Name:'' Status Message: /onnxruntime_src/include/onnxruntime/core/framework/op_kernel_context"
    ".h:45 const T* onnxruntime::OpKernelContext::Input(int) const [with T = onnxruntime::Tensor] "
    "Missing Input: x\n"
)
MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
    "Expand node. Name:'' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc"
    ":376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
    "Failed to allocate memory for requested buffer of size 4294967296\n"
)
CUDA = (
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; hostname=node-17 ; "
    "file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_allocator.cc ; line=48 ; "
    "expr=cudaMalloc((void**)&p, size); "
)
TORCH_INDEX = (
    "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript, "
    'serialized code (most recent call last):\n  File "code/__torch__.py", line 17, in forward\n'
    "    _0 = (word).forward(input_ids, )\n          ~~~~~~~~~~~~~ <--- HERE\n"
    "    kind = self.kind\n\nTraceback of TorchScript, original code (most recent call last):\n"
    '  File "/srv/code/train.py", line 167, in forward\n    x = self.word(input_ids)\n'
    "        ~~~~~~~~~ <--- HERE\n    keep = attention_mask.to(x.dtype)\n"
    "RuntimeError: index out of range in self\n"
)
TORCH_RAISED = (
    "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript, "
    'serialized code (most recent call last):\n  File "code/vad.py", line 124, in forward\n'
    '      ops.prim.RaiseException("Input audio chunk is too short", "builtins.ValueError")\n'
    "      ~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE\n    else:\n      pass\n\nTraceback of TorchScript, "
    'original code (most recent call last):\n  File "/srv/code/vad.py", line 675, in forward\n'
    '            raise ValueError("Input audio chunk is too short")\n'
    "            ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE\n        return x, sr\n"
    "builtins.ValueError: Input audio chunk is too short\n"
)
BAD_IR = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from /srv/models/m/1/model.onnx failed:"
    "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model("
    "onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::"
    "IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const "
    "onnxruntime::ModelOptions&) Unsupported model IR version: 99, max supported IR version: 13\n"
)
BAD_OPSET = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from /srv/models/m/1/model.onnx failed:"
    "/onnxruntime_src/onnxruntime/core/graph/model_load_utils.h:46 void onnxruntime::"
    "model_load_utils::ValidateOpsetForDomain(const std::unordered_map<std::__cxx11::basic_string"
    "<char>, int>&, const onnxruntime::logging::Logger&, bool, const std::string&, int) ONNX "
    "Runtime only *guarantees* support for models stamped with official released onnx opset "
    "versions. Opset 999 is under development and support for this is limited. Current official "
    "support for domain ai.onnx is till opset 26.\n"
)
EXTERNAL = (
    "[ONNXRuntimeError] : 1 : FAIL : External data path validation failed for initializer: W. "
    "Error: tensorprotoutils.cc:461 ValidateExternalDataPathFromDir External data path does not "
    'exist: "/srv/models/m/1/missing.data"'
)
ESCAPES = (
    "[ONNXRuntimeError] : 1 : FAIL : External data path validation failed for initializer: W. "
    'Error: External data path escapes model directory. External data path: "../../secret.bin" '
    'resolved path: "/srv/models/secret.bin" allowed directory: "/srv/models/m/1"'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GATHER, "node GatherElements: GatherElements op: Out of range value in index tensor"),
        (WORD_ID, WORD_ID_CLEAN),
        (
            BROADCAST,
            "node Mul: Attempting to broadcast an axis by a dimension other than 1. 3 by 4",
        ),
        (NESTED, NESTED_CLEAN),
        (
            MEMORY,
            "node Expand: Failed to allocate memory for requested buffer of size 4294967296",
        ),
        (CUDA, "CUDA failure 2: out of memory ; GPU=0"),
        (TORCH_INDEX, "index out of range in self"),
        (TORCH_RAISED, "Input audio chunk is too short"),
        (BAD_IR, "Unsupported model IR version: 99, max supported IR version: 13"),
        ("", "the engine gave no reason"),
    ],
)
def test_only_the_sentence_that_matters_is_left(text: str, expected: str) -> None:
    """Source locations, signatures, tracebacks and host names are gone, the reason stays."""
    assert clean_engine_message(text) == expected


@pytest.mark.parametrize("text", [EXTERNAL, ESCAPES, BAD_OPSET, TORCH_INDEX, CUDA])
def test_no_path_of_this_machine_is_told(text: str) -> None:
    """A message names files, not where they lie."""
    cleaned = clean_engine_message(text)

    assert "/srv" not in cleaned
    assert "onnxruntime_src" not in cleaned


def test_length_is_bounded() -> None:
    """An engine that prints a whole tensor does not fill the reply with it."""
    assert len(clean_engine_message("bad value " * 1000)) == MESSAGE_CHARACTERS


@pytest.mark.parametrize("text", [GATHER, WORD_ID, BROADCAST, NESTED, CAST, TORCH_INDEX])
def test_values_and_shapes_are_the_callers_fault(text: str) -> None:
    """What other values in the same request would have avoided is the request's fault."""
    assert is_callers_fault(clean_engine_message(text))


@pytest.mark.parametrize("text", [MEMORY, CUDA, MISSING, "unexplained failure"])
def test_the_engines_trouble_is_its_own(text: str) -> None:
    """Memory, the device and what cannot be told apart count as the engine's failure."""
    assert not is_callers_fault(clean_engine_message(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BAD_IR, "its ONNX IR version is 99, and ONNX Runtime 1.31.1 reads up to 13"),
        (
            "Error Unrecognized attribute: left_window_size for operator Attention",
            "its operator Attention has the attribute left_window_size, which ONNX Runtime 1.31.1",
        ),
        (BAD_OPSET, "it needs opset 999 of ai.onnx, and ONNX Runtime 1.31.1 knows up to 26"),
        (EXTERNAL, "its external data file missing.data is missing: put it beside the model"),
        (ESCAPES, "external data outside of its own folder, which is refused"),
        ("Protobuf parsing failed.", "empty, cut off or no ONNX model"),
        (
            "Fatal error: com.example:Frobnicate(-1) is not a registered function/op",
            "operator com.example:Frobnicate is not part of ONNX Runtime",
        ),
        (
            (
                "This session contains graph nodes that are assigned to the default CPU EP, but "
                "fallback to CPU EP has been explicitly disabled by the user."
            ),
            "ONNX Runtime 1.31.1 cannot tell which: use a newer onnxruntime",
        ),
        ("something new", "'model.onnx' cannot be loaded: something new"),
    ],
)
def test_refused_files_come_with_a_remedy(text: str, words: str) -> None:
    """A load failure names the cause with its numbers, and what to do."""
    assert words in explain_load_failure(text, "model.onnx", "1.31.1")
