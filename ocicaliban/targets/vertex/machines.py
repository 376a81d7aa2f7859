"""Vertex AI's machines and accelerators: which machine takes which, and what to ask for (pure)."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import UsageError, nearest


@frozen(kw_only=True)
class Table:
    """What the service's documentation says about machines (see machines.toml), on which `date`.

    `accelerators` maps short names to the service's; `machines` each machine to the numbers that it takes of each
    accelerator; `tpus` each generation and number of chips to a machine and a topology; `places` an accelerator to
    the regions that are known to have it; `ended` an accelerator to a note that the service no longer has it.
    """

    source: str
    date: str
    per_minute: float
    regions: tuple[str, ...]
    accelerators: Mapping[str, str]
    ended: Mapping[str, str]
    places: Mapping[str, tuple[str, ...]]
    machines: Mapping[str, Mapping[str, tuple[int, ...]]]
    tpus: Mapping[str, Mapping[int, tuple[str, str]]]

    def short(self, type_: str) -> str:
        """Return the short name of an accelerator by the service's name, with or without its maker and line."""
        return next((name for name, known in self.accelerators.items() if _bare(known) == _bare(type_)), type_)

    def is_tpu(self, name: str) -> bool:
        """Return whether the accelerator with this short name is a TPU."""
        return name in self.tpus or self.accelerators.get(name, "").startswith("TPU")

    def tpu_machines(self) -> frozenset[str]:
        """Return the machines of the TPU slices."""
        return frozenset(machine for sizes in self.tpus.values() for machine, _ in sizes.values())


def _bare(accelerator: str) -> str:
    return accelerator.removeprefix("NVIDIA_").removeprefix("TESLA_")


@functools.cache
def table() -> Table:
    """Return the table that comes with this version."""
    data = tomllib.loads((Path(__file__).parent / "machines.toml").read_text(encoding="utf-8"))
    accelerators: dict[str, dict[str, object]] = data["accelerators"]
    return Table(
        source=data["source"],
        date=data["date"],
        per_minute=data["submissions_per_minute"],
        regions=tuple(data["regions"]),
        accelerators={name: str(known["type"]) for name, known in accelerators.items()},
        ended={name: str(known["ended"]) for name, known in accelerators.items() if "ended" in known},
        places={name: tuple(known["regions"]) for name, known in data["accelerators"].items() if "regions" in known},
        machines={
            machine: {name: tuple(numbers) for name, numbers in takes.items()}
            for machine, takes in data["machines"].items()
        },
        tpus={
            name: {int(chips): (machine, topology) for chips, (machine, topology) in sizes.items()}
            for name, sizes in data["tpus"].items()
        },
    )


@frozen(kw_only=True)
class Machine:
    """A machine of the service and what is in it; `accelerator` is the service's name, "" for none."""

    type: str
    accelerator: str = ""
    count: int = 0
    topology: str = ""


DEFAULT_MACHINE = "n1-standard-8"
"""The machine if neither a machine nor an accelerator is asked for, as in Caliban."""

_SPEC = re.compile(r"(\d{1,9})[xX](\w[\w-]*)")


def machine(machine_type: str, gpu: str, tpu: str, region: str, force: bool) -> tuple[Machine, tuple[str, ...]]:
    """Return the machine for --machine-type, --gpu-spec (2xV100), --tpu-spec (8xV3) and --region, and warnings.

    A spec without a machine type gets the first machine of the table that takes it. What contradicts the table raises
    UsageError with an alternative, or is a warning with `force`. A name that the table lacks is passed on with a
    warning, since the table goes out of date.
    """
    if gpu and tpu:
        raise UsageError("--gpu-spec and --tpu-spec exclude each other", "leave one of the two out")
    choice = _Choice(table(), machine_type, region, force)
    choice.check_region()
    if not gpu and not tpu:
        chosen = choice.plain()
    else:
        chosen = choice.with_accelerator("--gpu-spec" if gpu else "--tpu-spec", gpu or tpu)
    return chosen, tuple(choice.warnings)


