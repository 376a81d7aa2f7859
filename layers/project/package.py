"""Build the package in the current folder, and complete its installation.

`package.py build FOLDER` writes its wheel into FOLDER, editable if possible. `package.py finish FOLDER` completes what
uv installed from that wheel. It runs in the container, under any Python since 3.7.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import csv
import hashlib
import importlib
import json
import os
import py_compile
import re
import shutil
import sys
import sysconfig
import traceback
import zipfile

SETTINGS = ("/dev/oc/package.json", "/dev/oc-package/package.json")
LEFT_OUT = {"build", "dist", "__pycache__", ".eggs", ".git"}
FINDER = '''"""Find the modules that the build of a package made, which are not in its source."""

import os
import sys
from importlib.util import spec_from_file_location

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), {folder!r})
MODULES = {modules!r}


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        file = MODULES.get(name)
        return spec_from_file_location(name, os.path.normpath(os.path.join(FOLDER, file))) if file else None


sys.meta_path.insert(0, Finder)
'''


def read_settings():
    """Return how the package is built. For one from git, its own folder says so."""
    for path in SETTINGS:
        with open(path) as file:
            text = file.read()
        if text:
            return json.loads(text)
    raise AssertionError


def load_backend(settings):
    """Return the build backend, an object with the hooks of PEP 517 and 660."""
    sys.path[0:1] = [os.path.abspath(path) for path in settings["backend_path"]]
    if not settings["isolated"]:
        version = "python{}.{}".format(*sys.version_info[:2])
        sys.path.append(os.path.join(os.environ["ENVIRONMENT"], "lib", version, "site-packages"))
    module, _, attributes = settings["backend"].partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, attributes.split(".")):
        backend = getattr(backend, name)
    return backend


def normalized(name):
    """Return the name of a distribution in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_requirements(asked):
    """End with a message if the backend asks for more than its locked requirements."""
    try:
        from importlib.metadata import distributions
    except ImportError:  # Python 3.7
        return
    have = {normalized(each.metadata["Name"]) for each in distributions() if each.metadata["Name"]}
    missing = [each for each in asked if normalized(re.match(r"[\w.-]*", each.strip())[0]) not in have]
    if missing:
        sys.exit(
            "the build asks for more than [build-system] requires says: {}\n"
            "add it to requires in pyproject.toml".format(", ".join(missing))
        )


def modules_below(folder):
    """Return the digest of each module in a folder that a build may leave or change, by its path."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.endswith((".egg-info", ".egg"))]
        for name in names:
            if name.endswith((".so", ".py")):
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).digest()
    return found


def build(target):
    """Build the wheel, and collect the modules that the build left in the folder."""
    settings = read_settings()
    links = bool(settings.get("relink"))
    before = modules_below(".")
    if settings["version_file"] and os.environ["VERSION"]:
        write_version_file(settings["version_file"], os.environ["VERSION"])
    if links:
        mark_sources()
    with said_apart(os.path.join(target, "said")) as said:
        try:
            wheel = call_backend(settings, target)
        except BaseException as exc:  # noqa: BLE001 - a backend raises what it likes, and may exit
            sys.exit(explained(exc, said() if settings["backend"].partition(".")[0] != "setuptools" else ""))
    linked = relink(os.path.join(target, wheel)) if links else {}
    modules = {}
    after = modules_below(".") if settings["editable"] and not links else {}
    for path in sorted(path for path, digest in after.items() if before.get(path) != digest):
        name = module_name(path, roots_in(os.path.join(target, wheel)))
        if name:
            modules[name] = path
            place = os.path.join(target, "made", path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copyfile(path, place)
    with open(os.path.join(target, "made.json"), "w") as file:
        json.dump({"wheel": wheel, "modules": modules, "linked": linked}, file, sort_keys=True)


@contextlib.contextmanager
def said_apart(path):
    """Write what this process and its children print on stdout into a file; the context's value reads its end."""
    own = os.dup(1)
    with open(path, "w+b") as file:
        os.dup2(file.fileno(), 1)

        def said():
            sys.stdout.flush()
            with open(path, errors="replace") as lines:
                return "".join(lines.readlines()[-40:])

        try:
            yield said
        finally:
            sys.stdout.flush()
            os.dup2(own, 1)
            os.close(own)


