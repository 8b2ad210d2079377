"""The live task tree as text: each task, and the line of code outside trio on which it waits."""

from collections.abc import Iterator
from pathlib import Path

import trio


def render_tree(root: trio.lowlevel.Task | None = None) -> str:
    """Return the tree of tasks below `root`, by default of all tasks.

    Each line has a task's name and `file:line function` of its innermost frame outside trio.
    """
    task = root or trio.lowlevel.current_root_task()
    assert task is not None, "there is a root task wherever this can be called"
    return "\n".join(_lines(task, ""))


def _lines(task: trio.lowlevel.Task, indent: str) -> Iterator[str]:
    yield f"{indent}{task.name}  — {_waits_on(task)}"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _lines(child, indent + "  ")


def _waits_on(task: trio.lowlevel.Task) -> str:
    place = "not started"
    for frame, line in task.iter_await_frames():
        code = frame.f_code
        if f"{Path(trio.__file__).parent}" not in code.co_filename:
            place = f"{Path(code.co_filename).name}:{line} {code.co_qualname}"
        elif place == "not started":
            place = f"trio {code.co_qualname}"
    return place
