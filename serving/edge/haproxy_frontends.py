r"""Pure: layout → the two frontends that take calls, and how a call finds its backend.

A call's way through it::

    path, or fields 1 and 2 of the gRPC message
      │ name, percent-encoded (`txn.m`)      version, without leading zeros (`txn.v`)
      ▼
    versions.map  "/v2/models/MODEL/versions/VERSION/infer"  or  live.map  "/v2/models/MODEL/infer"
      │ SLOT|VERSION  or  SLOT|VERSION|SHARE|SLOT|VERSION[|HEADER] (live, and a candidate's share)
      ▼
    header bascule-version: VERSION,  backend SLOT

In the maps `wait` in place of a slot means that nothing can answer: `wait|3` is version 3, not
ready, and `none|none` a model without a ready version. `asleep|3` is a version that gets a worker
when it is called: the front desk lets its calls wait, and sends them in again. Keys are
percent-encoded because HAProxy's maps split at blanks, and its `url_enc` writes exactly what
`urllib.parse.quote(name, safe="")` writes.

Keys are paths because nearly all calls over HTTP have just such a path: they are looked up as they
come, and taken apart only if that finds nothing, or a candidate that may have them.

Every reply that HAProxy makes itself is JSON on HTTP and a header-only reply with `grpc-status` on
gRPC: that is why each protocol has its own frontend. Either port takes both protocols all the same;
a call of the other kind goes round through the other frontend's unix socket.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runtimes.errors import Code
from serving.edge.haproxy_errorfiles import http_faults
from serving.edge.haproxy_layout import (
    ASLEEP,
    HTTP_SOCKET,
    INFER_PART,
    LIVE_MAP,
    MODELS_PART,
    NOTHING_READY,
    RELAY_SOCKET,
    VERSIONS_MAP,
    VERSIONS_PART,
    EdgeLayout,
    indented,
)
from serving.edge.haproxy_log import log_lines
from serving.edge.haproxy_replies import grpc_faults, grpc_reply, json_reply
from serving.edge.message_room import SIZE_HEADER
from serving.edge.routes import SHARE_SCALE
from serving.edge.sleepers import MODEL_HEADER, VERSION_HEADER
from serving.wire import refusals
from serving.wire.peer_table import HANDED_ON_HEADER

GRPC_PREFIXES: Final = "/inference. /grpc."
GRPC_CONTENT: Final = "{ req.hdr(content-type) -m beg application/grpc }"
GRPC_METHOD: Final = "^/[A-Za-z0-9_.]+/[A-Za-z0-9_]+$"
GRPC_FRAME_BYTES: Final = 5
GRPC_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
GRPC_STREAMS: Final = "/(ModelStreamInfer|Watch|ServerReflectionInfo)$"
LIVE_KEY: Final = f"str({MODELS_PART}),concat(,txn.m,{INFER_PART})"
VERSION_KEY: Final = (
    f"str({MODELS_PART}),concat(,txn.m,{VERSIONS_PART}),concat(,txn.v,{INFER_PART})"
)
GRPC_SIZE: Final = "req.body,bytes(1,4),be2dec(,4)"
WAIT_FOR_BODY: Final = "http-request wait-for-body time 30s"
"""A call is passed on when it is there, or fills the buffer: only then can it be sent again."""


def http_frontend(layout: EdgeLayout) -> str:
    """Write the frontend of the HTTP port."""
    limit = layout.max_request_bytes
    large = refusals.message_too_large("%[req.body_size]", limit)
    leaving = json_reply(Code.DRAINING, refusals.SERVER_EXITING, live=False, ready=False)
    # Who calls on is to go elsewhere: a connection that stays would break with its next call.
    exiting = f"{leaving} hdr connection close"
    refuse_method = json_reply(Code.METHOD_NOT_ALLOWED, refusals.METHOD_NOT_ALLOWED)
    failures = _lookup_failures("%[var(txn.name),json(utf8s)]", "%[path,field(6,/)]")
    return f"""frontend http from own
    bind {layout.http}
    bind unix@{HTTP_SOCKET} mode 600
{log_lines(layout.access_log)}{indented(http_faults())}
{_acls()}
    acl names_version path,field(5,/) -m str versions
    acl infer_path path_reg ^/v2/models/[^/]+(/versions/[0-9]+)?/infer$
    acl too_large req.body_size gt {limit}

    http-request {exiting} if draining
    http-request {json_reply(Code.PAYLOAD_TOO_LARGE, large)} if too_large
{_usual_calls()}
    http-request set-var(txn.infer) bool(true) if {{ path_end {INFER_PART} }} infer_path
    http-request {refuse_method} if infer !METH_POST
    {WAIT_FOR_BODY} if infer
    # Where the name cannot be decoded, the second one changes nothing.
    http-request set-var(txn.m) path,field(4,/) if infer
    http-request set-var(txn.m) path,field(4,/),url_dec,url_enc if infer
    http-request set-var(txn.v) path,field(6,/) if infer names_version
{_routing(layout.sticky_headers)}
    http-request set-var(txn.name) path,field(4,/) if infer
    http-request set-var(txn.name) path,field(4,/),url_dec if infer
{indented(f"http-request {json_reply(f.code, f.text)} if {f.condition}" for f in failures)}
    http-request {json_reply(Code.NOT_FOUND, refusals.NOT_FOUND)} if {{ path_beg /metrics }}

    use_backend %[var(txn.slot)] if routed
    use_backend through_grpc if {{ path_beg {GRPC_PREFIXES} }} {GRPC_CONTENT}
    default_backend front_desk
