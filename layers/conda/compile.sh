# Compiles the modules of the packages named in /dev/oc/packages, where they have no byte code yet.
set -eu
python=/opt/conda/bin/python
# A list of packages without their dependencies does not tell which layer has what Python needs.
"$python" -IBc "" 2>/dev/null || { echo "conda's Python does not start yet; its modules get no byte code" >&2; exit 0; }
"$python" -IB - /dev/oc/packages <<'END'
import importlib.util, json, os, py_compile, sys

unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in open(sys.argv[1]).read().split():
    with open(f"/opt/conda/conda-meta/{name}.json") as record:
        files = json.load(record)["files"]
    for file in files:
        path = f"/opt/conda/{file}"
        if not file.endswith(".py") or not os.path.isfile(path):
            continue
        try:
            if not os.path.exists(importlib.util.cache_from_source(path)):
                py_compile.compile(path, doraise=True, invalidation_mode=unchecked)
        except py_compile.PyCompileError:
            pass  # templates, and code for another Python
END
