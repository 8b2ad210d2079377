import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.concurrency.task_tree import render_tree


async def waits_for_good():
    await trio.sleep_forever()


async def test_the_tree_shows_each_task_and_where_it_waits(nursery):
    async def parent():
        async with trio.open_nursery() as inner:
            inner.start_soon(waits_for_good, name="the child")
            inner.start_soon(waits_for_good, name="another child")

    nursery.start_soon(parent, name="the parent")
    await wait_all_tasks_blocked()
    lines = render_tree().splitlines()
    (parent_at,) = [number for number, line in enumerate(lines) if "the parent" in line]
    children = [line for line in lines if "child  —" in line]
    assert len(children) == 2
    assert all("test_task_tree.py:" in line and "waits_for_good" in line for line in children)
    indent = len(lines[parent_at]) - len(lines[parent_at].lstrip())
    assert all(line.startswith(" " * (indent + 2)) for line in children)
