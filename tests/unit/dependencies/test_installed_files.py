"""Which files of an environment belong to which package."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from pathlib import Path

from ocicaliban.dependencies import installed_files
from tests.folders import write

SITE = "lib/python3.11/site-packages"


def row(path: str, content: str) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(content)}\n"


def test_files_belong_to_the_package_that_records_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyvenv.cfg": "home",
            "bin/tool": "#!/opt/venv/bin/python",
            "share/doc, of nets": "text",
            f"{SITE}/nets/__init__.py": "",
            f"{SITE}/nets/a.b.py": "",
            f"{SITE}/nets/__pycache__/__init__.cpython-311.pyc": "code",
            f"{SITE}/nets/__pycache__/a.b.cpython-311.pyc": "code",
            f"{SITE}/nets/_vendor/six-1.0.dist-info/RECORD": "six.py,,\n",
            f"{SITE}/nets/lost.cpython-311.pyc": "data",
            f"{SITE}/six.py": "",
            f"{SITE}/__pycache__/six.cpython-311.pyc": "code",
            f"{SITE}/My_Nets-1.0.dist-info/RECORD": "nets/__init__.py,,\n../../../bin/tool,sha256=x,1\nnets/a.b.py,,\n"
            '"../../../share/doc, of nets",,\nMy_Nets-1.0.dist-info/RECORD,,\ngone.py,,\n'
            "nets/_vendor/six-1.0.dist-info/RECORD,,\nnets/lost.cpython-311.pyc,,\n",
            f"{SITE}/six-1.16.0.dist-info/RECORD": "six.py,,\nsix-1.16.0.dist-info/RECORD,,\n\n",
        },
    )
    found = installed_files.of_packages(tmp_path, [SITE])
    assert found.packages == {
        "my-nets": (
            "bin/tool",
            f"{SITE}/My_Nets-1.0.dist-info/RECORD",
            f"{SITE}/nets/__init__.py",
            f"{SITE}/nets/__pycache__/__init__.cpython-311.pyc",
            f"{SITE}/nets/__pycache__/a.b.cpython-311.pyc",
            f"{SITE}/nets/_vendor/six-1.0.dist-info/RECORD",
            f"{SITE}/nets/a.b.py",
            f"{SITE}/nets/lost.cpython-311.pyc",
            "share/doc, of nets",
        ),
        "six": (
            f"{SITE}/__pycache__/six.cpython-311.pyc",
            f"{SITE}/six-1.16.0.dist-info/RECORD",
            f"{SITE}/six.py",
        ),
    }
    assert found.rest == ("pyvenv.cfg",) and found.replaced == frozenset()


def test_a_file_of_two_packages_is_that_of_those_whose_digest_it_has(tmp_path: Path) -> None:
    same = row("shared/__init__.py", "")
    write(
        tmp_path,
        {
            f"{SITE}/shared/__init__.py": "",
            f"{SITE}/shared/both.py": "of b",
            f"{SITE}/a-1.dist-info/RECORD": same + row("shared/both.py", "of a"),
            f"{SITE}/b-1.dist-info/RECORD": same + row("shared/both.py", "of b"),
            f"{SITE}/c-1.dist-info/RECORD": same,
            f"{SITE}/d-1.dist-info/RECORD": "shared/__init__.py,,\n",
        },
    )
    found = installed_files.of_packages(tmp_path, [SITE])
    assert found.replaced == {"a", "d"}
    assert found.packages["b"] == (f"{SITE}/shared/__init__.py", f"{SITE}/shared/both.py")
    assert found.packages["c"] == (f"{SITE}/shared/__init__.py",)
