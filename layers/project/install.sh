# Builds the package in $PACKAGE with its locked build requirements, and installs it. The folder is a copy that goes away.
set -eu
[ -e "$ENVIRONMENT/bin/python" ] || python3 -m venv --without-pip "$ENVIRONMENT"
[ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PYTHONWARNINGS=ignore
if [ -n "$VERSION" ]; then
    # There is no git in the container. These variables of the tools that ask git are for such cases.
    export SETUPTOOLS_SCM_PRETEND_VERSION="$VERSION" PDM_BUILD_SCM_VERSION="$VERSION" PBR_VERSION="$VERSION"
    export POETRY_DYNAMIC_VERSIONING_BYPASS="$VERSION" UV_DYNAMIC_VERSIONING_BYPASS="$VERSION"
fi
place=/tmp/oc-build
mkdir -p $place/wheel
"$ENVIRONMENT/bin/python" -m venv --without-pip $place/venv
if grep -q '^[^#]' /dev/oc/build.txt; then
    /dev/oc/uv pip install --quiet --python $place/venv/bin/python --require-hashes --no-deps -r /dev/oc/build.txt
fi
cd "$PACKAGE"
PATH=$place/venv/bin:$PATH $place/venv/bin/python /dev/oc/package.py build $place/wheel
cd /
# The cache knows a wheel by its path, which is the same for every project.
UV_CACHE_DIR=$place/cache /dev/oc/uv pip install --quiet --python "$ENVIRONMENT/bin/python" --break-system-packages \
    --offline --no-index --no-deps --reinstall $place/wheel/*.whl
"$ENVIRONMENT/bin/python" /dev/oc/package.py finish $place/wheel
rm -rf $place /tmp/uv-*.lock
