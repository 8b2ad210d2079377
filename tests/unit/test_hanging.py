"""A test that hangs is ended, and says where."""

from functools import partial

import pytest
import trio

from tests import hanging


async def wait_for_what_never_comes():
    await trio.Event().wait()


def leaves(error):
    return [each for group in error.exceptions for each in leaves(group)] if hasattr(error, "exceptions") else [error]


def test_one_that_hangs_is_ended_and_says_where():
    with pytest.raises(trio.TrioInternalError) as caught:
        hanging.run(wait_for_what_never_comes, patience_s=0.05)
    (cause,) = leaves(caught.value.__cause__)
    assert isinstance(cause, hanging.HangingError)
    assert "wait_for_what_never_comes" in str(cause)


def test_one_that_ends_in_time_is_left_alone():
    assert hanging.run(partial(trio.sleep, 0), patience_s=60) is None


async def test_it_watches_this_test():
    runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner
    assert any(isinstance(each, hanging.Watchdog) for each in runner.instruments["before_run"])