def call_backend(settings, target):
    """Return the name of the wheel that the backend builds."""
    # Without cargo, maturin asks for a package that downloads one.
    os.environ["MATURIN_NO_INSTALL_RUST"] = "1"
    backend = load_backend(settings)
    editable = settings["editable"] and not settings.get("relink")
    kind = "editable" if editable and hasattr(backend, "build_editable") else "wheel"
    asked = getattr(backend, "get_requires_for_build_" + kind, lambda _: [])({})
    check_requirements(asked)
    if kind == "wheel" and editable:
        return metadata_only(backend, target)
    return getattr(backend, "build_" + kind)(target, {}, None)


# --- a backend whose editable installation would build again at each import: its wheel, with links to the source ---

MARK = "# source: "


def mark_sources():
    """Write into each module of which the build sees the name alone where it is."""
    for place, _, names in os.walk("."):
        for name in names:
            path = os.path.join(place, name)
            if name.endswith(".py") and not os.path.islink(path) and not os.path.getsize(path):
                with open(path, "w") as file:
                    file.write(MARK + os.path.abspath(path) + "\n")


def relink(wheel):
    """Take the modules that the source has out of a wheel; return where each module of their packages is, by its name.

    A path is absolute, or relative to a folder in the environment's folder of packages.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    names = {info.filename for info, _ in files}
    sources, found, kept = {}, {}, []
    for info, content in files:
        inner = re.sub(r"^[^/]+\.data/(?:purelib|platlib)/", "", info.filename)
        module = ".".join(inner.partition(".")[0].split("/"))
        if module.endswith(".__init__"):
            module = module[: -len(".__init__")]
        if info.filename.endswith(".py") and content.startswith(MARK.encode()):
            sources[module] = content.decode()[len(MARK) :].strip()
            above = os.path.dirname(info.filename)
            while above and os.path.dirname(above) + "/__init__.py" not in names:
                above = os.path.dirname(above)
                if above and above + "/__init__.py" not in names and above + "/.keep" not in names:
                    names.add(above + "/.keep")  # a package without __init__.py is a folder
                    kept.append((above + "/.keep", b""))
            continue
        kept.append((info, content))
        if inner.endswith((".so", ".py")):
            found[module] = "../" + inner
    tops = {module.partition(".")[0] for module in sources}
    found = {module: path for module, path in found.items() if module.partition(".")[0] in tops}
    record = next(name for name in names if name.endswith(".dist-info/RECORD"))
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        lines = []
        for info, content in kept:
            name = getattr(info, "filename", info)
            if name != record:
                archive.writestr(info, content)
                lines.append(name + ",,\n")
        archive.writestr(record, "".join(lines) + record + ",,\n")
    return dict(found, **sources)


def write_version_file(path, version):
    """Write the version into versioneer's file, in the form that the file has in a source distribution."""
    known = {"date": None, "dirty": False, "error": None, "full-revisionid": None, "version": version}
    with open(path, "w") as file:
        file.write("import json\n\nversion_json = '''\n" + json.dumps(known) + "\n'''  # END VERSION_JSON\n")
        file.write("\n\ndef get_versions():\n    return json.loads(version_json)\n")


def explained(exc, said=""):
    """Return what is wrong with a build, in a line or two, after what it `said` on stdout."""
    if isinstance(exc, SystemExit):
        return said + (exc.code if isinstance(exc.code, str) else f"the build ended with exit code {exc.code}")
    if said:
        return said + explained(exc)
    name = getattr(exc, "name", None)
    if isinstance(exc, ModuleNotFoundError) and name:
        return (
            "the build imports {0}, which its requirements do not have; "
            'in pyproject.toml: [build-system] requires = ["setuptools", "{0}"]'.format(name.partition(".")[0])
        )
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename.startswith(os.getcwd())]
    place = f"{os.path.relpath(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(exc).__name__}: {exc}"


