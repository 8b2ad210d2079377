import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.models.leases import Lease
from ttsw.options import Option
from ttsw.sessions.table import SessionTable, check_session_id
from ttsw.sessions.voice import LoudnessTarget, Voice
from ttsw.testing import FakeHost


class TrackedLease(Lease):
    def __init__(self, owner, revoke):
        super().__init__(Voice(FakeHost(), LoudnessTarget(None)), lambda: owner.leases.remove(self))
        self.revoke = revoke
        owner.leases.append(self)


class Leases:
    """Acquires leases, as the model manager does, and keeps those that are not released."""

    def __init__(self) -> None:
        self.leases = []
        self.holders = []
        self.fresh = []
        self.delay_s = 0.0

    @property
    def count(self):
        return len(self.leases)

    async def __call__(self, model_id, *, holder, fresh, revoked):
        if model_id != "fake-voice":
            raise NotFoundError(f"no model {model_id!r}")
        await trio.sleep(self.delay_s)
        self.fresh.append(fresh)
        self.holders.append(holder)
        return TrackedLease(self, revoked)


@pytest.fixture
def leases():
    return Leases()


@pytest.fixture
async def table(nursery, leases):
    table = SessionTable(leases, limit_of=lambda _: 2, idle_timeout_s=60, orphan_timeout_s=30)
    await nursery.start(table.run)
    return table


async def test_sessions_start_up_to_the_limit_and_again_when_one_has_ended(autojump_clock, table, leases):
    await table.start("a", "fake-voice", {})
    await table.start("b", "fake-voice", {})
    with pytest.raises(ResourceExhaustedError):
        await table.start("c", "fake-voice", {})
    table.end("a")
    await table.start("c", "fake-voice", {})
    await wait_all_tasks_blocked()
    assert (len(table), leases.count) == (2, 2)


async def test_starts_under_way_count(autojump_clock, table, leases, nursery):
    leases.delay_s = 5
    nursery.start_soon(table.start, "a", "fake-voice", {})
    nursery.start_soon(table.start, "b", "fake-voice", {})
    await wait_all_tasks_blocked()
    with pytest.raises(ResourceExhaustedError):
        await table.start("c", "fake-voice", {})
    with pytest.raises(AlreadyExistsError):
        await table.start("a", "fake-voice", {})


async def test_an_id_is_free_as_soon_as_its_session_is_ended(autojump_clock, table):
    first = await table.start("a", "fake-voice", {})
    with pytest.raises(AlreadyExistsError, match="'a'"):
        await table.start("a", "fake-voice", {})
    table.end("a")
    second = await table.start("a", "fake-voice", {})
    await wait_all_tasks_blocked()
    assert table["a"] is second is not first
    with pytest.raises(NotFoundError, match="'b'"):
        table.end("b")


async def test_a_refused_start_leaves_nothing(autojump_clock, table, leases):
    with pytest.raises(NotFoundError):
        await table.start("a", "none", {})
    with pytest.raises(InvalidArgumentError, match="'pitch'"):
        await table.start("a", "fake-voice", {"pitch": "1"})
    await wait_all_tasks_blocked()
    assert (len(table), leases.count) == (0, 0)
    await table.start("a", "fake-voice", {})


async def test_a_client_who_leaves_while_the_model_loads_leaves_nothing(autojump_clock, table, leases):
    leases.delay_s = 5
    with trio.move_on_after(1):
        await table.start("a", "fake-voice", {})
    await wait_all_tasks_blocked()
    assert (len(table), leases.count) == (0, 0)
    leases.delay_s = 0
    await table.start("a", "fake-voice", {})


async def test_an_expired_session_is_gone_and_its_lease_with_it(autojump_clock, table, leases):
    await table.start("a", "fake-voice", {})
    await trio.sleep(61)
    assert (len(table), leases.count) == (0, 0)
    with pytest.raises(NotFoundError, match="idle for too long"):
        table["a"]


async def test_a_model_asked_back_is_given_at_once_by_who_is_silent(autojump_clock, table, leases):
    session = await table.start("a", "fake-voice", {})
    assert leases.holders == ["session a"]
    leases.leases[0].revoke()
    assert leases.count == 0
    utterance = session.begin()
    await wait_all_tasks_blocked()
    assert leases.count == 1, "the next utterance borrows it again"
    session.finish(utterance)
    assert leases.count == 1


async def test_a_model_asked_back_is_given_when_the_speech_is_over(autojump_clock, table, leases):
    session = await table.start("a", "fake-voice", {})
    first = session.begin()
    await wait_all_tasks_blocked()
    leases.leases[0].revoke()
    session.stop()
    second = session.begin()
    session.finish(first)
    assert leases.count == 1, "another utterance is under way"
    await wait_all_tasks_blocked()
    assert (leases.count, len(leases.holders)) == (1, 2), "it took the model anew"
    session.finish(second)
    assert leases.count == 1


