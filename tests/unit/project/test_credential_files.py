"""Files that hold credentials are recognised by their contents.

The examples are put together here, since services that scan repositories take whole ones for real.
"""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.project import credential_files, source_tree
from ocicaliban.project.source_tree import read_tree
from tests.folders import files, write

KEY = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----", "client_email": "a@b"}'
LOGIN = '{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}'
AUTHS = '{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}'


def _made(count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random(count).choices(letters, k=count))


HEX = "0123456789abcdef"
BASE64 = _made(64)
BEGIN = "-----BEGIN "
PEM = f"{BEGIN}RSA PRIVATE KEY-----\n{BASE64}\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize(
    ("text", "what"),
    [(KEY, "the private key of a service account"), (LOGIN, "a user's Google login"), (AUTHS, "a registry login")],
)
def test_a_credential_by_whatever_name_is_refused_unless_ignored(
    tmp_path: Path, text: str, what: str, ignore: bool
) -> None:
    root, memo = tmp_path / "project", tmp_path / "memo"
    write(root, {"conf/trainer": text, "a.py": ""})
    for _ in range(2):  # whatever was read before
        with pytest.raises(OcicalibanError) as fault:
            read_tree(root, memo=memo, ignore=ignore)
        assert fault.value.message.startswith(f"conf/trainer:1: contains {what}")
        assert "--allow-secret conf/trainer" in fault.value.hint
        assert ("add conf/trainer to .gitignore, or" in fault.value.hint) == ignore
    write(root, {".gitignore": "/conf/trainer\n"})
    assert "conf/trainer" not in files(read_tree(root, memo=memo))


@pytest.mark.parametrize(
    "text",
    [
        *("", '{"private_key": 1}', '{"type": "service_account", "private_key": ""}', '["private_key"]'),
        *('{"auths": {"ghcr.io": {}}}', '{"auths": []}', '"private_key" {', "[" * 9000 + '"auths"', KEY + " " * 16384),
    ],
)
def test_what_only_looks_like_a_credential_is_a_file_like_any_other(tmp_path: Path, text: str) -> None:
    assert files(read_tree(write(tmp_path, {"a.json": text}))) == ["a.json"]