def metadata_only(backend, target):
    """Return a wheel with the metadata, for a backend that knows no editable ones (setuptools before 64)."""
    place = os.path.join(target, "metadata")
    os.makedirs(place)
    info = backend.prepare_metadata_for_build_wheel(place, {})
    eggs = [where for where, folders, _ in os.walk(".") if any(name.endswith(".egg-info") for name in folders)]
    root = os.path.abspath(eggs[0]) if eggs else os.getcwd()
    if settings_compile():
        sys.argv = ["setup.py", "-q", "build_ext", "--inplace"]
        with open("setup.py") as script:
            exec(compile(script.read(), "setup.py", "exec"), {"__name__": "__main__", "__file__": "setup.py"})
    stem = info[: -len(".dist-info")]
    wheel = f"{stem}-py3-none-any.whl"
    files = {f"__editable__.{stem}.pth": root + "\n"}
    for name in sorted(os.listdir(os.path.join(place, info))):
        with open(os.path.join(place, info, name), encoding="utf-8") as file:
            files[f"{info}/{name}"] = file.read()
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: ocicaliban\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},,\n" for name in files)
    with zipfile.ZipFile(os.path.join(target, wheel), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    shutil.rmtree(place)
    return wheel


def settings_compile():
    """Whether a setup.py may have extensions to compile."""
    if not os.path.exists("setup.py"):
        return False
    with open("setup.py", encoding="utf-8") as file:
        return re.search(r"ext_modules|build_ext", file.read()) is not None


def roots_in(wheel):
    """Return where the packages of an editable wheel are: (dotted name, folder) pairs; "" is a folder of packages."""
    roots = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".pth"):
                lines = archive.read(name).decode().splitlines()
                roots += [("", line) for line in lines if os.path.isabs(line)]
            elif name.startswith("__editable__") and name.endswith(".py"):
                mapping = re.search(r"^MAPPING[^=]*= (\{.*\})$", archive.read(name).decode(), re.M)
                roots += list(ast.literal_eval(mapping.group(1)).items()) if mapping else []
    return roots


def module_name(path, roots):
    """Return the dotted name of a module in the current folder, "" if it is in none of the packages."""
    stem = os.path.abspath(path)
    stem = os.path.join(os.path.dirname(stem), os.path.basename(stem).partition(".")[0])
    for package, folder in sorted(roots, key=lambda root: -len(root[1])):
        if stem == folder or stem.startswith(folder + os.sep):
            inner = [part for part in os.path.relpath(stem, folder).split(os.sep) if part != "."]
            return ".".join(([package] if package else []) + inner)
    return ""


def finish(target):
    """Complete the installation: modules that the build made, where the package comes from, byte code, RECORD."""
    with open(os.path.join(target, "made.json")) as file:
        made = json.load(file)
    settings = read_settings()
    packages = sysconfig.get_path("purelib")
    stem = "-".join(made["wheel"].split("-")[:2])
    info = os.path.join(packages, stem + ".dist-info")
    with open(os.path.join(info, "RECORD"), newline="", encoding="utf-8") as file:
        recorded = [row[0] for row in csv.reader(file) if row]
    if made["modules"] or made["linked"]:
        recorded += add_made(packages, re.sub(r"\W", "_", stem), made, target)
    # uv notes when the wheel was made, which differs from build to build.
    for name in ("uv_cache.json", "uv_build.json"):
        if os.path.exists(os.path.join(info, name)):
            os.unlink(os.path.join(info, name))
    with open(os.path.join(info, "direct_url.json"), "w") as file:
        json.dump(settings["origin"], file, sort_keys=True)
    names = {name for name in recorded if os.path.exists(os.path.join(packages, name))}
    names.add(stem + ".dist-info/direct_url.json")
    for name in sorted(names):
        if name.endswith(".py") and not name.startswith(".."):
            compiled(os.path.join(packages, name))
    write_record(packages, info, names)


def add_made(packages, stem, made, target):
    """Add the modules that the build made, with a finder for them and for linked ones; return the new files."""
    folder = "_made_" + stem
    modules = made["modules"]
    for path in modules.values():
        place = os.path.join(packages, folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copyfile(os.path.join(target, "made", path), place)
    finder = "_finder_" + stem
    with open(os.path.join(packages, finder + ".py"), "w") as file:
        file.write(FINDER.format(folder=folder, modules=dict(modules, **made["linked"])))
    with open(os.path.join(packages, finder + ".pth"), "w") as file:
        file.write("import " + finder + "\n")
    return [finder + ".py", finder + ".pth"] + [folder + "/" + path for path in modules.values()]


def compiled(path):
    """Compile a module to byte code that does not depend on its time."""
    with contextlib.suppress(py_compile.PyCompileError):
        py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def write_record(packages, info, names):
    """Write the RECORD of an installation, sorted."""
    record = os.path.join(info, "RECORD")
    rows = []
    for name in sorted(names):
        path = os.path.join(packages, name)
        if path == record:
            continue
        with open(path, "rb") as file:
            content = file.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append([name, "sha256=" + digest, len(content)])
    rows.append([os.path.relpath(record, packages), "", ""])
    with open(record, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    {"build": build, "finish": finish}[sys.argv[1]](sys.argv[2])