"""


def _usual_calls() -> str:
    """Send calls on whose path is a key of a map: half the cost of the way below."""
    return f"""    acl usual var(txn.r) -m beg s
    acl shared var(txn.r),field(3,|) -m found
    http-request set-var(txn.r) path,map({LIVE_MAP}) if METH_POST
    http-request set-var(txn.r) path,map({VERSIONS_MAP}) if METH_POST !has_entry
    {WAIT_FOR_BODY} if usual
    http-request set-var(txn.slot) var(txn.r),field(1,|) if usual !shared
{indented(_passing())}"""


def _passing() -> tuple[str, ...]:
    """Pass a call on whose slot is known."""
    return (
        f"http-request set-header {VERSION_HEADER} %[var(txn.r),field(2,|)] if routed",
        f"http-request del-header {HANDED_ON_HEADER} if routed  # workers say that to each other",
        "http-request allow if routed",
    )


def grpc_frontend(layout: EdgeLayout) -> str:
    """Write the frontend of the gRPC port."""
    limit = layout.max_request_bytes
    version = "%[var(txn.v),url_enc]"
    large = refusals.message_too_large(f"%[{GRPC_SIZE}]", limit)
    below_one = refusals.version_below_one(version)
    unparsable = refusals.unparsable_version(version)
    failures = _lookup_failures("%[var(txn.m)]", version)
    no_coding = refusals.unknown_coding("")
    return f"""frontend grpc from own
    bind {layout.grpc}
    bind unix@{RELAY_SOCKET} proto h2 mode 600
    timeout client 3600s                   # a stream may be silent between its calls
{log_lines(layout.access_log)}{indented(grpc_faults())}
{_acls()}
    acl too_large {GRPC_SIZE} -m int gt {limit}
    acl compressed var(txn.flag) -m str 01
    acl below_one var(txn.v) -m reg ^(-[0-9]+|0+)$
    acl number var(txn.v) -m reg ^[0-9]+$
    acl is_grpc path_beg {GRPC_PREFIXES}
    acl is_grpc req.hdr(content-type) -m beg application/grpc
    acl no_message req.body_len lt {GRPC_FRAME_BYTES}
    acl second_message req.body_len,sub(txn.size) gt {GRPC_FRAME_BYTES}
    acl names_model var(txn.m) -m len gt 0
    acl grpc_failure res.hdr(grpc-status) -m found

    http-request {grpc_reply(Code.DRAINING, refusals.GRPC_SERVER_EXITING)} if draining
    http-request set-var(txn.infer) bool(true) if METH_POST {{ path {GRPC_INFER} }}
{_grpc_guards()}
    # `protobuf` reads a message that the buffer cuts off, `ungrpc` does not.
    {WAIT_FOR_BODY} if infer
    http-request {grpc_reply(Code.INVALID_ARGUMENT, refusals.NO_MESSAGE)} if infer no_message
    http-request {grpc_reply(Code.PAYLOAD_TOO_LARGE, large)} if infer too_large
    http-request set-var(txn.flag) req.body,bytes(0,1),hex if infer
    http-request {grpc_reply(Code.UNSUPPORTED, no_coding)} if infer compressed !has_coding
    http-request set-header grpc-encoding gzip if infer compressed
    http-request set-header {SIZE_HEADER} %[{GRPC_SIZE}] if infer compressed
    http-request set-var(txn.size) {GRPC_SIZE} if infer compressed
    http-request {grpc_reply(Code.UNSUPPORTED, refusals.SECOND_MESSAGE)} if second_message
    http-request allow if infer compressed
    http-request set-var(txn.m) req.body,bytes(5),protobuf(1),url_enc if infer
    http-request set-var(txn.v) req.body,bytes(5),protobuf(2) if infer
    http-request unset-var(txn.v) if {{ var(txn.v) -m len 0 }}
    http-request {grpc_reply(Code.INVALID_ARGUMENT, below_one)} if versioned below_one
    http-request {grpc_reply(Code.INVALID_ARGUMENT, unparsable)} if versioned !number
{_routing(layout.sticky_headers, f"http-request set-header {SIZE_HEADER} %[{GRPC_SIZE}] if asleep")}
    http-request {grpc_reply(Code.INVALID_ARGUMENT, refusals.NO_MODEL_NAME)} if infer !names_model
{indented(f"http-request {grpc_reply(f.code, f.text)} if {f.condition}" for f in failures)}

    # `return` drops the content type of a reply without a body, so it is put back.
    http-after-response set-status 200 if grpc_failure
    http-after-response set-header content-type application/grpc if grpc_failure

    use_backend %[var(txn.slot)] if routed
    use_backend front_desk_grpc if is_grpc
    default_backend through_http
