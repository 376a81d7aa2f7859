"""How a registry is reached, as registries.conf and certs.d say."""

from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import tls
from ocicaliban.registry.reference import Repository

HERE = Repository(host="reg.example:5000", path="team/digits")


def test_registries_conf_says_who_may_lack_tls(tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        '[[registry]]\nlocation = "reg.example:5000"\ninsecure = true\n'
        '[[registry]]\nprefix = "reg.example:5000/safe"\nlocation = "x"\n'
        '[[registry]]\nprefix = "*.lan"\ninsecure = true\n'
        '[[registry]]\nlocation = "bad.example"\nblocked = true\n'
    )
    environ = {"CONTAINERS_REGISTRIES_CONF": str(conf)}
    assert tls.is_insecure(HERE, environ)
    assert not tls.is_insecure(Repository(host="reg.example:5000", path="safe/x"), environ)
    assert not tls.is_insecure(Repository(host="reg.example:50001", path="x"), environ)
    assert tls.is_insecure(Repository(host="box.lan:5000", path="x"), environ)
    with pytest.raises(OcicalibanError, match="blocks"):
        tls.is_insecure(Repository(host="bad.example", path="x"), environ)
    assert not tls.is_insecure(HERE, {"HOME": str(tmp_path)})


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d" / HERE.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("none")
    with pytest.raises(OcicalibanError, match=r"ca\.crt"):
        tls.context(HERE.host, verify=True, environ={"HOME": str(tmp_path)})
