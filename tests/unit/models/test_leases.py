from ttsw.models.leases import Lease


def test_it_is_given_back_once():
    given = []
    lease = Lease("model", lambda: given.append(1))
    with lease as held:
        assert held.value == "model"
        held.release()
    assert given == [1]
