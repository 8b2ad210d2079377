import numpy as np
import pytest
import trio

from tests.unit.simulation.profiles import facts, make
from ttsw.errors import OutOfMemoryError, UnavailableError
from ttsw.models.measurements import MeasurementStore
from ttsw.simulation.source import SimulatedSource

TEXT = "x" * 75  # 5 s


@pytest.fixture
def load(tmp_path):
    """Loads models of a simulation."""

    async def load(simulation, name="f-a"):
        return await simulation.load(
            simulation.catalogue[name], MeasurementStore(tmp_path)[name], "cuda:0", lambda: None
        )

    return load


async def speak(host, heard=None):
    """Speak, and take chunks at once; gives when the first came, when the last, and all samples."""
    began, times, chunks = trio.current_time(), [], []

    async def take(chunk, _seconds):
        await trio.lowlevel.checkpoint()
        times.append(trio.current_time() - began)
        chunks.append(chunk)

    await host.speak(TEXT, {}, lambda chunk: chunk, take)
    if heard is not None:
        heard.append((times[0], times[-1]))
    return times[0], times[-1], np.concatenate(chunks)


async def test_a_load_takes_its_time_and_its_memory(autojump_clock, load):
    simulation = SimulatedSource(make(a=facts(size_mb=4_000)))
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load, simulation)
        await trio.sleep(1)
        seen.append(simulation.device.ours)
    assert trio.current_time() == pytest.approx(4)
    assert [*seen, simulation.device.ours] == [6 * 10**9, 4 * 10**9]


async def test_a_cancelled_load_and_a_closed_model_leave_nothing(autojump_clock, load):
    simulation = SimulatedSource(make(a=facts()))
    with trio.move_on_after(1):
        await load(simulation)
    assert simulation.device.ours == 0
    voice = await load(simulation)
    await voice.close()
    assert simulation.device.ours == 0
    with pytest.raises(UnavailableError, match="was unloaded while it spoke"):
        await speak(voice.host)
    small = SimulatedSource(make(5_000.0, a=facts(size_mb=4_000)))
    with pytest.raises(OutOfMemoryError, match="6000 MB are wanted"):
        await load(small)


@pytest.mark.parametrize(("sessions", "keeps_up"), [(6, True), (7, False)])
async def test_it_speaks_as_fast_as_its_limit_says(autojump_clock, load, sessions, keeps_up):
    voice = await load(SimulatedSource(make(a=facts(6, "continuity"))))
    heard = []
    async with trio.open_nursery() as nursery:
        for _ in range(sessions):
            nursery.start_soon(speak, voice.host, heard)
    assert len(heard) == sessions
    assert all((last < 5) == keeps_up for _, last in heard)


@pytest.mark.parametrize(("sessions", "in_time"), [(3, True), (4, False)])
async def test_its_first_audio_comes_as_its_limit_says(autojump_clock, load, sessions, in_time):
    voice = await load(SimulatedSource(make(a=facts(3, "ttfa"))))
    heard = []
    async with trio.open_nursery() as nursery:
        for _ in range(sessions):
            nursery.start_soon(speak, voice.host, heard)
    assert (max(first for first, _ in heard) <= 0.3) == in_time


async def test_who_speaks_takes_memory_and_two_models_share_the_device(autojump_clock, load):
    profile = make(10_000.0, a=facts(4, "memory", 800, 2_000), b=facts(2, "continuity", None, 2_000))
    simulation = SimulatedSource(profile)
    a, b = await load(simulation, "f-a"), await load(simulation, "f-b")
    with pytest.RaisesGroup(OutOfMemoryError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(speak, a.host)
    assert simulation.device.ours == 4 * 10**9
    first, last, audio = await speak(b.host)
    assert (len(audio), 0 < first < last < 5) == (5 * 48_000, True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, a.host)
        nursery.start_soon(speak, a.host)
        slower = (await speak(b.host))[1]
    assert slower > last


async def test_noise_is_by_chance_and_repeats_with_its_seed(autojump_clock, load):
    times = []
    for seed in (1, 1, 2):
        voice = await load(SimulatedSource(make(a=facts()), noise=0.2, seed=seed))
        times.append((await speak(voice.host))[1])
    assert times[0] == pytest.approx(times[1])
    assert times[0] != pytest.approx(times[2])


async def test_what_cannot_be_simulated_says_so(autojump_clock, load):
    voice = await load(SimulatedSource(make(a=facts())))
    with pytest.raises(UnavailableError, match="f-a is based on another model, and that isn't simulated"):
        await voice.host.attach(voice.host.model.pack)
