import pytest
import trio

from ttsw.errors import UnavailableError
from ttsw.models.leases import Lease
from ttsw.sessions.voice_lease import VoiceLease


class Manager:
    """Acquires leases, counts those that are held, and can revoke them."""

    def __init__(self):
        self.held, self.acquired, self.revoke, self.error = 0, [], None, None

    async def __call__(self, model_id, *, holder, fresh, revoked):
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.acquired.append((model_id, holder, fresh))
        self.held += 1
        self.revoke = revoked

        def release():
            self.held -= 1

        return Lease(f"voice {len(self.acquired)}", release)


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def lease(manager):
    with VoiceLease(manager, "f-a", "session s") as lease:
        yield lease
    assert manager.held == 0


async def test_one_lease_serves_all_utterances_and_ends_with_the_session(manager, lease):
    assert await lease.voice(fresh=False) == "voice 1"
    lease.utterance_ended()
    assert await lease.voice(fresh=False) == "voice 1"
    assert manager.acquired == [("f-a", "session s", False)]
    assert manager.held == 1


async def test_a_reload_releases_the_old_lease_first(manager, lease):
    await lease.voice(fresh=False)
    assert await lease.voice(fresh=True) == "voice 2"
    assert manager.held == 1


async def test_an_idle_session_releases_a_revoked_lease_at_once(manager, lease):
    await lease.voice(fresh=False)
    lease.utterance_ended()
    manager.revoke()
    assert manager.held == 0
    assert await lease.voice(fresh=False) == "voice 2"


async def test_a_speaking_session_releases_a_revoked_lease_when_it_has_spoken(manager, lease):
    await lease.voice(fresh=False)
    manager.revoke()
    assert manager.held == 1
    lease.utterance_ended()
    assert manager.held == 0


async def test_a_revoked_lease_serves_no_further_utterance(manager, lease):
    await lease.voice(fresh=False)
    manager.revoke()
    assert await lease.voice(fresh=False) == "voice 2"
    assert manager.held == 1


async def test_two_utterances_that_acquire_at_once_leave_one_lease(manager, lease, nursery):
    nursery.start_soon(lambda: lease.voice(fresh=False))
    await lease.voice(fresh=False)
    await trio.testing.wait_all_tasks_blocked()
    assert manager.held == 1


async def test_after_a_failed_load_nothing_is_held(manager, lease):
    manager.error = UnavailableError("its file is damaged")
    with pytest.raises(UnavailableError, match="damaged"):
        await lease.voice(fresh=False)
    assert manager.held == 0
    manager.error = None
    assert await lease.voice(fresh=False) == "voice 1"
