import pytest
import trio

from ttsw.concurrency.unwrap import leaves, sole_cause, unwrapped
from ttsw.errors import InternalError, UnavailableError

ONE, OTHER, FOREIGN = UnavailableError("one"), InternalError("other"), ValueError("foreign")


def group(*errors):
    return BaseExceptionGroup("tasks", errors)


async def cancelled():
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled) as caught:
            await trio.lowlevel.checkpoint()
        return caught.value


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (group(ONE), ONE),
        (group(group(group(FOREIGN))), FOREIGN),
        (group(ONE, group(OTHER)), ONE),
        (group(ONE, FOREIGN), None),
        (group(FOREIGN, KeyboardInterrupt()), None),
        (FOREIGN, FOREIGN),
    ],
)
def test_the_sole_cause(error, cause):
    assert sole_cause(error) is cause


async def test_cancellations_are_no_cause():
    assert sole_cause(group(await cancelled(), FOREIGN)) is FOREIGN
    assert sole_cause(group(await cancelled())) is None


def test_a_sole_cause_is_raised_without_its_group():
    with pytest.raises(UnavailableError, match="one") as caught, unwrapped():
        raise group(ONE)
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)
    with pytest.raises(BaseExceptionGroup), unwrapped():
        raise group(ONE, FOREIGN)
    with pytest.raises(ValueError, match="foreign"), unwrapped():
        raise FOREIGN
    assert list(leaves(group(ONE, group(OTHER, FOREIGN)))) == [ONE, OTHER, FOREIGN]
