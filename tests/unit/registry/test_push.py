"""What pushing decides by itself: what can pass, what a manifest says, what is trusted."""

from pathlib import Path

import pytest

from ocicaliban.containers import oci_layout
from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import tls
from ocicaliban.registry.client import _challenges, _seconds
from ocicaliban.registry.push import Packed, Target, described, finished, passes, said
from ocicaliban.registry.repository import Repository

HERE = Repository(host="reg.example:5000", path="team/digits")


@pytest.mark.parametrize(
    ("words", "fate"),
    [
        ("writing blob: Patch http://h/v2/x: EOF", "later"),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", "later"),
        ("pinging container registry h: Get http://h/v2/: dial tcp 127.0.0.1:9: connect: connection refused", "later"),
        ("received unexpected HTTP status: 503 Service Unavailable", "later"),
        ("uploading layer chunked: StatusCode: 500, \"\"", "later"),
        ("toomanyrequests: slow down", "later"),
        ("dial tcp: lookup h: no such host", "later"),
        ("dial tcp 10.0.0.1:443: connect: network is unreachable", "later"),
        ("stream error: stream ID 5; INTERNAL_ERROR; received from peer", "later"),
        ("denied: Quota exceeded for quota metric 'Requests per project per user'", "later"),
        ("unauthorized: authentication required", "login"),
        ("denied: requested access to the resource is denied", "never"),
        ("name unknown: repository name not known to registry", "never"),
        ("proxyconnect tcp: Proxy Authentication Required", "never"),
        ("x509: certificate signed by unknown authority", "never"),
        ("writing manifest: sha256:5005000 manifest invalid", "never"),
        ("received unexpected HTTP status: 413 Request Entity Too Large", "never"),
        ("writing blob: uploading layer chunked: unknown: to order", "unclear"),
        # Names are no faults.
        ("docker://reg.example:5000/me/unavailable:401: denied: no", "never"),
        ("Get http://reg.example:5000/v2/me/unavailable/blobs/x: denied: no", "never"),
    ],
)  # fmt: skip
def test_what_can_pass_is_told_from_what_cannot(words: str, fate: str) -> None:
    assert passes(words, Target(repository=Repository(host=HERE.host, path="me/unavailable"), tag="401")) == fate


def test_the_tools_words_are_shown_without_its_form_its_states_and_secrets() -> None:
    line = r'time="2026" level=fatal msg="Patch \"http://h/v2/x/blobs/uploads/1?_state=abc%3D\": EOF with hush"'
    assert said(f"other\n{line}\n", "hush") == 'Patch "http://h/v2/x/blobs/uploads/1": EOF with ****'


def digest(digit: str) -> str:
    return f"sha256:{digit * 64}"


CONFIG = {"rootfs": {"diff_ids": [digest("a"), digest("b")]}}
PLAIN = {"mediaType": oci_layout.LAYER, "digest": digest("a"), "size": 0}
GZIP = {"mediaType": f"{oci_layout.LAYER}+gzip", "digest": digest("2"), "size": 20}


def test_a_manifest_tells_the_compressed_layers_of_the_kind_that_is_wanted() -> None:
    made = described({"layers": [PLAIN, GZIP]}, CONFIG, "gzip")
    assert made == [Packed(diff_id=digest("b"), digest=digest("2"), size=20, kind=f"{oci_layout.LAYER}+gzip")]
    assert described({"layers": [PLAIN, GZIP]}, CONFIG, "zstd") == []
    assert described({"layers": [GZIP]}, CONFIG, "gzip") == []


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        ({"layers": "x"}, CONFIG),
        ({"layers": [GZIP, GZIP]}, {"rootfs": "x"}),
        ({"layers": ["x", 1]}, CONFIG),
        ({"layers": [{**GZIP, "digest": "../x"}, {**GZIP, "size": "zz"}]}, CONFIG),
        ({"layers": [GZIP]}, {"rootfs": {"diff_ids": [7]}}),
    ],
)
def test_an_image_that_is_none_has_no_layers(manifest: dict[str, object], config: dict[str, object]) -> None:
    assert described(manifest, config, "gzip") == []


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("", 0), ("soon", 0), ("99999", 120)])
def test_the_time_that_a_registry_asks_for_is_read(header: str, seconds: float) -> None:
    assert _seconds(header) == seconds


def test_the_manifest_is_finished_with_what_the_registry_has_and_names_no_base_of_ours() -> None:
    there = Packed(diff_id=digest("a"), digest=digest("1"), size=10, kind=f"{oci_layout.LAYER}+gzip")
    manifest = {
        "layers": [PLAIN, GZIP],
        "annotations": {"org.opencontainers.image.base.name": "localhost/x", "mine": "1"},
    }
    whole = finished(manifest, CONFIG, {digest("a"): there})
    assert whole["annotations"] == {"mine": "1"}
    assert [(layer["digest"], layer["size"]) for layer in whole["layers"]] == [(digest("1"), 10), (digest("2"), 20)]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        ('Bearer realm="https://t/x",service="s",scope="a:b:pull,push"',
         [("bearer", {"realm": "https://t/x", "service": "s", "scope": "a:b:pull,push"})]),
        ('Bearer realm="https://t", Basic realm="x"', [("bearer", {"realm": "https://t"}), ("basic", {"realm": "x"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert list(_challenges(header)) == found


def test_registries_conf_says_who_may_lack_tls(tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        '[[registry]]\nlocation = "reg.example:5000"\ninsecure = true\n'
        '[[registry]]\nprefix = "reg.example:5000/safe"\nlocation = "x"\n'
        '[[registry]]\nprefix = "*.lan"\ninsecure = true\n'
        '[[registry]]\nlocation = "bad.example"\nblocked = true\n'
    )
    environ = {"CONTAINERS_REGISTRIES_CONF": str(conf)}
    assert tls.insecure(HERE, environ)
    assert not tls.insecure(Repository(host="reg.example:5000", path="safe/x"), environ)
    assert not tls.insecure(Repository(host="reg.example:50001", path="x"), environ)
    assert tls.insecure(Repository(host="box.lan:5000", path="x"), environ)
    with pytest.raises(OcicalibanError, match="blocks"):
        tls.insecure(Repository(host="bad.example", path="x"), environ)
    assert not tls.insecure(HERE, {"HOME": str(tmp_path)})


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d" / HERE.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("none")
    with pytest.raises(OcicalibanError, match=r"ca\.crt"):
        tls.context(HERE.host, verify=True, environ={"HOME": str(tmp_path)})
