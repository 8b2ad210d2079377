"""A session that speaks in real time and notes how late its frames come: `python -m bench.clients.healthy PORT`.

Each line that comes is answered with the lateness of the latest frame since the line before.
"""

import sys

import trio

from bench.clients.sessions import tell
from ttsw.fronts.abi.client import open_client
from ttsw.fronts.abi.generated.tts import TextChunk
from ttsw.units import FRAME_S

SESSION = "healthy"
HEARD = 10
"""Frames after which the session counts as speaking; the first ones come as a lead."""


async def main(port: int) -> None:
    """Speak until stdin ends."""
    late_s = [0.0]

    async def listen(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with client.synthesize() as call:
            await call.send(TextChunk(session_id=SESSION, text="x" * 6_000, is_final=True))
            await call.end()
            last = 0.0
            async for frame in call:
                now = trio.current_time()
                if frame.sequence_number == HEARD:
                    task_status.started()
                elif frame.sequence_number > HEARD:
                    late_s[0] = max(late_s[0], now - last - FRAME_S)
                last = now

    async with open_client("127.0.0.1", port) as client, trio.open_nursery() as nursery:
        await client.start_session(SESSION, "mock-440hz", {"ms_per_char": "100"})
        await nursery.start(listen)
        tell({"ready": True})
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            tell({"late_ms": late_s[0] * 1000})
            late_s[0] = 0.0
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