"""


def _grpc_guards() -> str:
    """Keep from the front desk what ends grpc.aio, and what it would call its own fault."""
    bad_timeout = refusals.invalid_timeout("%[req.hdr(grpc-timeout),url_enc]")
    bad_coding = refusals.unknown_coding("%[req.hdr(grpc-encoding),url_enc]")
    unknown = grpc_reply(Code.UNSUPPORTED, refusals.UNKNOWN_METHOD)
    return f"""    acl method_path path -m reg {GRPC_METHOD}
    acl has_timeout req.hdr(grpc-timeout) -m found
    acl sound_timeout req.hdr(grpc-timeout) -m reg ^[0-9]{{1,8}}[HMSmun]$
    acl has_coding req.hdr(grpc-encoding) -m found
    acl known_coding req.hdr(grpc-encoding) -m str identity gzip deflate
    # It stops taking calls for good when it cannot decode a path.
    http-request {unknown} if !infer is_grpc !method_path
    http-request {grpc_reply(Code.INVALID_ARGUMENT, bad_timeout)} if has_timeout !sound_timeout
    http-request {grpc_reply(Code.UNSUPPORTED, bad_coding)} if has_coding !known_coding
    http-request del-header -bin -m end
    # The front desk inflates by itself: with a coding, grpc hands it packed messages as they are.
    http-request set-header grpc-encoding gzip if !{{ path {GRPC_INFER} }}
    # It makes room for a message before it reads it, by the size that a unary call announces.
    acl is_stream path -m reg {GRPC_STREAMS}
    http-request del-header {SIZE_HEADER} if !infer
    {WAIT_FOR_BODY} if !infer is_grpc !is_stream
    http-request set-var(txn.size) {GRPC_SIZE} if !infer is_grpc !is_stream !no_message
    http-request set-header {SIZE_HEADER} %[var(txn.size)] if {{ var(txn.size) -m found }}"""


def _acls() -> str:
    return f"""    acl draining var(proc.draining) -m bool
    acl infer var(txn.infer) -m bool
    acl versioned var(txn.v) -m found
    acl known_model {LIVE_KEY},map({LIVE_MAP}) -m found
    acl has_entry var(txn.r) -m found
    acl nothing_ready var(txn.r) -m str {NOTHING_READY}
    acl routed var(txn.slot) -m beg s
    acl asleep var(txn.slot) -m str {ASLEEP}"""


def _routing(sticky_headers: Iterable[str], *of_asleep: str) -> str:
    """From name and version to the slot, and the header that says the version.

    Args:
        sticky_headers: Headers whose value may decide between live and candidate.
        of_asleep: What else is done with a call that has to wait for a worker.
    """
    keys = "\n".join(
        f"    http-request set-var(txn.key) req.hdr({header}) if has_candidate "
        f"{{ var(txn.r),field(6,|) -m str {header} }}"
        for header in sticky_headers
    )
    return f"""    http-request set-var(txn.v) var(txn.v),regsub(^0+,) if {{ var(txn.v) -m beg 0 }}
    http-request set-var(txn.r) {VERSION_KEY},map({VERSIONS_MAP}) if infer versioned
    http-request set-var(txn.r) {LIVE_KEY},map({LIVE_MAP}) if infer !versioned
    http-request set-var(txn.share) var(txn.r),field(3,|)
    acl has_candidate var(txn.share) -m found
    acl has_key var(txn.key) -m len 1:
    # Calls that name no version are as well answered by the live one while the candidate is down.
    acl up var(txn.r),field(4,|),nbsrv gt 0
    acl candidate_wins rand({SHARE_SCALE}),sub(txn.share) lt 0
    acl key_wins var(txn.key),concat(/,txn.m),xxh32,mod({SHARE_SCALE}),sub(txn.share) lt 0
{keys}
    http-request set-var(txn.r) var(txn.r),field(4,|,0) if has_candidate !has_key candidate_wins up
    http-request set-var(txn.r) var(txn.r),field(4,|,0) if has_key key_wins up
    http-request set-var(txn.slot) var(txn.r),field(1,|)
{indented(_passing())}
    http-request set-header {VERSION_HEADER} %[var(txn.r),field(2,|)] if asleep
    http-request set-header {MODEL_HEADER} %[var(txn.m)] if asleep
{indented(of_asleep)}
    http-request allow if asleep"""


@dataclass(frozen=True, slots=True)
class _Failure:
    code: Code
    text: str
    condition: str


def _lookup_failures(model: str, version: str) -> tuple[_Failure, ...]:
    """Everything that can be wrong with a name; the first that holds is the answer."""
    waiting = refusals.version_not_ready(model, "%[var(txn.r),field(2,|)]")
    missing = refusals.missing_version(model, version)
    return (
        _Failure(Code.NOT_FOUND, refusals.nothing_available(model), "infer nothing_ready"),
        _Failure(Code.NOT_READY, waiting, "infer has_entry"),
        _Failure(Code.NOT_FOUND, missing, "infer versioned known_model"),
        _Failure(Code.NOT_FOUND, refusals.unknown_model(model), "infer"),
    )
