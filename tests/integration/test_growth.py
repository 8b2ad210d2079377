"""Utterances leave nothing behind: what one makes is gone with it."""

import gc

import pytest
import trio

from ttsw.config import load_config
from ttsw.fronts.abi.client import TTSClient, open_client
from ttsw.fronts.abi.generated.tts import TextChunk
from ttsw.grpc_trio.h2state import H2State
from ttsw.testing import open_worker

pytestmark = pytest.mark.alone

FLAGS = {
    "worker.grpc_host": "127.0.0.1",
    "worker.grpc_port": 0,
    "model_manager.default_model_id": "mock-440hz",
    "model_manager.warmup_enabled": False,
}


async def speak(client: TTSClient, times: int) -> int:
    """Speak as often; return how many objects there are then."""
    for _ in range(times):
        async with client.synthesize() as call:
            await call.send(TextChunk(session_id="s", text="Hi.", is_final=True))
            await call.end()
            async for _frame in call:
                pass
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    return len(gc.get_objects())


async def test_objects_do_not_grow_with_utterances(monkeypatch):
    monkeypatch.setattr(H2State, "MAX_CLOSED_STREAMS", 16)  # a connection remembers so many, and they would count
    async with open_worker(load_config(None, {}, FLAGS)) as (_, address), open_client(*address) as client:
        await client.start_session("s", options={"pacing": "fast"})
        before = await speak(client, 1_050)  # the figures look back on 1 000
        after = await speak(client, 500)
    assert after - before < 50, "500 utterances left more than noise"
