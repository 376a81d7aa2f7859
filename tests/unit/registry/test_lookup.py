"""Images in a registry: what a container of one starts, and which are of no use."""

import json

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import client, lookup
from ocicaliban.registry.lookup import RemoteImage
from ocicaliban.registry.reference import Destination
from ocicaliban.reporter import SILENT
from tests.unit.registry.registry_stub import HERE, StubRegistry, answer

DIGEST = f"sha256:{'0' * 64}"
MANIFEST = b'{"config": {"digest": "sha256:c", "size": 2}}'


def find(monkeypatch: pytest.MonkeyPatch, stub: StubRegistry) -> RemoteImage | None:
    monkeypatch.setattr(client, "client_for", lambda destination, actions, reporter: stub.client())
    return lookup.find_image(Destination(repository=HERE), "latest", SILENT)


def registry(manifest: bytes, config: object) -> StubRegistry:
    stub = StubRegistry()
    base = f"https://{HERE.host}/v2/"
    stub.answers = {
        f"GET {base}{HERE.path}/manifests/": answer(200, manifest),
        f"GET {base}{HERE.path}/blobs/": answer(200, json.dumps(config).encode()),
        "HEAD": answer(200, Docker_Content_Digest=DIGEST),
        f"GET {base}": answer(200),
    }
    return stub


def test_an_image_has_an_entry_point_and_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"os": "linux", "architecture": "amd64", "config": {"Entrypoint": ["/go"], "Cmd": ["a", "b"]}}
    image = find(monkeypatch, registry(MANIFEST, config))
    assert image == RemoteImage(digest=DIGEST, has_config=True, entrypoint=("/go",), command=("a", "b"))


@pytest.mark.parametrize("section", [None, "x", {}, {"Entrypoint": None}, {"Entrypoint": 1, "Cmd": "x"}])
def test_an_image_may_start_nothing(section: object, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"os": "linux", "architecture": "amd64", "config": section}
    assert find(monkeypatch, registry(MANIFEST, config)) == RemoteImage(digest=DIGEST, has_config=True)


def test_an_image_without_a_config_is_one_of_which_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(monkeypatch, registry(b"{}", {})) == RemoteImage(digest=DIGEST)


def test_an_image_for_other_machines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for stub in (registry(MANIFEST, {"os": "linux", "architecture": "arm64"}), registry(b'{"manifests": []}', {})):
        with pytest.raises(OcicalibanError, match="has no image for linux/amd64"):
            find(monkeypatch, stub)


def test_an_image_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = registry(MANIFEST, {})
    stub.answers["HEAD"] = answer(404)
    assert find(monkeypatch, stub) is None
