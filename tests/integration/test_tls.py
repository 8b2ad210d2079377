"""A worker with a certificate speaks to clients that trust it, and to nobody in the clear."""

import grpc
import pytest
import trustme

from tests.integration.support import PATIENCE_S
from ttsw.fronts.abi.generated.tts import AudioFrame, StartSessionRequest, StartSessionResponse, TextChunk


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_worker(start_worker, authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return start_worker(worker__tls_cert=folder / "cert.pem", worker__tls_key=folder / "key.pem")


def start(channel: grpc.Channel) -> StartSessionResponse:
    call = channel.unary_unary(
        "/tts.TTSService/StartSession", request_serializer=bytes, response_deserializer=StartSessionResponse.parse
    )
    return call(StartSessionRequest(session_id="tls", options={"pacing": "fast"}), timeout=PATIENCE_S)


def test_a_client_that_trusts_its_certificate_is_spoken_to(tls_worker, authority):
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with grpc.secure_channel(tls_worker.address, credentials) as channel:
        assert start(channel).success
        synthesize = channel.stream_stream(
            "/tts.TTSService/Synthesize", request_serializer=bytes, response_deserializer=AudioFrame.parse
        )
        text = TextChunk(session_id="tls", text="a" * 20, is_final=True)
        frames = list(synthesize(iter([text]), timeout=PATIENCE_S))
    assert [frame.is_final for frame in frames] == [False] * 49 + [True]


def test_a_client_in_the_clear_is_not(tls_worker):
    with grpc.insecure_channel(tls_worker.address) as channel, pytest.raises(grpc.RpcError) as refusal:
        start(channel)
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