GENERATED = ("Xk93mQ", "Xk93mQvw7T", "q9W7zz91K")
ODD = (
    "({})",
    "[{}]",
    "{{{}}}",
    "<{}>",
    "@{}",
    "!{}",
    "'#{}'",
    "/{}",
    "/{}/k+3mQ==",
    "~{}",
    "ab...{}",
    "{}${{x}}",
    "$${}",
)
"""Forms of passwords that are also those of places for one, of tags and of paths."""
CREDENTIALS = [
    *(("prod.env", f"DB_PASSWORD={form.format(word)}\n", "the value of DB_P", 1) for form in ODD for word in GENERATED),
    ("x.toml", 'url = "https://bob:bob@corp.io/simple"\n', "a URL with a password", 1),
    ("x.conf", "url = mysql://bob:bob@db.corp.io/x\n", "a URL with a password", 1),
    # Package indexes: whatever reads the URL.
    ("uv.toml", '[[index]]\nurl = "https://ada:s3cr%40t@pypi.corp.example/simple"\n', "a URL with a password", 2),
    ("requirements.txt", "numpy\n--extra-index-url https://ada:hunter2@127.0.0.1:8080/simple\n", "a URL with", 2),
    ("requirements.txt", "a @ git+https://ada:hunter2@git.example.com/a.git\n", "a URL with a password", 1),
    ("pip.conf", "[global]\nindex-url = http://u:secret@nexus/simple\n", "a URL with a password", 2),
    ("pip.conf", f"[global]\nindex-url = https://{_made(24)}@nexus.org/simple\n", "a URL with a token", 2),
    ("pip.conf", f"[global]\nindex-url = https://__token__:{_made(24)}@nexus.org/simple\n", "a URL with a password", 2),
    ("poetry.toml", '[repositories.a]\nurl = "https://u:k9-Trees@a.org/simple"\n', "a URL with a password", 2),
    ("auth.toml", '[http-basic.foo]\nusername = "ada"\npassword = "lovelace"\n', "a password", 3),
    ("Pipfile", '[[source]]\nurl = "https://u:k9-Trees@a.org/simple"\n', "a URL with a password", 2),
    ("environment.yml", "channels:\n  - https://u:k9-Trees@conda.a.org/main\n", "a URL with a password", 2),
    ("environment.yml", "channels:\n  - https://conda.anaconda.org/t/ab-12345678-1234/me\n", "a URL with a token", 2),
    ("Dockerfile", "RUN pip install -i https://ada:hunter2@pypi.corp.com/simple x\n", "a URL with a password", 1),
    ("db.py", 'URL = "postgresql://ada:k9-Trees@db.corp.com/history"\n', "a URL with a password", 1),
    ("logins", "machine a.org login ada password lovelace\n", "a login of .netrc", 1),
    ("old-pypirc", "[pypi]\nusername = __token__\npassword = lovelace\n", "a password", 3),
    # Variables.
    ("prod.env", "# production\nDEBUG=0\nDB_PASSWORD=hunter2\n", "the value of DB_PASSWORD", 3),
    ("secrets.env", "export API_KEY='abcd-efgh-ijkl'\n", "the value of API_KEY", 1),
    ("settings.txt", "REGION=eu\nTOKEN=f00ba4\n", "the value of TOKEN", 2),
    ("prod.env", "DB_PASSWORD=My$ecret99\n", "the value of DB_PASSWORD", 1),
    ("prod.env", "API_KEY=p@ss(w0rd)!x\n", "the value of API_KEY", 1),
    ("prod.env", "PGPASSWORD=k9-Trees\n", "the value of PGPASSWORD", 1),
    ("prod.env", "\ufeffDB_PASSWORD=k9-Trees\n", "the value of DB_PASSWORD", 1),
    ("prod.env", "DEPLOY_KEY=a8Kd9Q2mZ0xLwP4t\n", "the value of DEPLOY_KEY", 1),
    ("prod.default.env", "DB_PASSWORD=k9-Trees\n", "the value of DB_PASSWORD", 1),
    ("dist.env", "DB_PASSWORD=k9-Trees\n", "the value of DB_PASSWORD", 1),
    ("uv.default.toml", 'url = "https://u:k9-Trees@pypi.corp.com/simple"\n', "a URL with a password", 1),
    ("uv.toml", 'url = "https://u:p4$$Xw9!@corp.io/simple"\n', "a URL with a password", 1),
    ("uv.toml", 'url = "https://u:k9-Trees@[2001:db8::1]/simple"\n', "a URL with a password", 1),
    ("netrc.txt", "default login ada password lovelace\n", "a login of .netrc", 1),
    ("netrc.txt", "machine a.org password lovelace login ada\n", "a login of .netrc", 1),
    ("netrc.txt", "machine a.org login ada account x password lovelace\n", "a login of .netrc", 1),
    ("prod.env", "DATABASE_URL=postgres://app:k9-Trees@db/app\n", "a URL with a password", 1),
    # Keys.
    ("default.pem", PEM, "a private key", 1),
    ("id_ed25519.dist", PEM, "a private key", 1),
    ("deploy-sample.key", PEM, "a private key", 1),
    ("notes", PEM, "a private key", 1),
    ("id", f"{BEGIN}OPENSSH PRIVATE KEY-----\n{BASE64}\n", "a private key", 1),
    ("id.asc", f"{BEGIN}PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{BASE64}\n", "a private key", 1),
    ("old", f"{BEGIN}EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,AB\n\n{BASE64}\n", "a private key", 1),
    ("a.py", 'KEY = """' + PEM.replace("\n", "\\n") + '"""\n', "a private key", 1),
    ("a.json", json.dumps({"a": PEM}), "a private key", 1),
    ("a.ppk", f"PuTTY-User-Key-File-3: rsa\nPublic-Lines: 1\nA\nPrivate-Lines: 14\n{BASE64}\n", "a private key of", 1),
    ("age", f"AGE-SECRET-KEY-1{_made(58, string.ascii_uppercase)}\n", "a secret key of age", 1),
    # Services.
    ("a.py", f"\n\nkey = 'AKIA{_made(16, 'ABCDEFGHIJKLMNOP234567')}'\n", "an access key of AWS", 3),
    ("a.py", f"aws_secret_access_key='{_made(40)}'\n", "a secret key of AWS", 1),
    ("a.yml", f"secretAccessKey: {_made(40)}\n", "a secret key of AWS", 1),
    ("a.py", f"'AIza{_made(35)}'", "an API key of Google", 1),
    ("a.py", f"'GOCSPX-{_made(28)}'", "a client secret of Google", 1),
    ("a.py", f"AccountName=a;AccountKey={_made(86)}==;", "a key of Azure's storage", 1),
    ("a.py", f"Endpoint=sb://a;SharedAccessKey={_made(43)}=", "an access key of Azure", 1),
    ("a.py", f"'abc8Q~{_made(34)}'", "a client secret of Azure", 1),
    *(("a.ipynb", f'"gh{kind}_{_made(36)}"', "a token of GitHub", 1) for kind in "pousr"),
    ("a.md", f"github_pat_{_made(82)}", "a token of GitHub", 1),
    ("a.py", f"glpat-{_made(20)}", "a token of GitLab", 1),
    ("a.py", f"login('hf_{_made(34, string.ascii_letters)}')", "a token of Hugging Face", 1),
    ("a.py", f"xoxb-{_made(12, string.digits)}-{_made(24)}", "a token of Slack", 1),
    ("a.py", f"https://hooks.slack.com/services/T{_made(9, 'ABCDEFGHIJK')}/B{_made(10, 'ABCDEFGHIJ')}/{_made(24)}",
     "a webhook of Slack", 1),
    ("a.py", f'wandb.login(key="{_made(40, HEX)}")', "an API key of Weights & Biases", 1),
    ("a.sh", f"#!/bin/sh\nexport WANDB_API_KEY={_made(40, HEX)}", "an API key of Weights & Biases", 2),
    ("a.py", f"sk-proj-{_made(60)}", "an API key of OpenAI", 1),
    ("a.py", f"sk-{_made(48)}", "an API key of OpenAI", 1),
    ("a.py", f"sk-ant-api03-{_made(90)}", "an API key of Anthropic", 1),
    ("a.py", f"pypi-AgE{_made(80)}", "a token of PyPI", 1),
    ("a.py", f"npm_{_made(36)}", "a token of npm", 1),
    ("a.py", f"dckr_pat_{_made(27)}", "a token of Docker", 1),
    ("a.py", f"dapi{_made(32, HEX)}", "a token of Databricks", 1),
    ("a.json", json.dumps({"username": "ada", "key": _made(32, HEX)}), "an API key of Kaggle", 1),
    ("config", f"kind: Config\nusers:\n- name: a\n  user:\n    client-key-data: {_made(90)}\n", "a login of Kub", 5),
    ("config", f"kind: Config\nusers:\n- name: a\n  user:\n    token: {_made(90)}\n", "a login of Kubernetes", 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "what", "line"), CREDENTIALS)
