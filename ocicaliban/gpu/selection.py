"""Choose the GPUs to use: from what the user asks for (--gpu, --gpus) and what the machine has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi, restriction
from ocicaliban.gpu.cdi import Device, Discovery
from ocicaliban.gpu.spec import regenerate
from ocicaliban.project import user_config
from ocicaliban.reporter import SILENT, Reporter

_NUMBERED = r"(?:gpu)?([0-9]+)"
_UUID = r"(?i)(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-.*"


def choose_gpus(want: bool | None, request: str | None, reporter: Reporter = SILENT) -> tuple[Device, ...]:
    """Return the CDI devices of this machine to use.

    `want` is what --gpu or --nogpu says, None for neither: then a GPU is used if there is one. `request` is what
    --gpus says (see `select`). `reporter` gets a note about each spec that cannot be used. Raises OcicalibanError if
    the user asks for a GPU and the machine has none: a job never falls back to the CPU silently.
    """
    if want is False:
        return choose(Discovery(), want, request)
    discovery = cdi.discover(cdi.spec_dirs(os.environ, user_config.load_user_config().cdi_spec_dirs))
    chosen, note = choose_allowed(discovery, want, request, os.environ)
    if note:
        reporter.note(note)
    for fault in discovery.faults:
        reporter.note(fault.message)
    return chosen


def choose_allowed(
    discovery: Discovery, want: bool | None, request: str | None, environ: Mapping[str, str]
) -> tuple[tuple[Device, ...], str]:
    """Return which of the devices found to use, of those that the variables in `environ` leave, and a note about that.

    Raises OcicalibanError as `choose` does, and if the user asks for a GPU that a variable takes away.
    """
    # Most machines have no such variable, and a process that needs no GPU need not read the specs.
    if not any(name in environ for name in restriction.VARIABLES):
        return choose(discovery, want, request), ""
    left = restriction.restricted(discovery.devices, environ)
    if not left.reason:
        return choose(discovery, want, request), ""
    hint = "unset the variable, or use the CPU: --nogpu"
    if not _all(left.devices):
        if want or request:
            raise OcicalibanError(f"{left.reason}: no GPU can be used", hint)
        return (), left.note
    try:
        return choose(evolve(discovery, devices=left.devices), want, request), left.note
    except UsageError as fault:
        try:
            select(discovery.devices, request)
        except UsageError:
            raise fault from None
        raise UsageError(f"--gpus {request}: {left.reason} takes it away", hint) from fault


def choose(discovery: Discovery, want: bool | None, request: str | None) -> tuple[Device, ...]:
    """Return which of the devices found to use; see `choose_gpus` for `want` and `request`.

    A spec that cannot be read is a fault only if the others offer no matching device. Raises OcicalibanError if the
    user asks for a GPU and there is none, or if a chosen device's spec names files that do not exist.
    """
    if want is False:
        if request is not None:
            raise UsageError("--gpus cannot be used with --nogpu", "leave one of them out")
        return ()
    if request is not None and not request.strip():
        raise UsageError("--gpus names no GPU", "for example --gpus 0,1 or --gpus all; without a GPU: --nogpu")
    if not (discovery.devices if request else _all(discovery.devices)):
        if discovery.faults:
            raise _or_the_cpu(discovery.faults[0])
        if want or request:
            raise OcicalibanError("this machine has no GPU: no CDI spec offers one", _available(discovery.devices))
        return ()
    try:
        chosen = select(discovery.devices, request)
    except UsageError:
        if discovery.faults:
            raise discovery.faults[0] from None
        raise
    if absent := tuple(name for name in dict.fromkeys(cdi.host_paths(chosen)) if not os.path.exists(name)):
        specs = " and ".join(str(path) for path in dict.fromkeys(device.spec for device in chosen))
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        message = f"the CDI spec {specs} names files that do not exist: {', '.join(absent[:3])}{more}"
        raise _or_the_cpu(OcicalibanError(message, f"after a driver upgrade, {regenerate(chosen[0].spec)}"))
    return chosen


def _or_the_cpu(fault: OcicalibanError) -> OcicalibanError:
    return OcicalibanError(fault.message, f"{fault.hint}; or use the CPU: --nogpu")


def select(devices: Iterable[Device], request: str | None) -> tuple[Device, ...]:
    """Return the devices that a request means.

    A request is a list, separated by commas, of "all", numbers, UUIDs or names `vendor.com/class=name`. An empty
    request means all GPUs. Raises UsageError if a part of it matches no device, or several.
    """
    devices = tuple(devices)
    tokens = ["all"] if not request else [token for part in request.split(",") if (token := part.strip())]
    chosen: dict[str, Device] = {}
    for token in tokens:
        matches = _match(devices, token)
        if not matches:
            raise UsageError(f"no GPU matches {token!r}" if request else "no GPU was found", _available(devices))
        chosen.update((device.qualified, device) for device in matches)
    if not chosen:
        raise UsageError(f"{request!r} names no GPU", _available(devices))
    return tuple(chosen.values())


def _match(devices: Sequence[Device], token: str) -> list[Device]:
    """Return the devices that one word of a request means, or an empty list."""
    if "=" in token:
        return [device for device in devices if device.qualified == token]
    if token == "all":
        return _all(devices) or [device for device in devices if device.name == "all"]
    gpus = [device for device in devices if device.kind.endswith("/gpu")]
    number = re.fullmatch(_NUMBERED, token)
    aliases = [token, number[1], f"gpu{number[1]}"] if number else [token, f"GPU-{token}"]
    for among in (gpus, devices):
        for alias in aliases:
            matches = [device for device in among if device.name.casefold() == alias.casefold()]
            if len({device.kind for device in matches}) > 1:
                names = " or ".join(device.qualified for device in matches)
                raise UsageError(f"several devices match {token!r}", f"use the full name: {names}")
            if matches:
                return matches
    return []


def _all(devices: Sequence[Device]) -> list[Device]:
    """Return all GPUs: of each kind the device "all", or else those with a number, or else those with a UUID."""
    chosen: list[Device] = []
    for kind in dict.fromkeys(device.kind for device in devices if device.kind.endswith("/gpu")):
        members = [device for device in devices if device.kind == kind]
        chosen += (
            [device for device in members if device.name == "all"]
            or [device for device in members if re.fullmatch(_NUMBERED, device.name)]
            or [device for device in members if re.fullmatch(_UUID, device.name)]
        )
    return chosen


def _available(devices: Sequence[Device]) -> str:
    if not devices:
        return (
            "with an NVIDIA driver: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; "
            "without a GPU: --nogpu"
        )
    return "available: " + ", ".join(device.qualified for device in devices)
