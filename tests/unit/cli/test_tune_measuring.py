"""How much a server can do, asked of one whose queue is small."""

from itertools import count

import pytest
from aiohttp import ClientError, web

from serving.cli.predict_http import infer_body
from serving.cli.tune.instance import TrialError
from serving.cli.tune.measuring import _capacity
from serving.clock import SystemClock

pytestmark = pytest.mark.anyio


async def test_a_full_queue_ends_no_trial() -> None:
    """Callers that are refused come again, and every answer is counted."""
    numbers, answered = count(), 0

    async def infer(request: web.Request) -> web.Response:
        nonlocal answered
        await request.read()
        if next(numbers) % 2:
            return web.Response(status=503, headers={"retry-after": "1"})
        answered += 1
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_post("/infer", infer)
    runner = web.AppRunner(app)
    await runner.setup()
    clock, seconds = SystemClock(), 0.1
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/infer"
        began_s = clock.monotonic_s()
        rate = await _capacity(url, (infer_body((), {}),), seconds)
        took_s = clock.monotonic_s() - began_s
    finally:
        await runner.cleanup()
    assert answered / took_s <= rate <= answered / seconds


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (TimeoutError(), "a call broke: TimeoutError"),
        (ClientError("reset"), "a call broke: ClientError: reset"),
    ],
)
async def test_a_call_that_breaks_ends_the_trial_in_words(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that never answers, too: no group of errors comes out of it."""

    async def broken(*_: object) -> bool:
        raise failure

    monkeypatch.setattr("serving.cli.tune.measuring._is_answered", broken)

    with pytest.raises(TrialError) as ended:
        await _capacity("http://127.0.0.1:1/infer", (infer_body((), {}),), 0.1)

    assert ended.value.message == said