def test_a_credential_is_found_with_its_line(name: str, text: str, what: str, line: int) -> None:
    found = credential_files.credential_in(text.encode(), f"sub/{name}")
    assert found is not None and found.what.startswith(what) and found.line == line


NO_CREDENTIALS = [
    (
        "prod.env",
        "".join(
            f"DB_PASSWORD={word}\n"
            for word in (
                *("(password)", "[token]", "<DB_PASSWORD_1>", "{name}", "@file", "!secret db", "/run/Secrets2/db.txt"),
                *(
                    "/Users/Bob1/Keys/pw",
                    "/keys/AuthKey_9X7Q2ABCDE.p8",
                    "~/Pass1",
                    "~bob/pw",
                    "./x",
                    "postgres",
                    "root",
                ),
                *("${PREFIX}-Token1", "{{ Xk93mQvw }}", "${Xk93mQvw}", "`Xk93mQvw`", "<Password12>", "[PASSWORD]"),
            )
        ),
    ),
    ("a.ini", "user = bob\npassword = postgres\n"),
    ("compose.yml", "amqp://guest:guest@rabbit.corp.io/ https://foo:foo@corp.io"),
    ("a.toml", 'u = "http://x.io:foo@bar"\n'),
    ("uv.toml", 'url = "https://pypi.corp.example/simple"\n'),
    ("requirements.txt", "--index-url https://${USER}:${PASSWORD}@pypi.corp.com/simple\n"),
    ("requirements.txt", "--index-url https://$USER:$PASSWORD@pypi.corp.com/simple\n"),
    ("requirements.txt", "a @ git+ssh://git@github.com/a/b.git\n"),
    ("pip.conf", "index-url = https://USER:PASSWORD@pypi.corp.com/simple\n"),
    ("environment.yml", "channels: [conda-forge]\n# https://discuss.python.org/t/an-old-topic/1234\n"[:24]),
    (
        "README.md",
        "https://user:password@example.com https://<user>:<token>@host.com and https://me:hunter2@example.com",
    ),
    ("README.md", "https://discuss.python.org/t/how-it-works-3/33144/2"),
    ("compose.yml", "postgresql://postgres:postgres@db:5432/app"),
    ("compose.yml", "postgresql://ada:k9-Trees@localhost/app"),
    ("test_url.py", "'http://foo:bar@example.com' f'https://{user}:{password}@{host}' 'https://u:%s@host.org'"),
    ("prod.env", "MAX_TOKENS=4096\nTOKEN=512\nAPI_KEY=\nDB_PASSWORD=changeme\nSECRET=${SECRET}\nKEY_FILE=/run/key\n"),
    (".env.example", "API_KEY=abcd-efgh-ijkl\n"),
    (".env.dist", "API_KEY=abcd-efgh-ijkl\n"),
    (
        "prod.env",
        "PRIMARY_KEY=customer_id\nSORT_KEY=created_at\nIMAGE_KEY=jpeg\nHOT_KEY=ctrl+c\nLABEL_KEY=label\n"
        "DB_PASSWORD=vault:secret/data/db\nAPI_KEY=op://vault/item/field\nSECRET=`pass show x`\nTOKEN=$(cat token)\n"
        "DATABASE_URL=postgres://postgres:postgres@db/app\nLOCAL_URL=postgres://app:k9-Trees@localhost/app\n"
        "DB_PASS=/run/secrets/db\nUNK_TOKEN=unk_id\nAPI_TOKEN={{ token }}\nPASSWORD=<password>\n",
    ),
    ("a.cfg", "username = bob\ntoken = bpe-large\n"),
    ("a.cfg", "username = bob\npassword = env:PASSWORD\n"),
    ("config.env.template", "API_KEY=abcd-efgh-ijkl\n"),
    ("train.py", 'TOKEN = "abcd-efgh"\npassword = getpass()\n'),
    ("train.sh", "#!/bin/sh\nset -e\nTOKENIZER=bert-base-uncased\npython train.py --token-limit 5\n"),
    ("conf.yaml", "user: root\npassword: lovelace\n"),
    ("setup.cfg", "[a]\nusername = ada\npassword = ada\n"),
    ("a.toml", 'username = "me"\npassword = "${PASSWORD}"\n'),
    ("a.py", f'if "{BEGIN}RSA PRIVATE KEY-----" in text: pass\n'),
    ("a.md", f"{BEGIN}RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n"),
    ("a.md", f"{BEGIN}RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA...\n"),
    ("a.pem", f"{BEGIN}PUBLIC KEY-----\n{BASE64}\n-----END PUBLIC KEY-----\n"),
    ("a.pem", f"{BEGIN}CERTIFICATE-----\n{BASE64}\n"),
    ("a.md", "AKIAIOSFODNN7" + "EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("a.md", "ghp_" + "x" * 36 + " hf_" + "a" * 34 + " sk-" + "0" * 48),
    ("a.py", f"commit = '{_made(40, HEX)}'\nwandb.init(project='{_made(12)}')\n"),
    ("uv.lock", f'hash = "sha256:{_made(64, HEX)}"\nurl = "https://files.pythonhosted.org/{_made(60, HEX)}/a.whl"\n'),
    ("a.py", f"x = 'prefix_ghp_{_made(36)}'"),
    ("a.csv", "name@host,1\n" * 9),
    ("a.bin", f"\0{PEM}"),
    ("a.md", "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="),
]


@pytest.mark.parametrize(("name", "text"), NO_CREDENTIALS)
def test_what_has_the_form_of_a_credential_stops_nothing(name: str, text: str) -> None:
    assert credential_files.credential_in(text.encode(), f"sub/{name}") is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_texts_of_windows_are_read(encoding: str) -> None:
    text = "# Größe\nnumpy\n-i https://ci:Xk93mQvw7T@pypi.corp.io/simple\n"
    found = credential_files.credential_in(text.encode(encoding), "requirements.txt")
    assert found == ("a URL with a password", 3)
    assert credential_files.credential_in("numpy\n".encode(encoding), "requirements.txt") is None
    assert credential_files.credential_in(AUTHS.encode(encoding), "a") is not None
    samples = bytes(range(0, 200, 2)) + b"\0"
    assert credential_files.credential_in(samples * 99, "a.bin") is None


def test_a_file_with_a_credential_is_allowed_by_name_and_never_remembered(tmp_path: Path) -> None:
    root, memo = (
        write(tmp_path / "p", {"tests/key.pem": PEM, "data/key.pem": PEM, ".gitignore": "/data\n"}),
        tmp_path / "m",
    )
    tree = read_tree(root, memo=memo, allowed=("tests/key.pem",))
    assert "tests/key.pem" in files(tree)
    assert files(read_tree(root / "data", top="data", allowed=("data/key.pem",))) == ["key.pem"]
    with pytest.raises(OcicalibanError, match=r"^data/key.pem:1: contains a private key"):
        read_tree(root / "data", top="data", allowed=("key.pem",))
    with pytest.raises(OcicalibanError, match=r"^tests/key.pem:1: contains a private key"):
        read_tree(root, memo=memo)


def test_the_build_of_a_package_sees_no_credential(tmp_path: Path) -> None:
    root = write(tmp_path, {"requirements.txt": "-i https://ada:hunter2@corp.com/simple\n", "a.txt": "", "l": "a.txt"})
    assert source_tree.read_entry(root, "a.txt") is not None
    with pytest.raises(OcicalibanError, match=r"^sub/requirements.txt:1: contains a URL with a password"):
        source_tree.read_entry(root, "requirements.txt", top="sub")
    assert source_tree.read_entry(root, "requirements.txt", top="sub", allowed=("sub/requirements.txt",)) is not None


def test_only_the_beginning_of_a_large_file_is_searched(tmp_path: Path) -> None:
    line = "1234567.5,2\n"
    many = line * (credential_files.SCANNED // len(line) + 1)
    root = write(tmp_path / "a", {"a.csv": many + PEM})
    assert files(read_tree(root)) == ["a.csv"]
    write(root, {"a.csv": PEM + many})
    with pytest.raises(OcicalibanError, match="private key"):
        read_tree(root)
