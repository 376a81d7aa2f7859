"""What every gRPC request passes: injected faults, and the check of its credentials."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import grpc

from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.identity import ServiceAccount

Method = Callable[[Any, grpc.ServicerContext, Faults], bytes]
"""Answers a request, serialized."""


class RequestGate:
    """Delays, refuses or lets requests through; `over` is set when the emulator ends."""

    def __init__(self, account: ServiceAccount, faults: FaultInjector, over: threading.Event) -> None:
        self._account = account
        self._faults = faults
        self._over = over

    def handler(self, method: Method, request_type: type[Any], permission: str) -> grpc.RpcMethodHandler:
        """Return a handler for gRPC's server that passes requests of this type to `method`.

        `permission` is what a caller needs, as the error names it.
        """

        def answer(request: Any, context: grpc.ServicerContext) -> bytes:
            faults = self._faults.current()
            if self._over.wait(faults.latency):
                refuse(context, grpc.StatusCode.UNAVAILABLE, "The emulator has ended.")
            authorization = str(dict(context.invocation_metadata()).get("authorization", ""))
            if faults.expired or not self._account.is_authorized(authorization):
                message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
                refuse(context, grpc.StatusCode.UNAUTHENTICATED, message)
            if faults.denied:
                deny(context, permission)
            if self._faults.is_nth("request", faults.unavailable_every):
                refuse(context, grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
            return method(request, context, faults)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request_type.deserialize, response_serializer=bytes
        )


def deny(context: grpc.ServicerContext, permission: str) -> NoReturn:
    """End a request with PERMISSION_DENIED."""
    message = f"Permission '{permission}' denied on resource (or it may not exist)."
    refuse(context, grpc.StatusCode.PERMISSION_DENIED, message)


def refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    """End a request with this status."""
    context.abort(code, message)
    raise AssertionError  # abort() raises; its stub does not say so
