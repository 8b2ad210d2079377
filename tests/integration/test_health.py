"""The worker's health and reflection, to grpcio's own clients."""

import contextlib
import signal

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.integration.support import PATIENCE_S, Client

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@contextlib.contextmanager
def asking(worker):
    with grpc.insecure_channel(worker.address) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", ["", "tts.TTSService"])
def test_a_ready_worker_serves(worker, service):
    with asking(worker) as health:
        assert health.Check(request(service), timeout=PATIENCE_S).status == SERVING


def test_an_unknown_service_is_not_found(worker):
    with asking(worker) as health, pytest.raises(grpc.RpcError) as fault:
        health.Check(request("tts.Nothing"), timeout=PATIENCE_S)
    assert fault.value.code() is grpc.StatusCode.NOT_FOUND


def test_while_it_drains_it_does_not_serve_and_watchers_are_told(start_worker):
    worker = start_worker()
    with Client(worker.address) as client, asking(worker) as health:
        session_id = client.start(duration_ms=2_000)
        call = client.open(session_id, "a")
        next(call)
        watch = health.Watch(request("tts.TTSService"), timeout=PATIENCE_S)
        assert next(watch).status == SERVING
        worker.signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        assert health.Check(request(), timeout=PATIENCE_S).status == NOT_SERVING
        assert list(call)[-1].is_final, "what is being said is said to its end"
        with pytest.raises(grpc.RpcError) as end:
            next(watch)
        assert end.value.code() is grpc.StatusCode.UNAVAILABLE
    assert worker.wait() == 0


def test_a_client_without_the_proto_file_can_ask(worker):
    with grpc.insecure_channel(worker.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "tts.TTSService" in database.get_services()
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("tts.TTSService").FindMethodByName("GetCapabilities")
        ask, answer = (message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type))
        call = channel.unary_unary("/tts.TTSService/GetCapabilities", ask.SerializeToString, answer.FromString)
        assert "mock-440hz" in call(ask(), timeout=PATIENCE_S).resident_models
