import math

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ttsw.errors import (
    FailedPreconditionError,
    NotFoundError,
    OutOfMemoryError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.models.effects import CancelLoad, Grant, Refuse, Revoke, StartLoad, StartUnload, Weigh
from ttsw.models.instances import Footprint, Instance, ModelState, Request, UnloadCause
from ttsw.models.limits import ResidencyLimits
from ttsw.models.refusals import names
from ttsw.models.residency import Residency
from ttsw.types import MemorySnapshot

MB = 1_000_000

GONE = UnavailableError("the engine of a was killed by SIGKILL")


class World:
    """Carries effects out, or keeps them to be carried out later, and holds residency to its word meanwhile."""

    def __init__(
        self,
        limits: ResidencyLimits,
        sizes: dict[str, tuple[Footprint, ...]] | None = None,
        bases: dict[str, str] | None = None,
    ) -> None:
        self.residency = Residency(limits)
        self.sizes, self.bases = sizes or {}, bases or {}
        self.now = 0.0
        self.weighing, self.loading, self.unloading = [], [], []
        self.answers: dict[Request, Instance | Exception] = {}
        self.revoked: list[Request] = []
        self.causes: list[tuple[str, UnloadCause]] = []
        self.cancelled: list[Instance] = []

    def do(self, effects):
        for effect in effects:
            match effect:
                case Weigh(demand):
                    self.weighing.append(demand)
                case StartLoad(instance):
                    assert instance not in self.loading
                    self.loading.append(instance)
                case StartUnload(instance, cause):
                    assert not instance.needed, "a model in use is unloaded"
                    assert instance not in self.unloading, "a model is unloaded twice"
                    self.unloading.append(instance)
                    self.causes.append((instance.model_id, cause))
                case CancelLoad(instance):
                    self.cancelled.append(instance)
                case Grant(request, instance):
                    assert request not in self.answers, "a request is answered twice"
                    self.answers[request] = instance
                case Refuse(request, error):
                    assert request not in self.answers, "a request is answered twice"
                    self.answers[request] = error
                case Revoke(request):
                    self.revoked.append(request)
        return effects

    def ask(self, model_id, holder="a caller", **how):
        request = Request(model_id, holder, **how)
        self.do(self.residency.ask(request, self.now))
        self.weigh()
        return request

    def weigh(self):
        while self.weighing:
            demand = self.weighing.pop(0)
            places = self.sizes.get(demand.model_id, (Footprint("cpu", 10 * MB),))
            self.do(self.residency.weighed(demand, places, self.now, self.bases.get(demand.model_id, "")))

    def finish_load(self, instance=None, size=None):
        instance = instance or self.loading[0]
        self.loading.remove(instance)
        self.residency.loaded(instance)
        self.do(self.residency.warmed(instance, self.now, size))

    def fail_load(self, error):
        self.do(self.residency.failed(self.loading.pop(0), error, self.now))

    def finish_unload(self):
        self.do(self.residency.unloaded(self.unloading.pop(0), self.now))

    def settle(self):
        """Let everything that is under way come to its end."""
        while self.weighing or self.loading or self.unloading:
            self.weigh()
            if self.unloading:
                self.finish_unload()
            elif self.loading:
                self.finish_load()

    def have(self, model_id, **how):
        """Ask for a model and see it come."""
        request = self.ask(model_id, **how)
        self.settle()
        assert isinstance(self.answers[request], Instance), self.answers[request]
        return request

    def release(self, request):
        self.do(self.residency.release(request, self.now))

    def see(self, used, total=1_000 * MB, device="cpu"):
        self.do(self.residency.observe([MemorySnapshot(device, total, used, 0)], self.now))

    def tick(self, seconds=0.0):
        self.now += seconds
        self.do(self.residency.tick(self.now))

    def states(self):
        return {instance.model_id: instance.state.value for instance in self.residency.instances}


def test_a_model_goes_through_its_states():
    world = World(ResidencyLimits())
    assert world.residency.state("a") is ModelState.ABSENT
    request = world.ask("a")
    assert world.residency.state("a") is ModelState.LOADING
    world.residency.loaded(world.loading[0])
    assert world.residency.state("a") is ModelState.WARMING
    world.do(world.residency.warmed(world.loading[0], 0.0))
    world.loading.clear()
    assert world.residency.state("a") is ModelState.READY
    assert world.answers[request].holders == {request: None}
    world.release(request)
    world.do(world.residency.unload("a"))
    assert world.residency.state("a") is ModelState.UNLOADING
    world.finish_unload()
    assert world.residency.state("a") is ModelState.ABSENT
    assert repr(world.residency) == "<Residency: nothing>"


def test_a_thousand_join_one_load():
    world = World(ResidencyLimits())
    requests = [world.ask("a") for _ in range(1_000)]
    assert len(world.loading) == 1
    world.finish_load()
    assert {world.answers[request] for request in requests} == {world.residency.ready("a")}
    assert len(world.residency.ready("a").holders) == 1_000


def test_loads_wait_in_line():
    world = World(ResidencyLimits(loads=1))
    for model_id in "abc":
        world.ask(model_id)
    assert world.states() == {"a": "loading"}
    assert "waiting: b, c" in repr(world.residency)
    world.finish_load()
    assert world.states() == {"a": "ready", "b": "loading"}
    world.fail_load(UnavailableError("no"))
    assert world.states() == {"a": "ready", "c": "loading"}


def test_two_loads_at_once_where_that_is_allowed():
    world = World(ResidencyLimits(loads=2))
    for model_id in "abc":
        world.ask(model_id)
    assert world.states() == {"a": "loading", "b": "loading"}


def test_a_load_waits_until_those_before_it_are_weighed():
    world = World(ResidencyLimits(loads=2))
    first, second = Request("a"), Request("b")
    weigh_a, weigh_b = world.residency.ask(first, 0), world.residency.ask(second, 0)
    assert world.residency.weighed(weigh_b[0].demand, [Footprint("cpu")], 0) == []
    effects = world.residency.weighed(weigh_a[0].demand, [Footprint("cpu")], 0)
    assert [effect.instance.model_id for effect in effects] == ["a", "b"]


def test_room_is_made_before_the_load_by_the_least_recently_used():
    world = World(ResidencyLimits(cap=2))
    for model_id in "ab":
        world.have(model_id, leases=False)
        world.now += 1
    world.have("a", leases=False)
    world.ask("c")
    assert world.states() == {"a": "ready", "b": "unloading"}, "nothing is loaded until there is room"
    world.settle()
    assert world.states() == {"a": "ready", "c": "ready"}
    assert world.causes == [("b", UnloadCause.ROOM)]


def test_what_was_only_loaded_ahead_goes_first():
    world = World(ResidencyLimits(cap=2))
    world.have("a", leases=False)
    world.now += 5
    world.have("b", leases=False, speculative=True)
    world.have("c")
    assert world.states() == {"a": "ready", "c": "ready"}


def test_no_more_goes_than_must():
    """The oldest alone doesn't make enough room; with the second it does, and then the oldest may stay."""
    sizes = {"a": (Footprint("cpu", 10 * MB),), "b": (Footprint("cpu", 80 * MB),), "c": (Footprint("cpu", 90 * MB),)}
    world = World(ResidencyLimits(budget={"cpu": 100 * MB}), sizes)
    world.have("a", leases=False)
    world.now += 1
    world.have("b", leases=False)
    world.have("c", leases=False)
    assert world.states() == {"a": "ready", "c": "ready"}


def test_those_with_their_minimum_residency_go_before_younger_ones():
    world = World(ResidencyLimits(cap=2, min_residency_s=10))
    world.have("a", leases=False)
    world.now += 9
    world.have("b", leases=False)
    world.now += 1
    world.have("a", leases=False)
    world.have("c", leases=False)
    assert "a" not in world.states(), "it was used last, but b has just come"


def test_what_is_in_use_stays_and_the_refusal_names_its_users():
    world = World(ResidencyLimits(budget={"cpu": 25 * MB}, pinned=frozenset({"p"})))
    world.have("a", holder="session x")
    world.have("p", leases=False)
    refused = world.ask("b")
    assert str(world.answers[refused]) == (
        "no room for model 'b': it needs 10 MB on cpu, where 5 MB of 25 MB for models are free; "
        "cpu is held by a (10 MB, in use by session x), p (10 MB, pinned, goes by UnloadModel only)"
    )
    assert isinstance(world.answers[refused], ResourceExhaustedError)
    assert world.states() == {"a": "ready", "p": "ready"}, "a refusal evicts nothing"


def test_a_refusal_by_the_cap_says_so():
    world = World(ResidencyLimits(cap=1))
    world.have("a")
    assert "resident_cap is 1; cpu is held by a" in str(world.answers[world.ask("b")])


def test_a_model_larger_than_the_budget_is_refused_at_once():
    world = World(ResidencyLimits(budget={"cpu": 5 * MB}))
    error = world.answers[world.ask("a")]
    assert "needs 10 MB on cpu, where 5 MB of 5 MB for models are free; cpu is held by no model of this worker" in str(
        error
    )


def test_while_something_is_under_way_a_request_waits_rather_than_being_refused():
    world = World(ResidencyLimits(cap=1, loads=2))
    world.ask("a", leases=False)
    waiting = world.ask("b")
    assert waiting not in world.answers
    world.settle()
    assert isinstance(world.answers[waiting], Instance)
    assert world.states() == {"b": "ready"}


def test_the_peak_of_a_load_must_fit_and_its_size_counts_from_then_on():
    sizes = {"a": (Footprint("cpu", 40 * MB, 90 * MB),), "b": (Footprint("cpu", 50 * MB, 61 * MB),)}
    world = World(ResidencyLimits(budget={"cpu": 100 * MB}), sizes)
    world.have("a")
    assert world.residency.free("cpu") == 60 * MB
    assert isinstance(world.answers[world.ask("b")], ResourceExhaustedError)


def test_what_was_measured_counts():
    world = World(ResidencyLimits(budget={"cpu": 100 * MB}))
    world.ask("a")
    world.finish_load(size=95 * MB)
    assert world.residency.free("cpu") == 5 * MB
    assert isinstance(world.answers[world.ask("b")], ResourceExhaustedError)


def test_a_model_that_turns_out_larger_than_said_drives_out_what_is_idle():
    world = World(ResidencyLimits(budget={"cpu": 100 * MB}))
    world.have("a", leases=False)
    world.ask("b")
    world.finish_load(size=95 * MB)
    assert world.causes == [("a", UnloadCause.PRESSURE)]


def test_a_model_goes_where_it_fits_best():
    sizes = dict.fromkeys("abc", (Footprint("cuda:0", 60 * MB), Footprint("cuda:1", 60 * MB)))
    world = World(ResidencyLimits(budget={"cuda:0": 100 * MB, "cuda:1": 100 * MB}), sizes)
    assert world.answers[world.have("a", leases=False)].place.device == "cuda:0"
    assert world.answers[world.have("b", leases=False)].place.device == "cuda:1", "no need to evict"
    assert world.answers[world.have("c")].place.device == "cuda:0", "the first device gives way"


def test_what_others_take_of_a_device_counts():
    world = World(ResidencyLimits(headroom=100 * MB))
    world.see(used=895 * MB)
    assert isinstance(world.answers[world.ask("a")], ResourceExhaustedError)
    world.see(used=890 * MB)
    world.have("a", leases=False)
    world.see(used=900 * MB)
    assert world.states() == {"a": "ready"}, "ten of those are ours"
    world.see(used=901 * MB)
    assert world.causes == [("a", UnloadCause.PRESSURE)], "others came, and we make way"


def test_memory_on_the_move_is_nobodys():
    world = World(ResidencyLimits(headroom=0))
    world.see(used=0)
    world.ask("a")
    world.see(used=995 * MB)
    assert world.residency.free("cpu") == 990 * MB
    world.finish_load()
    world.see(used=15 * MB)
    assert world.residency.free("cpu") == 985 * MB


@pytest.mark.parametrize(("idle_s", "stays"), [(9.999, True), (10, False)])
def test_ttl_to_the_tick(idle_s, stays):
    world = World(ResidencyLimits(ttl_s=10))
    world.release(world.have("a"))
    world.tick(idle_s)
    assert (world.states() == {"a": "ready"}) is stays


@pytest.mark.parametrize(("age_s", "stays"), [(29.999, True), (30, False)])
def test_min_residency_to_the_tick(age_s, stays):
    world = World(ResidencyLimits(ttl_s=10, min_residency_s=30))
    world.have("a", leases=False)
    world.tick(age_s)
    assert (world.states() == {"a": "ready"}) is stays
    assert stays or world.causes == [("a", UnloadCause.TTL)]


def test_what_is_in_use_or_pinned_outlives_its_ttl():
    world = World(ResidencyLimits(ttl_s=10, pinned=frozenset({"p"})))
    lease = world.have("a")
    world.have("p", leases=False)
    world.tick(1_000)
    assert world.states() == {"a": "ready", "p": "ready"}
    world.release(lease)
    world.tick(9)
    assert "a" in world.states(), "it was in use until just now"
    world.tick(1)
    assert world.states() == {"a": "unloading", "p": "ready"}


def test_what_is_pinned_goes_by_request_only():
    world = World(ResidencyLimits(cap=1, pinned=frozenset({"p"})))
    world.have("p", leases=False)
    assert "pinned" in str(world.answers[world.ask("a")])
    world.do(world.residency.unload("p"))
    world.settle()
    world.have("a")


def test_a_fresh_load_replaces_the_old_once_nobody_uses_it():
    world = World(ResidencyLimits())
    old = world.have("a")
    fresh = world.have("a", fresh=True)
    assert world.answers[fresh] is not world.answers[old]
    assert [i.state.value for i in world.residency.instances] == ["draining", "ready"]
    assert world.answers[world.have("a")] is world.answers[fresh]
    world.release(old)
    assert world.causes == [("a", UnloadCause.REPLACED)]


def test_where_two_copies_do_not_fit_the_old_one_goes_first_even_if_pinned():
    world = World(ResidencyLimits(cap=1, pinned=frozenset({"a"})))
    world.have("a", leases=False)
    world.have("a", fresh=True)
    assert world.causes == [("a", UnloadCause.ROOM)]
    assert "in use by a caller" in str(world.answers[world.ask("a", fresh=True)])


def test_a_fresh_load_that_fails_leaves_the_old():
    world = World(ResidencyLimits())
    world.have("a", leases=False)
    fresh = world.ask("a", fresh=True)
    world.fail_load(UnavailableError("no"))
    assert isinstance(world.answers[fresh], UnavailableError)
    world.have("a")


def test_a_failed_load_backs_off_longer_each_time():
    world = World(ResidencyLimits(backoff_s=1, most_backoff_s=3))
    refused = world.ask("a")
    world.fail_load(UnavailableError("weights are corrupt"))
    assert str(world.answers[refused]) == "weights are corrupt"
    assert world.residency.state("a") is ModelState.FAILED
    assert world.states() == {}
    for wait_s in (1, 2, 3, 3):
        world.now += wait_s - 0.25
        again = world.ask("a")
        assert str(world.answers[again]) == (
            f"model 'a' failed {wait_s - 0.25:.1f} s ago, and is not loaded again for 0.2 s: weights are corrupt"
        )
        assert isinstance(world.answers[again], UnavailableError)
        world.now += 0.25
        world.ask("a")
        world.fail_load(UnavailableError("weights are corrupt"))


def test_who_insists_may_try_at_once_and_success_forgets_the_failures():
    world = World(ResidencyLimits(backoff_s=60))
    world.ask("a")
    world.fail_load(UnavailableError("no"))
    world.have("a", insists=True)
    assert world.residency.failures == {}


def test_out_of_memory_evicts_what_is_idle_and_tries_once_more():
    world = World(ResidencyLimits(pinned=frozenset({"p"})))
    for model_id in "xyp":
        world.have(model_id, leases=False)
    lease = world.have("u", holder="session u")
    request = world.ask("a")
    world.fail_load(OutOfMemoryError("the device has no memory left"))
    assert world.causes == [("x", UnloadCause.OUT_OF_MEMORY), ("y", UnloadCause.OUT_OF_MEMORY)]
    assert request not in world.answers
    world.finish_unload()
    world.weigh()
    assert world.loading == [], "it waits for all that goes"
    world.finish_unload()
    world.fail_load(OutOfMemoryError("the device has no memory left"))
    assert str(world.answers[request]) == (
        "the device has no memory left; cpu is held by p (10 MB, pinned, goes by UnloadModel only), "
        "u (10 MB, in use by session u)"
    )
    assert isinstance(world.answers[request], ResourceExhaustedError)
    assert world.states() == {"p": "ready", "u": "ready"}
    world.release(lease)


def test_out_of_memory_with_nothing_to_evict_fails_at_once():
    world = World(ResidencyLimits())
    request = world.ask("a")
    world.fail_load(OutOfMemoryError("full"))
    assert isinstance(world.answers[request], OutOfMemoryError)
    assert world.loading == []


def test_a_model_in_use_that_runs_out_of_memory_drives_out_what_is_idle():
    world = World(ResidencyLimits())
    used = world.have("a")
    world.have("b", leases=False)
    world.do(world.residency.relieve(world.answers[used], 0))
    assert world.causes == [("b", UnloadCause.OUT_OF_MEMORY)]


def test_what_is_in_use_is_unloaded_by_force_only_and_its_holders_let_go_first():
    world = World(ResidencyLimits())
    leases = [world.have("a", holder=f"session {number}") for number in range(7)]
    with pytest.raises(FailedPreconditionError, match=r"in use by session 0, session 1, .*session 4 and 2 more; wait"):
        world.residency.unload("a")
    world.do(world.residency.unload("a", force=True))
    assert world.revoked == leases
    assert world.states() == {"a": "draining"}
    for lease in leases:
        assert world.unloading == []
        world.release(lease)
    assert world.causes == [("a", UnloadCause.ASKED)]
    later = world.ask("a")
    world.settle()
    assert isinstance(world.answers[later], Instance), "the next who needs it loads it again"


def test_an_unload_in_the_middle_of_a_load():
    world = World(ResidencyLimits())
    waiting = world.ask("a", holder="session 1")
    with pytest.raises(FailedPreconditionError, match="being loaded for session 1"):
        world.residency.unload("a")
    world.do(world.residency.unload("a", force=True))
    assert isinstance(world.answers[waiting], UnavailableError)
    assert world.cancelled == world.loading
    later = world.ask("a")
    assert len(world.loading) == 1, "no second load while the first one comes to its end"
    world.finish_load()  # the cancel came too late
    assert world.causes == [("a", UnloadCause.ASKED)]
    assert world.loading == []
    world.finish_unload()
    world.settle()
    assert isinstance(world.answers[later], Instance)


def test_an_unload_of_what_waits_in_line():
    world = World(ResidencyLimits(loads=1))
    world.ask("a")
    waiting = world.ask("b")
    with pytest.raises(FailedPreconditionError, match="being loaded for a caller"):
        world.residency.unload("b")
    world.do(world.residency.unload("b", force=True))
    assert isinstance(world.answers[waiting], UnavailableError)


def test_a_load_that_nobody_waits_for_any_more_goes_on_and_may_be_unloaded():
    world = World(ResidencyLimits())
    world.do(world.residency.withdraw(world.ask("a"), 0))
    world.do(world.residency.unload("a"))
    world.do(world.residency.unloaded(world.loading.pop(), 0))
    assert world.states() == {}
    world.do(world.residency.withdraw(world.ask("a"), 0))
    world.settle()
    assert world.states() == {"a": "ready"}


def test_a_load_that_has_not_begun_is_given_up_with_its_last_request():
    world = World(ResidencyLimits(loads=1))
    world.ask("a")
    world.do(world.residency.withdraw(world.ask("b"), 0))
    world.settle()
    assert world.states() == {"a": "ready"}


def test_a_lease_that_is_no_longer_wanted_when_it_comes_is_given_back():
    world = World(ResidencyLimits())
    request = world.have("a")
    world.do(world.residency.withdraw(request, 0))
    assert world.residency.ready("a").idle


def test_speculation_takes_free_room_only():
    world = World(ResidencyLimits(cap=1))
    world.have("a", leases=False)
    refused = world.ask("b", leases=False, speculative=True)
    assert "this request may not evict others" in str(world.answers[refused])
    assert world.states() == {"a": "ready"}


def test_a_model_that_cannot_even_be_weighed():
    world = World(ResidencyLimits())
    request = Request("a")
    (weigh,) = world.residency.ask(request, 0)
    world.do(world.residency.refused(weigh.demand, NotFoundError("no model 'a'"), 0))
    assert isinstance(world.answers[request], NotFoundError)
    assert world.residency.state("a") is ModelState.ABSENT
    assert world.residency.refused(weigh.demand, NotFoundError("late"), 0) == []


def test_in_the_end_nobody_gets_anything():
    world = World(ResidencyLimits(loads=1))
    waiting = [world.ask("a"), world.ask("b")]
    world.do(world.residency.stop())
    waiting.append(world.ask("c"))
    assert all(isinstance(world.answers[request], UnavailableError) for request in waiting)


def test_many_names_are_cut_short():
    assert names([Request("a", "x"), Request("a", "y")]) == "x, y"


LIMITS = ResidencyLimits(
    cap=3,
    loads=2,
    ttl_s=20,
    min_residency_s=10,
    pinned=frozenset({"p"}),
    budget={"cpu": 100 * MB, "cuda:0": 80 * MB},
    backoff_s=1,
    most_backoff_s=8,
)
SIZES = {
    "a": (Footprint("cpu", 10 * MB, 30 * MB),),
    "b": (Footprint("cpu", 60 * MB),),
    "c": (Footprint("cuda:0", 50 * MB), Footprint("cpu", 50 * MB)),
    "d": (Footprint("cpu", 101 * MB),),
    "p": (Footprint("cpu", 30 * MB),),
    "m": (Footprint("cuda:0", 40 * MB), Footprint("cpu", 40 * MB)),
    "x": (Footprint("cuda:0", 5 * MB), Footprint("cpu", 5 * MB, 10 * MB)),
    "y": (Footprint("cuda:0", 5 * MB), Footprint("cpu", 20 * MB)),
}
BASES = {"x": "m", "y": "m"}


class Anything(RuleBasedStateMachine):
    """Events in any order: whatever happens, residency keeps its word."""

    steps = 0

    def __init__(self):
        super().__init__()
        self.world = World(LIMITS, SIZES, BASES)
        self.asked: list[Request] = []
        self.held: set[Request] = set()
        self.gone: set[Request] = set()

    def do(self, effects):
        self.world.do(effects)
        for request, answer in self.world.answers.items():
            if isinstance(answer, Instance) and request.leases and request not in self.gone:
                self.held.add(request)
        for effect in effects:
            if isinstance(effect, StartUnload) and effect.instance.model_id == "p":
                why = {UnloadCause.ASKED, UnloadCause.REPLACED, UnloadCause.LOST}
                assert effect.cause in why or self.fresh_wanted("p"), "what is pinned went"

    def fresh_wanted(self, model_id):
        return any(request.fresh and request.model_id == model_id for request in self.asked)

    @rule(
        model_id=st.sampled_from("abcdpmxy"),
        leases=st.booleans(),
        fresh=st.integers(0, 9).map(lambda n: n == 0),
        speculative=st.booleans(),
        insists=st.booleans(),
    )
    def ask(self, model_id, leases, fresh, speculative, insists):
        request = Request(model_id, f"r{len(self.asked)}", leases, fresh, speculative and not leases, insists)
        self.asked.append(request)
        self.do(self.world.residency.ask(request, self.world.now))

    @precondition(lambda self: self.world.weighing)
    @rule(data=st.data(), known=st.integers(0, 9))
    def weigh(self, data, known):
        demand = self.world.weighing.pop(data.draw(st.integers(0, len(self.world.weighing) - 1)))
        if known:
            base = BASES.get(demand.model_id, "")
            self.do(self.world.residency.weighed(demand, SIZES[demand.model_id], self.world.now, base))
        else:
            self.do(self.world.residency.refused(demand, NotFoundError("no"), self.world.now))

    @precondition(lambda self: self.world.loading)
    @rule(data=st.data(), how=st.sampled_from(["loaded", "warmed", "warmed", "failed", "oom"]))
    def load(self, data, how):
        instance = data.draw(st.sampled_from(self.world.loading))
        residency, now = self.world.residency, self.world.now
        if how == "loaded":
            residency.loaded(instance) if instance.state is ModelState.LOADING else None
            return
        self.world.loading.remove(instance)
        if how == "warmed":
            residency.loaded(instance)
            self.do(residency.warmed(instance, now, data.draw(st.sampled_from([None, instance.place.size // 2]))))
        elif instance.state is ModelState.UNLOADING:
            self.do(residency.unloaded(instance, now))
        else:
            self.do(residency.failed(instance, (OutOfMemoryError if how == "oom" else UnavailableError)("no"), now))

    @precondition(lambda self: self.world.unloading)
    @rule(data=st.data())
    def unloaded(self, data):
        instance = data.draw(st.sampled_from(self.world.unloading))
        self.world.unloading.remove(instance)
        self.do(self.world.residency.unloaded(instance, self.world.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        request = data.draw(st.sampled_from(sorted(self.held, key=lambda request: int(request.holder[1:]))))
        self.held.remove(request)
        self.gone.add(request)
        self.do(self.world.residency.release(request, self.world.now))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def withdraw(self, data):
        request = data.draw(st.sampled_from(self.asked))
        self.held.discard(request)
        self.gone.add(request)
        self.world.answers.setdefault(request, UnavailableError("withdrawn"))
        self.do(self.world.residency.withdraw(request, self.world.now))

    @rule(model_id=st.sampled_from("abcdpmxy"), force=st.booleans())
    def unload(self, model_id, force):
        users = [r for r in self.held if model_id in {r.model_id, BASES.get(r.model_id)}]
        try:
            self.do(self.world.residency.unload(model_id, force=force))
        except FailedPreconditionError:
            assert not force
        else:
            assert force or not users

    @rule(seconds=st.integers(0, 30))
    def tick(self, seconds):
        self.world.now += seconds

        def due_alone(instance):
            return (
                instance.idle
                and instance.model_id != "p"
                and self.world.now - max(instance.used_at, instance.loaded_at) >= LIMITS.ttl_s
                and self.world.now - instance.loaded_at >= LIMITS.min_residency_s
            )

        due = {
            instance
            for instance in self.world.residency.instances
            if due_alone(instance)
            and all(
                due_alone(each)
                for each in instance.dependents
                if each.state is not ModelState.UNLOADING or each.unfinished
            )
        }
        effects = self.world.residency.tick(self.world.now)
        assert {effect.instance for effect in effects} == due
        self.do(effects)

    @rule(used=st.integers(0, 200), device=st.sampled_from(["cpu", "cuda:0"]))
    def observe(self, used, device):
        seen = [MemorySnapshot(device, 200 * MB, used * MB, 0)]
        self.do(self.world.residency.observe(seen, self.world.now))

    @precondition(lambda self: self.held)
    @rule()
    def relieve(self):
        instance = self.world.answers[next(iter(self.held))]
        self.do(self.world.residency.relieve(instance, self.world.now))

    @precondition(lambda self: self.world.residency.instances)
    @rule(data=st.data())
    def lose(self, data):
        instance = data.draw(st.sampled_from(self.world.residency.instances))
        self.do(self.world.residency.lost(instance, GONE, self.world.now))

    @invariant()
    def bounds_hold(self):
        type(self).steps += 1
        instances = [instance for instance in self.world.residency.instances if not instance.lost]
        assert len([instance for instance in instances if instance.base is None]) <= LIMITS.cap
        for device, budget in LIMITS.budget.items():
            assert sum(i.size for i in instances if i.place.device == device) <= budget
        in_flight = [instance.model_id for instance in instances if math.isinf(instance.loaded_at)]
        assert len(in_flight) <= LIMITS.loads
        assert len(set(in_flight)) == len(in_flight), "two loads of one model"
        ready = [instance.model_id for instance in instances if instance.state is ModelState.READY]
        assert len(set(ready)) == len(ready)

    @invariant()
    def leases_are_counted(self):
        counted = [request for instance in self.world.residency.instances for request in instance.holders]
        assert len(counted) == len(set(counted)), "a lease is counted twice"
        assert set(counted) == self.held, "a lease is lost"

    @invariant()
    def states_fit(self):
        for instance in self.world.residency.instances:
            assert instance.in_flight or not instance.waiters
            assert (instance in self.world.unloading) or (
                instance.state is not ModelState.UNLOADING or instance in self.world.loading
            )
            assert instance.state is not ModelState.DRAINING or instance.needed

    @invariant()
    def bases_carry(self):
        there = self.world.residency.instances
        for instance in there:
            assert (BASES.get(instance.model_id) is not None) == (instance.base is not None)
            assert instance.dependents == dict.fromkeys(each for each in there if each.base is instance)
            if instance.base is not None:
                gone = instance.base not in there
                assert not gone or instance.state is ModelState.UNLOADING, "a base went before what is based on it"
                assert instance.base.place.device == instance.place.device
                assert instance.state is ModelState.UNLOADING or instance.base.state in {
                    ModelState.READY,
                    ModelState.DRAINING,
                }

    def teardown(self):
        self.world.settle()
        waiting = [request for request in self.asked if request not in self.world.answers]
        assert waiting == [], f"a request never ends: {self.world.residency!r}"
        assert not math.isnan(self.world.now)


@pytest.mark.slow
def test_whatever_happens_residency_keeps_its_word():
    thorough = settings(
        max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    Anything.steps = 0
    run_state_machine_as_test(Anything, settings=thorough)
    assert Anything.steps >= 10_000


# What is lost.


def lose(world, instance):
    world.do(world.residency.lost(instance, GONE, world.now))


def test_a_lost_model_that_nobody_uses_is_seen_off_and_the_next_request_loads_another():
    world = World(ResidencyLimits())
    world.release(world.have("a"))
    lose(world, world.residency.instances[0])
    assert world.states() == {"a": "unloading"}
    world.settle()
    assert isinstance(world.answers[world.have("a")], Instance)


def test_holders_of_a_lost_model_are_asked_to_let_go_and_others_load_at_once():
    world = World(ResidencyLimits(cap=1))
    holder = world.have("a")
    lost = world.residency.instances[0]
    lose(world, lost)
    assert world.revoked == [holder]
    assert lost.state is ModelState.DRAINING
    second = world.ask("a")
    assert len(world.loading) == 1, "what is lost counts neither against the cap nor as memory"
    world.finish_load()
    assert world.answers[second] is not lost
    world.release(holder)
    world.settle()
    assert world.states() == {"a": "ready"}


def test_what_is_lost_takes_no_room():
    world = World(ResidencyLimits(budget={"cpu": 15 * MB}))
    world.see(0)
    world.have("a")
    lose(world, world.residency.instances[0])
    assert world.residency.free("cpu") == 15 * MB
    world.ask("b")
    assert [instance.model_id for instance in world.loading] == ["b"]


def test_a_model_that_keeps_being_lost_is_loaded_after_longer_and_longer_waits():
    world = World(ResidencyLimits(backoff_s=1.0, most_backoff_s=8.0))
    waits = []
    for _ in range(6):
        world.release(world.have("a"))
        lose(world, world.residency.ready("a"))
        world.settle()
        waited = 0.0
        while (request := world.ask("a")) in world.answers:
            assert "was killed by SIGKILL" in str(world.answers[request])
            world.now += 0.5
            waited += 0.5
        world.settle()
        world.release(request)
        waits.append(waited)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_one_that_has_lived_for_long_starts_from_the_first_again():
    world = World(ResidencyLimits(backoff_s=1.0, most_backoff_s=8.0))
    for _ in range(3):
        world.release(world.have("a", insists=True))
        lose(world, world.residency.ready("a"))
        world.settle()
    world.release(world.have("a", insists=True))
    world.now += 8.0
    lose(world, world.residency.ready("a"))
    world.settle()
    assert isinstance(world.answers[world.have("a")], Instance)


def test_what_is_going_already_cant_be_lost():
    world = World(ResidencyLimits())
    world.release(world.have("a"))
    instance = world.residency.instances[0]
    world.do(world.residency.unload("a"))
    lose(world, instance)
    world.settle()
    assert world.states() == {}
    assert isinstance(world.answers[world.have("a")], Instance)


# What is based on another.


def have_two_on_m(**limits):
    sizes = {"m": (Footprint("cpu", 50 * MB),), "x": (Footprint("cpu", 5 * MB),), "y": (Footprint("cpu", 5 * MB),)}
    world = World(ResidencyLimits(**limits), sizes, BASES)
    return world, world.have("x"), world.have("y")


def test_a_base_is_loaded_first_and_counts_once():
    world, x, y = have_two_on_m(cap=1, budget={"cpu": 60 * MB})
    assert [instance.model_id for instance in world.residency.instances] == ["m", "x", "y"]
    base = world.residency.ready("m")
    assert world.answers[x].base is world.answers[y].base is base
    assert not base.holders, "its own errand holds no lease"
    world.see(0)
    assert world.residency.free("cpu") == 0


def test_many_who_want_voices_of_one_base_wait_for_one_load_of_it():
    world = World(ResidencyLimits(loads=4), bases=BASES)
    requests = [world.ask(model_id) for model_id in ("x", "m", "y", "x")]
    assert [instance.model_id for instance in world.loading] == ["m"]
    world.finish_load()
    assert [instance.model_id for instance in world.loading] == ["x", "y"]
    world.settle()
    assert [world.answers[request].model_id for request in requests] == ["x", "m", "y", "x"]


def test_an_evicted_voice_leaves_its_base():
    world, x, y = have_two_on_m()
    world.release(x)
    world.do(world.residency.unload("x"))
    world.settle()
    assert world.states() == {"m": "ready", "y": "ready"}
    world.ask("x")
    assert [instance.model_id for instance in world.loading] == ["x"], "the base is not loaded again"
    assert world.answers[y].state is ModelState.READY


def test_a_base_stays_while_a_voice_is_used_and_goes_with_idle_ones():
    world, x, y = have_two_on_m(budget={"cpu": 60 * MB})
    world.see(0)
    world.sizes["a"] = (Footprint("cpu", 45 * MB),)
    world.release(y)
    refused = world.ask("a")
    error = world.answers[refused]
    assert isinstance(error, ResourceExhaustedError)
    assert "m (50 MB, carries x), x (5 MB, in use by a caller), y (5 MB, idle)" in str(error)
    world.release(x)
    world.ask("a")
    assert [model_id for model_id, _ in world.causes] == ["x", "y", "m"]
    world.settle()
    assert world.states() == {"a": "ready"}


def test_a_voice_goes_before_its_base_where_that_makes_room():
    world, x, y = have_two_on_m(budget={"cpu": 60 * MB})
    world.see(0)
    world.sizes["a"] = (Footprint("cpu", 4 * MB),)
    world.release(x)
    world.release(y)
    world.have("a")
    assert world.causes == [("x", UnloadCause.ROOM)]


def test_room_for_a_voice_is_never_made_of_its_base():
    world = World(
        ResidencyLimits(budget={"cpu": 52 * MB}),
        {"m": (Footprint("cpu", 50 * MB),), "x": (Footprint("cpu", 5 * MB),)},
        BASES,
    )
    world.see(0)
    world.have("m", leases=False)
    refused = world.ask("x")
    assert "it needs 5 MB on cpu, where 2 MB" in str(world.answers[refused])
    assert world.states() == {"m": "ready"}


def test_a_base_that_cannot_come_refuses_its_voices():
    world = World(ResidencyLimits(), bases=BASES)
    requests = [world.ask("x"), world.ask("y")]
    world.fail_load(UnavailableError("its file is damaged"))
    assert [str(world.answers[request]) for request in requests] == [
        "model 'x' is based on 'm': its file is damaged",
        "model 'y' is based on 'm': model 'm' failed 0.0 s ago, and is not loaded again for 1.0 s: its file is damaged",
    ]
    assert world.states() == {}


def test_who_wants_a_voice_no_more_wants_no_base():
    world = World(ResidencyLimits(loads=1), bases=BASES)
    world.ask("a")
    x, y = world.ask("x"), world.ask("y")
    world.finish_load()
    for request in (x, y):
        world.do(world.residency.withdraw(request, 0))
    world.settle()
    assert set(world.states()) <= {"a", "m"}
    assert repr(world.residency).endswith("(0)>") or "waiting" not in repr(world.residency)


def test_unloading_a_base_names_who_uses_its_voices_and_takes_idle_ones_along():
    world, x, y = have_two_on_m()
    world.release(y)
    with pytest.raises(FailedPreconditionError, match="model 'm' is in use by a caller"):
        world.residency.unload("m")
    world.do(world.residency.unload("m", force=True))
    assert world.states() == {"m": "draining", "x": "draining", "y": "unloading"}
    assert world.revoked == [x]
    world.release(x)
    world.settle()
    assert world.states() == {}


def test_a_base_loaded_anew_keeps_its_old_copy_for_voices_in_use():
    world, x, y = have_two_on_m()
    world.release(y)
    old = world.residency.ready("m")
    world.have("m", fresh=True, leases=False)
    assert old.state is ModelState.DRAINING
    assert world.revoked == []
    again = world.have("x")
    assert world.answers[again].base is world.residency.ready("m")
    world.release(x)
    world.settle()
    assert old not in world.residency.instances


def test_a_voice_that_loads_while_its_base_is_replaced_is_asked_back_at_once():
    world = World(ResidencyLimits(loads=2), bases=BASES)
    world.have("m", leases=False)
    x = world.ask("x")
    world.ask("m", fresh=True, leases=False)
    world.finish_load(world.loading[1])
    world.finish_load()
    assert world.revoked == [x]
    world.release(x)
    world.settle()
    assert world.states() == {"m": "ready"}


def test_what_stands_on_a_lost_base_is_lost_with_it():
    world, x, y = have_two_on_m()
    world.release(y)
    base = world.residency.ready("m")
    lose(world, base)
    lose(world, world.answers[x])  # whose own host tells it, too
    assert world.states() == {"m": "draining", "x": "draining", "y": "unloading"}
    assert world.revoked == [x]
    assert not world.residency.failures, "it is lost once"
    again = world.have("x")
    assert world.answers[again].base is not base
    world.release(x)
    world.settle()
    assert base not in world.residency.instances


def test_a_voice_out_of_memory_is_tried_again_without_the_loss_of_its_base():
    world = World(ResidencyLimits(), bases=BASES)
    world.release(world.have("a"))
    world.have("m", leases=False)
    x = world.ask("x")
    world.fail_load(OutOfMemoryError("no"))
    assert world.causes == [("a", UnloadCause.OUT_OF_MEMORY)]
    world.settle()
    assert world.answers[x].base is world.residency.ready("m")


def test_time_takes_a_base_only_with_all_that_stands_on_it():
    world, x, y = have_two_on_m(ttl_s=20, min_residency_s=0)
    world.release(x)
    world.tick(15)
    world.release(y)
    world.tick(10)
    assert world.causes == [("x", UnloadCause.TTL)]
    world.settle()
    world.tick(10)
    assert [model_id for model_id, _ in world.causes] == ["x", "y", "m"]


def test_a_pinned_voice_pins_its_base():
    world, x, y = have_two_on_m(ttl_s=20, pinned=frozenset({"x"}))
    world.release(x)
    world.release(y)
    world.tick(100)
    assert world.causes == [("y", UnloadCause.TTL)]
