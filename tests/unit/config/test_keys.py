"""Keys against the schema, and nesting back."""

from ttsw.config.keys import Setting, is_branch, leaves, names_at, nest, type_at
from ttsw.config.schema import Config, EngineConfig, ModelManagerConfig


def test_the_schema_by_key():
    assert type_at(("engines", "any")) is EngineConfig
    assert type_at(("engines", "any", "threads")) is not None
    assert type_at(("worker", "name", "deeper")) is None
    assert names_at(("redis",)) == ("url", "takeover", "registration_ttl_seconds", "heartbeat_interval_seconds")
    assert is_branch(("engines",))
    assert not is_branch(("worker", "name"))


def test_leaves_and_nest_are_inverse():
    config = Config(
        engines={"mock": EngineConfig(options={"a": "b"})},
        model_manager=ModelManagerConfig(memory_budget_mb={"cpu": 300.0}, max_sessions={"mock-440hz": 3}),
    )
    tree = config.model_dump()
    assert nest({key: Setting(value, "test") for key, value in leaves(tree)}) == tree
