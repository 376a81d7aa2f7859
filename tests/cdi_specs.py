"""Write CDI specs for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ocicaliban.gpu import cdi

KIND = "acme.example/gpu"
UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"


def write(folder: Path, *names: str | dict[str, Any], file: str = "acme.json", **top: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    devices = [{"name": name, "containerEdits": {}} if isinstance(name, str) else name for name in names]
    path = folder / file
    path.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": KIND, "devices": devices, **top}))
    return path


def device(name: str, kind: str = KIND, spec: str = "/etc/cdi/acme.json", version: str = "0.5.0") -> cdi.Device:
    return cdi.Device(kind=kind, name=name, spec=Path(spec), version=version)


def names(devices: tuple[cdi.Device, ...]) -> list[str]:
    return [item.name for item in devices]


def full(folder: Path) -> tuple[cdi.Device, ...]:
    library = {"hostPath": "/lib/a.so", "containerPath": "/lib/a.so", "options": ["ro", "nosuid", "nodev", "bind"]}
    hook = {"hookName": "createContainer", "path": "/bin/acme-ctk", "args": ["acme-ctk", "ldcache"], "env": ["X=1"]}
    write(
        folder,
        *(
            {
                "name": str(number),
                "containerEdits": {
                    "deviceNodes": [
                        {"path": f"/dev/acme{number}", "permissions": "rw"},
                        {"path": "/dev/acmectl", "hostPath": "/dev/host-ctl", "major": 195},
                    ],
                    "mounts": [library],
                    "env": [f"WHICH={number}"],
                    "hooks": [hook],
                },
            }
            for number in range(2)
        ),
        containerEdits={"env": ["WHICH=void", "B=a=b"], "mounts": [library], "hooks": [{**hook, "timeout": 5}]},
    )
    return cdi.discover([folder]).devices