async def test_a_model_asked_back_in_the_middle_of_speech(autojump_clock, table, leases):
    session = await table.start("a", "fake-voice", {})
    utterance = session.begin()
    await wait_all_tasks_blocked()
    leases.leases[0].revoke()
    assert leases.count == 1
    session.finish(utterance)
    assert leases.count == 0


async def test_a_stopped_utterance_that_borrows_late_leaves_no_loan(autojump_clock, table, leases):
    session = await table.start("a", "fake-voice", {})
    leases.leases[0].revoke()
    for _ in range(5):
        utterance = session.begin()
        await trio.lowlevel.checkpoint()
        session.stop()
        session.finish(utterance)
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert leases.count <= 1
    table.end("a")
    await wait_all_tasks_blocked()
    assert leases.count == 0


async def test_a_reload_swaps_the_lease(autojump_clock, table, leases):
    session = await table.start("a", "fake-voice", {})
    session.reload()
    utterance = session.begin()
    await utterance.feed("hello")
    utterance.end_text()

    class Listener:
        def send_nowait(self, frames):
            return True

    await utterance.emit(Listener())
    session.finish(utterance)
    assert (leases.fresh, leases.count) == ([False, True], 1)


async def test_draining_takes_nothing_new_and_ends_what_is_there(autojump_clock, table):
    session = await table.start("a", "fake-voice", {})
    session.begin()
    table.draining = True
    with pytest.raises(UnavailableError):
        await table.start("b", "fake-voice", {})
    assert table.end_all(UnavailableError("stopped")) == 1
    await wait_all_tasks_blocked()
    assert len(table) == 0
    assert repr(table) == "<SessionTable 0, 0 speaking, 0 starting>"


@pytest.mark.parametrize("session_id", ["", "a" * 257, "a\nb", "\x00"])
def test_ids_that_name_no_session(session_id):
    with pytest.raises(InvalidArgumentError, match="session_id"):
        check_session_id(session_id)


async def test_a_session_whose_options_the_engine_cant_speak_with_doesnt_start(
    autojump_clock, table, leases, monkeypatch
):
    async def prepare(voice, options):
        await trio.lowlevel.checkpoint()
        raise NotFoundError("there is no recording 'ann'")

    monkeypatch.setattr(Voice, "prepare", prepare)
    with pytest.raises(NotFoundError, match="no recording 'ann'"):
        await table.start("a", "fake-voice", {})
    await wait_all_tasks_blocked()
    assert (len(table), leases.count) == (0, 0), "nothing is left of it"


async def test_one_who_leaves_while_the_engine_prepares_leaves_nothing(autojump_clock, table, leases, monkeypatch):
    async def prepare(voice, options):
        await trio.sleep(10)

    monkeypatch.setattr(Voice, "prepare", prepare)
    with trio.move_on_after(1) as scope:
        await table.start("a", "fake-voice", {})
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert (len(table), leases.count) == (0, 0)
    monkeypatch.undo()
    await table.start("a", "fake-voice", {})


async def test_no_two_sessions_are_the_same_to_an_engine_that_remembers(autojump_clock, table, leases, monkeypatch):
    options = {"session": Option("str", "whose", internal=True)}
    monkeypatch.setattr(Voice, "options", property(lambda _: options))
    first = await table.start("a", "fake-voice", {})
    table.end("a")
    again = await table.start("a", "fake-voice", {})
    known = [session.options.engine["session"] for session in (first, again)]
    assert len(set(known)) == 2
    assert all(name.startswith("a#") for name in known)


async def test_a_refusal_tells_when_the_next_session_will_end(autojump_clock, table):
    await table.start("a", "fake-voice", {})
    await trio.sleep(20)
    table.end("a")
    await wait_all_tasks_blocked()
    await table.start("a", "fake-voice", {})
    await table.start("b", "fake-voice", {})
    await trio.sleep(12)
    with pytest.raises(ResourceExhaustedError, match=r"all 2 sessions of fake-voice are taken .* in about 8\.0 s"):
        await table.start("c", "fake-voice", {})


@pytest.mark.parametrize("ticks", range(16))
async def test_at_the_limit_exactly_one_of_three_is_refused_at_whatever_tick_of_the_first_start(
    autojump_clock, table, leases, ticks
):
    refused = []

    async def start(name: str, after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        try:
            await table.start(name, "fake-voice", {})
        except ResourceExhaustedError:
            refused.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, "a", 0)
        nursery.start_soon(start, "b", ticks)
        nursery.start_soon(start, "c", ticks)
    assert (len(refused), len(table)) == (1, 2)


async def test_a_client_that_vanished_holds_its_places_no_longer_than_the_grace(autojump_clock, table):
    class Link:
        async def wait_closed(self):
            await trio.sleep(1)

    await table.start("a", "fake-voice", {}, link=(link := Link()))
    await table.start("b", "fake-voice", {}, link=link)
    await trio.sleep(11)
    with pytest.raises(ResourceExhaustedError, match=r"in about 20\.0 s"):
        await table.start("c", "fake-voice", {})
    await trio.sleep(20.1)
    await table.start("c", "fake-voice", {})
    assert len(table) == 1
