"""Which GPUs a batch system or the user leaves to us, by variables such as CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu.cdi import Device
from ocicaliban.gpu.lease import units

_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_OF_VENDORS = (
    ("CUDA_VISIBLE_DEVICES", "nvidia.com"),
    ("ROCR_VISIBLE_DEVICES", "amd.com"),
    ("HIP_VISIBLE_DEVICES", "amd.com"),
)
VARIABLES = (*_SLURM, *(name for name, _ in _OF_VENDORS))
"""The variables that are read."""

_NONE = ("", "-1", "none", "void", "nodevfiles")


@frozen(kw_only=True)
class Restriction:
    """What the variables leave: `devices` to choose from, and `reason`, the variable that takes others away ("")."""

    devices: tuple[Device, ...]
    reason: str = ""

    @property
    def note(self) -> str:
        """A line for the user; "" if nothing was taken away."""
        if not self.reason:
            return ""
        names = ", ".join(device.qualified for device in self.devices)
        return f"{self.reason}: {f'only {names}' if names else 'no GPU'} can be used"


def restricted(devices: Iterable[Device], environ: Mapping[str, str]) -> Restriction:
    """Return the devices that the variables in `environ` leave.

    CUDA_VISIBLE_DEVICES names NVIDIA's GPUs by number or by the beginning of a UUID (CUDA C++ Programming Guide,
    "CUDA Environment Variables"); an empty value leaves none. Slurm's variables have the numbers of the whole machine.
    Where Slurm confines a job to its GPUs, CUDA_VISIBLE_DEVICES counts within them: so it is read so where its numbers
    are not among Slurm's. Raises OcicalibanError if a variable names a GPU that no CDI spec offers.
    """
    left, reasons = tuple(devices), []
    slurm = next((name for name in _SLURM if name in environ), "")
    allowed = _words(environ[slurm]) if slurm else ()
    if slurm:
        taken = _kept(left, allowed, slurm, environ[slurm])
        if len(taken) < len(left):
            reasons.append(f"{slurm}={environ[slurm]}")
        left = taken
    for name, vendor in _OF_VENDORS:
        if name not in environ or not any(_is_gpu(device, vendor) for device in left):
            continue
        words = _words(environ[name])
        if slurm and all(word.isdigit() for word in words) and not {*words} <= {*allowed}:
            words = tuple(allowed[int(word)] for word in words if int(word) < len(allowed))
        taken = _kept(left, words, name, environ[name], vendor)
        if len(taken) < len(left):
            reasons.append(f"{name}={environ[name]}")
        left = taken
    return Restriction(devices=left, reason=", ".join(reasons))


def _kept(
    devices: tuple[Device, ...], words: tuple[str, ...], variable: str, value: str, vendor: str = ""
) -> tuple[Device, ...]:
    """Return the devices without those GPUs of a vendor ("": of all) that none of the words names."""
    gpus = [device for device in devices if _is_gpu(device, vendor)]
    allowed: set[str] = set()
    for word in words if gpus else ():
        named = [device for device in gpus if device.name != "all" and _names(word, device)]
        if not named:
            raise OcicalibanError(
                f"{variable}={value}: no CDI spec offers the GPU '{word}'", f"unset {variable}, or use the CPU: --nogpu"
            )
        allowed.update(node for device in named for node in units([device]))
    return tuple(device for device in devices if device not in gpus or {*units([device])} <= allowed)


def _is_gpu(device: Device, vendor: str) -> bool:
    return device.kind == f"{vendor}/gpu" if vendor else device.kind.endswith("/gpu")


def _names(word: str, device: Device) -> bool:
    """Return whether a word of a variable means a device: by its number, its UUID, or the number of its device file."""
    if not word.isdigit():
        return device.name.casefold().startswith(word.casefold())
    if number := re.fullmatch(r"(?:gpu)?([0-9]+)", device.name):
        return int(number[1]) == int(word)
    return any(re.search(rf"[^0-9]{int(word)}$", node) for node in units([device])) and ":" not in device.name


def _words(value: str) -> tuple[str, ...]:
    """Return the numbers and UUIDs of a value, `0-2` as three numbers; CUDA ignores what follows an invalid one."""
    words: list[str] = []
    for part in value.split(","):
        word = part.strip()
        if word.casefold() in _NONE:
            break
        if span := re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", word):
            words += [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
        else:
            words.append(word)
    return tuple(words)
