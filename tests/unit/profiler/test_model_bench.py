"""The whole measurement on a made-up server: it finds what the models are made with, and notices what misbehaves."""

import re
from datetime import UTC, datetime

import pytest

from tests.unit.profiler.fakes import FakeModel, World, ceiling_sessions
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.profiler.bench import Bench
from ttsw.profiler.disturbances import DisturbanceWatch
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.profile_builder import build
from ttsw.profiler.verify import verify_on
from ttsw.profiles.files import read_profile, write_profile
from ttsw.profiles.schema import DeviceFacts, HostFacts, Slo

DEVICE = DeviceFacts(kind="cpu", name="Test", memory_mb=16_000.0, cores=2)
HOST = HostFacts(processor="Test", cores=2, memory_mb=16_000.0, system="Test 1")
PLAN = BenchPlan(probe_s=9.0, confirm_s=9.0, pair_s=9.0, poisson_s=9.0, cycles=3, most=128)
HEADROOM_MB = 800.0


class Log:
    def __init__(self):
        self.stages, self.levels = [], []

    def stage(self, text, left_s):
        assert left_s >= 0
        self.stages.append((text, left_s))

    def level(self, model_id, level, kind):
        self.levels.append((model_id, level.sessions, kind))


@pytest.fixture
def watch():
    return DisturbanceWatch(lambda: 0.0, loads=lambda: 0.0)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def measure(watch, log):
    async def run(world, *model_ids, plan=PLAN, expected=None):
        bench = Bench(world.open_stage, plan, Slo(), device="cpu", headroom_mb=HEADROOM_MB, watch=watch, progress=log)
        if expected is None:
            await bench.run(model_ids or list(world.voices))
        else:
            with pytest.raises(expected):
                await bench.run(model_ids)
        return build(
            bench.findings,
            name="test",
            date=datetime.now(UTC),
            device=DEVICE,
            host=HOST,
            software={},
            slo=Slo(),
            disturbances=watch.told(),
        )

    return run


def levels(profile, model_id="a"):
    return [level for level in profile.models[model_id].sweep if level.arrivals == "closed"]


async def test_a_ttfa_bound_model(measure):
    profile = await measure(World({"a": FakeModel(limit=23)}))
    facts = profile.models["a"]
    assert (facts.sessions, facts.bound) == (23, "ttfa")
    assert (facts.size_mb, facts.session_mb.median, facts.load.leak_mb) == (100.0, 2.0, 0.0)
    assert (facts.load.load_s.n, facts.load.unload_s.n, facts.load.returned_percent) == (3, 2, 100.0)
    assert (facts.load.first_ms, facts.load.lufs, facts.digest) == (20.0, -20.0, "ab" * 32)
    assert profile.floor_mb == 50.0
    assert sum(level.sessions == 23 and level.passed for level in levels(profile)) >= 3
    assert any(level.sessions == 22 and level.passed for level in levels(profile))
    assert profile.models["a"].sweep[-1].arrivals == "poisson"
    assert profile.derived.sessions == {"a": 20}
    assert profile.disturbances == ()


async def test_noise_moves_a_limit_by_one_at_most(measure):
    profile = await measure(World({"a": FakeModel(limit=23, noise=0.02)}))
    assert abs(profile.models["a"].sessions - 23) <= 1


async def test_a_continuity_bound_model(measure):
    facts = (await measure(World({"a": FakeModel(smooth=17)}))).models["a"]
    assert (facts.sessions, facts.bound) == (17, "continuity")


async def test_a_memory_bound_model_never_fills_the_reserve(measure):
    model = FakeModel(size_mb=9_000, session_mb=300)
    world = World({"a": model})
    facts = (await measure(world)).models["a"]
    assert (facts.sessions, facts.bound) == (ceiling_sessions(model, 16_000, HEADROOM_MB), "memory")
    assert world.most_seen_mb <= 16_000 - HEADROOM_MB


async def test_a_model_that_nothing_stops(measure):
    facts = (await measure(World({"a": FakeModel()}))).models["a"]
    assert (facts.sessions, facts.bound) == (PLAN.most, "search")


async def test_a_model_that_is_too_slow_for_one(measure):
    profile = await measure(World({"a": FakeModel(limit=0)}))
    assert (profile.models["a"].sessions, profile.models["a"].bound) == (0, "ttfa")
    assert all(level.arrivals == "closed" for level in profile.models["a"].sweep)


async def test_one_session_that_begins_nothing_meanwhile_is_heard_for_longer(measure):
    facts = (await measure(World({"a": FakeModel(limit=4, lasts_s=PLAN.probe_s + 1)}))).models["a"]
    assert (facts.sessions, facts.bound) == (4, "ttfa")
    assert all(level.passed for level in facts.sweep if level.sessions == 1)


async def test_a_session_that_never_begins_fails(measure):
    facts = (await measure(World({"a": FakeModel(limit=4, lasts_s=1000.0)}))).models["a"]
    assert (facts.sessions, facts.bound) == (0, "ttfa")
    assert facts.sweep[0].why.startswith("no utterance began to sound within ")


async def test_a_model_that_stalls(measure):
    profile = await measure(World({"a": FakeModel(stall_s=0.4)}))
    facts = profile.models["a"]
    assert (facts.sessions, facts.bound) == (0, "continuity")
    assert facts.sweep[0].largest_gap_ms == 400.0
    assert "C100" in facts.sweep[0].why


async def test_a_model_that_leaks(measure):
    facts = (await measure(World({"a": FakeModel(limit=4, leak_mb=12.5)}))).models["a"]
    assert facts.load.leak_mb == 12.5
    assert facts.load.returned_percent == 87.5
    assert facts.size_mb == 100.0


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (FakeModel(limit=4, rate=8.0), "1.9 characters a second"),
        (FakeModel(limit=4, rate=0.2), "75.0 characters a second"),
        (FakeModel(limit=4, pace=40.0), "the server says that computing takes 0.10"),
    ],
)
async def test_a_model_that_lies_about_its_rate(measure, model, word):
    profile = await measure(World({"a": model}))
    assert any(word in each for each in profile.disturbances)


