"""What rattler does, in a process of its own: solve, digest, install.

`python worker.py JOB.json RESULT.json` reads what to do from the one file and writes the result to the other, in one
step. rattler runs threads of its own, and has aborted the process at its end: the process that started it looks at the
result, and not at the exit code. This file is run by its path, and imports nothing of ocicaliban.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import rattler

_DOWNLOADS = 8
_RETRIES = 2


class Fault(Exception):
    """What the user gets to know; `kind` says which hint helps."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


def main(job: Path, result: Path) -> NoReturn:
    """Do a job, write its result, and end at once."""
    asked = json.loads(job.read_text())
    try:
        done = asyncio.run(_ACTIONS[asked["action"]](asked))
    except Fault as fault:
        done = {"fault": fault.kind, "text": fault.text}
    half = result.with_suffix(".half")
    half.write_text(json.dumps(done))
    half.replace(result)
    os._exit(0)


def _client() -> tuple[rattler.Client, rattler.Config]:
    """Return a client with the user's settings of rattler: mirrors, proxies, passwords."""
    try:
        config = rattler.Config.load_from_default_locations("pixi")
    except Exception as exc:
        raise Fault("settings", str(exc)) from exc
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        config.set("tls-root-certs", "system")
    return rattler.Client.from_config(config, max_retries=_RETRIES), config


# --- solve ---


async def solve(job: dict[str, Any]) -> dict[str, Any]:
    """Return the packages that `specs` need, from `channels` in their order, each with what the lock holds of it."""
    client, config = _client()
    gateway = rattler.Gateway.from_config(config, cache_dir=Path(job["cache"]) / "repodata", client=client)
    virtual = [
        rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build))
        for name, version, build in job["virtual"]
    ]
    platforms = [job["platform"], "noarch"]
    for channel in job["channels"]:
        try:
            await gateway.names([channel], platforms)
        except Exception as exc:
            raise Fault("channel", f"{_without_password(channel)} cannot be read: {_cause(exc)}") from exc
    try:
        found = await rattler.solve(
            job["channels"],
            job["specs"],
            gateway=gateway,
            platforms=platforms,
            virtual_packages=virtual,
            locked_packages=await _preferred(job, gateway, platforms),
        )
    except Exception as exc:
        if type(exc).__name__ == "GatewayError":
            raise Fault("channel", f"cannot be read: {_cause(exc)}") from exc
        raise Fault("solve", _without_password(str(exc))) from exc
    return {"packages": sorted(map(_described, found), key=lambda each: str(each["name"]))}


async def _preferred(job: dict[str, Any], gateway: rattler.Gateway, platforms: list[str]) -> list[Any]:
    """Return the records of the packages in an earlier result that the channels still have."""
    if not job["preferred"]:
        return []
    urls = set(job["preferred"])
    names = sorted({os.path.basename(urlsplit(url).path).rsplit("-", 2)[0] for url in urls})
    answer = await gateway.query(job["channels"], platforms, names, recursive=False)
    return [record for records in answer for record in records if _without_password(record.url) in urls]


def _described(record: Any) -> dict[str, Any]:
    depends = [str(each) for each in record.depends]
    return {
        "url": record.url,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else "",
        "size": record.size or 0,
        "name": record.name.normalized,
        "depends": [each.split()[0].rpartition("::")[2] for each in depends],
        "module": bool(record.noarch.python) or any(each.split()[0] in ("python", "python_abi") for each in depends),
    }


def _cause(exc: Exception) -> str:
    """Return the last of the causes that rattler tells, which is the first one in time."""
    lines = _without_password(str(exc)).splitlines()
    return lines[-1].removeprefix("Caused by: ") if lines else type(exc).__name__


def _without_password(text: str) -> str:
    import re

    return re.sub(r"/t/[^/\s]+", "", re.sub(r"://[^/@\s]+@", "://", text))


# --- fetch ---


async def fetch(job: dict[str, Any]) -> dict[str, Any]:
    """Put the archives of `packages` into the cache, and return each with its hashes and size.

    Every archive is compared with the hash that the job has for it, wherever it comes from.
    """
    client, _ = _client()
    gate = asyncio.Semaphore(_DOWNLOADS)

    async def one(package: dict[str, Any]) -> dict[str, Any]:
        async with gate:
            path: Path = await _archive(client, Path(job["cache"]), package)
            return {**package, "sha256": path.parent.name, "size": path.stat().st_size, "path": str(path)}

    return {"packages": await asyncio.gather(*map(one, job["packages"]))}