class _Choice:
    """The choice of a machine, with the warnings about it."""

    def __init__(self, known: Table, machine_type: str, region: str, force: bool) -> None:
        self._known = known
        self._type = machine_type
        self._region = region
        self._force = force
        self.warnings: list[str] = []

    def _doubt(self, message: str, hint: str) -> None:
        """Refuse what contradicts the table, or warn of it."""
        if not self._force:
            raise UsageError(message, f"{hint}; or --force, if the service has changed since {self._known.date}")
        self.warnings.append(f"{message} (by the table of {self._known.date})")

    def _warn_unknown(self, what: str, name: str, names: Iterable[str]) -> None:
        close = nearest(name, names)
        meant = f"; {close}" if close.startswith("did you mean") else ""
        self.warnings.append(
            f"the {what} {name} is not in the table of {self._known.date}, and is passed on as it is{meant}"
        )

    def check_region(self) -> None:
        """Doubt a region that the table lacks."""
        if self._region not in self._known.regions:
            self._doubt(f"Vertex AI has no region '{self._region}'", nearest(self._region, self._known.regions))

    def plain(self) -> Machine:
        """Return a machine without accelerators."""
        known = self._known
        chosen = Machine(type=self._type or DEFAULT_MACHINE)
        if chosen.type not in known.machines and chosen.type not in known.tpu_machines():
            self._warn_unknown("machine type", chosen.type, known.machines)
        elif known.machines.get(chosen.type) and not chosen.type.startswith("n1-"):
            specs = ", ".join(f"{n}x{name}" for name, ns in known.machines[chosen.type].items() for n in ns)
            self._doubt(f"the machine {chosen.type} comes with accelerators", f"add them: {specs}")
        return chosen

    def with_accelerator(self, option: str, text: str) -> Machine:
        """Return the machine for a spec such as 2xV100, which is the value of this option."""
        known = self._known
        count, name = _parse_spec(option, text, known)
        if known.is_tpu(name) != (option == "--tpu-spec") and (known.is_tpu(name) or name in known.accelerators):
            other = "--tpu-spec" if option == "--gpu-spec" else "--gpu-spec"
            raise UsageError(f"{option} takes no {name}", f"write {other} {count}x{name}")
        if name in known.tpus:
            return self._slice(count, name)
        if name not in known.accelerators:
            self._warn_unknown("accelerator", name, known.accelerators)
            return Machine(type=self._type or DEFAULT_MACHINE, accelerator=name, count=count)
        if name in known.ended:
            self.warnings.append(f"{name}: {known.ended[name]}")
        chosen = Machine(type=self._machine_for(count, name), accelerator=known.accelerators[name], count=count)
        self._check_place(name)
        return chosen

    def _machine_for(self, count: int, name: str) -> str:
        """Return the type of a machine that takes so many of this accelerator."""
        known = self._known
        takes = {machine: numbers[name] for machine, numbers in known.machines.items() if name in numbers}
        fitting = [machine for machine, numbers in takes.items() if count in numbers]
        if not fitting:
            numbers = sorted({number for of_one in takes.values() for number in of_one})
            some = f"machines take {', '.join(map(str, numbers))} of them" if numbers else "no machine takes it now"
            self._doubt(f"no machine takes {count} {name}", some)
        chosen = self._type or (fitting or list(takes) or [DEFAULT_MACHINE])[0]
        if self._type and self._type not in known.machines:
            self._warn_unknown("machine type", self._type, known.machines)
        elif fitting and chosen not in fitting:
            here = takes.get(chosen)
            why = f"takes {' or '.join(map(str, here))} {name}, not {count}" if here else f"takes no {name}"
            self._doubt(f"the machine {chosen} {why}", f"these take {count}: {', '.join(fitting)}")
        return chosen

    def _check_place(self, name: str) -> None:
        """Warn of a region that is not known to have the accelerator."""
        known = self._known
        if name not in known.places or self._region in known.places[name] or self._region not in known.regions:
            return
        where = ", ".join(known.places[name])
        self.warnings.append(
            f"{name} is not known to be in {self._region} (by the table of {known.date}): it is in {where}"
        )

    def _slice(self, count: int, name: str) -> Machine:
        """Return the machine and topology of a TPU slice."""
        sizes = self._known.tpus[name]
        if count not in sizes:
            self._doubt(f"there is no slice of {count} {name}", f"there are: {', '.join(map(str, sizes))}")
        largest, _ = sizes[max(sizes)]
        usual, topology = sizes.get(count, (largest, ""))
        if self._type and self._type != usual:
            self._doubt(f"the machine {self._type} is not that of {count} {name}", f"it is {usual}; leave it out")
        return Machine(type=self._type or usual, topology=topology)


def _parse_spec(option: str, text: str, known: Table) -> tuple[int, str]:
    """Return the number and the short name of a spec such as 2xV100. Raises UsageError if it has another form."""
    match = _SPEC.fullmatch(text.strip())
    if match is None or not int(match[1]):
        example = "2xV100 or 1xA100" if option == "--gpu-spec" else "8xV3 or 4xV5E"
        raise UsageError(f"{option} {text}: not a number, an x and a name", f"for example {option} {example}")
    name = match[2].upper().replace("-", "_")
    return int(match[1]), known.short(name) if name not in known.tpus else name
