from ttsw.errors import ERRORS, ConfigError, ErrorCode, TtswError


def subclasses(kind):
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_every_code_but_ok_has_its_error():
    assert set(ERRORS) == set(ErrorCode) - {ErrorCode.OK}
    assert all(kind.code is code for code, kind in ERRORS.items())


def test_every_error_of_ours_has_a_code():
    kinds = [kind for kind in subclasses(TtswError) if kind.__module__.startswith("ttsw")]
    assert ConfigError in kinds
    assert all(isinstance(kind.code, ErrorCode) and kind.__name__.endswith("Error") for kind in kinds)