async def test_a_model_that_gets_slower_with_time(measure):
    profile = await measure(World({"a": FakeModel(drift=200.0)}))
    facts = profile.models["a"]
    assert (facts.sessions, facts.bound) == (0, "drift")
    failed = next(level for level in facts.sweep if not level.passed)
    assert failed.stable is False
    assert "grew" in failed.why


async def test_errors_are_counted_and_bind(measure):
    profile = await measure(World({"a": FakeModel(errors_at=6)}))
    facts = profile.models["a"]
    assert (facts.sessions, facts.bound) == (5, "errors")
    failed = next(level for level in facts.sweep if level.sessions == 8)
    assert failed.errors > 0
    assert "INTERNAL: boom" in failed.why


async def test_a_server_that_dies_under_load_costs_its_model_the_rest(measure):
    profile = await measure(World({"a": FakeModel(dies_at=16), "b": FakeModel(limit=5)}))
    assert profile.models["a"].sessions is None
    assert [level.sessions for level in profile.models["a"].sweep] == [1, 2, 4, 8]
    assert profile.models["b"].sessions == 5
    assert any(re.match("a: the server has ended", each) for each in profile.disturbances)
    assert "a" not in profile.derived.sessions


async def test_a_server_that_dies_while_it_loads(measure):
    profile = await measure(World({"a": FakeModel(fails_after=2, limit=4)}))
    assert (profile.models["a"].sessions, profile.models["a"].sweep) == (None, ())
    assert profile.models["a"].load.load_s.n == 1
    profile = await measure(World({"a": FakeModel(fails_after=0), "b": FakeModel(limit=2)}))
    assert list(profile.models) == ["b"]


async def test_nothing_at_all_is_an_error(measure):
    await measure(World({"a": FakeModel(fails_after=0)}), "a", expected=UnavailableError)
    await measure(World({"a": FakeModel()}), "b", expected=NotFoundError)


async def test_a_model_that_goes_elsewhere_is_left_out(measure):
    profile = await measure(World({"a": FakeModel(limit=2, device="cuda:0"), "b": FakeModel(limit=2)}))
    assert list(profile.models) == ["b"]
    assert any("a goes to cuda:0" in each for each in profile.disturbances)


async def test_a_crowd_that_is_too_slow_says_so(measure):
    profile = await measure(World({"a": FakeModel(limit=3)}, lag_ms=80.0))
    assert any("the load generator was too slow" in each for each in profile.disturbances)
    assert any("while disturbed: the load generator itself was 80 ms late" in each for each in profile.disturbances)


async def test_pairs_speak_and_are_loaded_beside_each_other(measure):
    world = World({"a": FakeModel(limit=8), "b": FakeModel(limit=6), "c": FakeModel(limit=0)})
    profile = await measure(world)
    told = [(each.speaking, each.beside, each.doing, each.level.sessions) for each in profile.interference]
    assert told == [
        ("a", "b", "speaks", 7),
        ("b", "a", "speaks", 7),
        ("a", "b", "speaks", 5),
        ("b", "a", "speaks", 5),
        ("a", "b", "loads", 4),
        ("b", "a", "loads", 3),
    ]
    assert [each.level.passed for each in profile.interference] == [True, False, True, True, True, True]


async def test_what_a_pair_keeps_with_less_is_what_may_speak_together(measure):
    profile = await measure(World({"a": FakeModel(limit=80), "b": FakeModel(limit=60)}))
    assert [each.level.passed for each in profile.interference][:4] == [True, False, True, True]
    assert profile.derived.mixed_sessions == int(0.9 * 52)


async def test_pairs_that_fail_with_least_are_not_tried_again(measure):
    profile = await measure(World({"a": FakeModel(limit=1), "b": FakeModel(limit=1)}))
    both = [each.level for each in profile.interference if each.doing == "speaks"]
    assert [(each.sessions, each.passed) for each in both] == [(2, False), (2, False)]
    assert profile.derived.mixed_sessions == 1


async def test_the_time_left_gets_less(measure, log):
    await measure(World({"a": FakeModel(limit=8)}))
    left = [left_s for _, left_s in log.stages]
    assert left == sorted(left, reverse=True)
    assert left[-1] <= PLAN.level_s(PLAN.poisson_s)


async def test_what_was_found_is_a_profile_that_can_be_read(measure, tmp_path):
    written = write_profile(await measure(World({"a": FakeModel(limit=8)})), tmp_path / "test.yaml")
    assert read_profile(tmp_path / "test.yaml") == written


async def test_verify_measures_the_published_level(measure, watch, log):
    profile = await measure(World({"a": FakeModel(limit=23), "b": FakeModel(limit=9)}))

    async def check(world):
        return await verify_on(profile, DEVICE, world.open_stage, watch=watch, progress=log, seconds=60)

    again = await check(World({"a": FakeModel(limit=23), "b": FakeModel(limit=9)}))
    assert {name: facts.sessions for name, facts in again.models.items()} == {"a": 20, "b": 8}
    assert [len(facts.sweep) for facts in again.models.values()] == [1, 1]
    worse = await check(World({"a": FakeModel(limit=12, size_mb=150), "c": FakeModel()}))
    assert list(worse.models) == ["a"]
    facts = worse.models["a"]
    assert (facts.sessions, facts.bound, facts.size_mb) == (None, "ttfa", 150.0)
    assert any("b: it isn't there any more" in each for each in worse.disturbances)
