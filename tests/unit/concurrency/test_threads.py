import threading

import trio

from ttsw.concurrency.threads import Lane, limiter, run_in


async def test_a_thousand_calls_take_the_threads_of_their_lane():
    lock, now, most = threading.Lock(), 0, 0

    def work():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.0005)
        with lock:
            now -= 1

    before = threading.active_count()
    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(run_in, Lane.RECORDS, work)
        await trio.sleep(0.05)
        assert threading.active_count() <= before + Lane.RECORDS.threads
    assert most == Lane.RECORDS.threads


async def test_a_call_that_is_abandoned_counts_until_it_ends():
    gate = threading.Event()
    with trio.move_on_after(0.05) as scope:
        await run_in(Lane.LISTING, gate.wait, abandon=True)
    assert scope.cancelled_caught
    with trio.move_on_after(0.05) as scope:
        await run_in(Lane.LISTING, int, abandon=True)
    assert scope.cancelled_caught, "its thread is still there"
    gate.set()
    with trio.fail_after(5):
        assert await run_in(Lane.LISTING, lambda: 7) == 7


def test_each_run_has_lanes_of_its_own():
    async def find():
        return limiter(Lane.LISTING)

    assert trio.run(find) is not trio.run(find)