async def _archive(client: rattler.Client, cache: Path, package: dict[str, Any]) -> Path:
    """Return the file of a package in the cache; it is in a folder with the name of its hash."""
    name = os.path.basename(urlsplit(package["url"]).path)
    known: Path = cache / "archives" / package["sha256"] / name
    if package["sha256"] and known.is_file():
        if _hash(known, "sha256") == package["sha256"]:
            return known
        known.unlink()
    half = cache / "archives" / f".{os.getpid()}-{id(package)}-{name}"
    half.parent.mkdir(parents=True, exist_ok=True)
    try:
        await _download(client, package.get("from") or package["url"], half)
        for kind in ("sha256", "md5"):
            if package[kind] and _hash(half, kind) != package[kind]:
                raise Fault("hash", f"{package['url']}\n{kind} is {_hash(half, kind)}, expected {package[kind]}")
        path: Path = cache / "archives" / _hash(half, "sha256") / name
        path.parent.mkdir(exist_ok=True)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


async def _download(client: rattler.Client, url: str, path: Path) -> None:
    from rattler.package_streaming import download_to_path

    try:
        if url.startswith("file:"):
            shutil.copyfile(unquote(urlsplit(url).path), path)
        else:
            await download_to_path(client, url, path)
    except Exception as exc:
        raise Fault("fetch", f"{_without_password(url)}: {_cause(exc)}") from exc


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


# --- install ---


async def install(job: dict[str, Any]) -> dict[str, Any]:
    """Install `packages` into the folder `prefix`, for use at the path `target`.

    Nothing of a package is executed: scripts that a package wants to run after its installation do not run.
    """
    fetched = (await fetch(job))["packages"]
    folder = Path(job["prefix"])
    try:
        records = [await rattler.RepoDataRecord.from_package_archive(each["path"]) for each in fetched]
        for record, each in zip(records, fetched, strict=True):
            record.sha256 = bytes.fromhex(each["sha256"])
            record.url, record.channel = Path(each["path"]).as_uri(), os.path.dirname(os.path.dirname(each["url"]))
        await rattler.install(
            records,
            target_prefix=folder,
            cache_dir=folder.with_name(f"{folder.name}-unpacked"),
            show_progress=False,
            execute_link_scripts=False,
            platform=rattler.Subdir(job["platform"]),
            alternative_target_prefix=job["target"],
        )
    except Exception as exc:
        raise Fault("install", str(exc)) from exc
    return {"packages": fetched}


# --- locks of pixi ---


async def pixi(job: dict[str, Any]) -> dict[str, Any]:
    """Return the packages of the environment `environment` of a pixi.lock, those of conda and those of Python."""
    try:
        lock = rattler.LockFile.from_path(job["lock"])
    except Exception as exc:
        raise Fault("lock", str(exc)) from exc
    environment = lock.environment(job["environment"])
    if environment is None:
        known = ", ".join(name for name, _ in lock.environments())
        raise Fault("environment", f"there is no environment '{job['environment']}'; it has {known}")
    platform = next((each for each in environment.platforms() if str(each.subdir) == job["platform"]), None)
    if platform is None:
        known = ", ".join(str(each.subdir) for each in environment.platforms())
        raise Fault("platform", f"it locks no packages for {job['platform']}, only for {known}")
    records = environment.conda_repodata_records_for_platform(platform) or []
    wheels = environment.pypi_packages_for_platform(platform) or []
    return {
        "packages": [_described(record) for record in records],
        "wheels": [
            {
                "name": wheel.name,
                "version": wheel.version,
                "location": wheel.location,
                "sha256": wheel.hashes.sha256.hex() if wheel.hashes and wheel.hashes.sha256 else "",
            }
            for wheel in wheels
        ],
    }


# --- whether a lock is that of a file ---


async def unmet(job: dict[str, Any]) -> dict[str, Any]:
    """Return the first of `specs` that none of the locked `packages` (name, version, build) fulfils, "" if all do.

    The channel of a package does not count: a mirror has another address.
    """
    records = [
        rattler.PackageRecord(
            name=name, version=version, build=rattler.BuildString(build), build_number=0, subdir=job["platform"]
        )
        for name, version, build in job["packages"]
    ]
    for spec in job["specs"]:
        try:
            wanted = rattler.MatchSpec(spec.rpartition("::")[2])
        except rattler.exceptions.InvalidMatchSpecError:
            continue  # what locks it reports that
        if not any(wanted.matches(record) for record in records):
            return {"unmet": spec}
    return {"unmet": ""}


_ACTIONS = {"solve": solve, "fetch": fetch, "install": install, "pixi": pixi, "unmet": unmet}

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
