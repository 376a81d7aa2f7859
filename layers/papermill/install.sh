set -eu
# A project without dependencies has no environment yet.
[ -e "$ENVIRONMENT/bin/python" ] || python3 -m venv --without-pip "$ENVIRONMENT"
[ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1
if [ -s /dev/oc/requirements.txt ]; then
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
        /dev/oc/uv pip install --quiet --python "$ENVIRONMENT/bin/python" --require-hashes --no-deps \
        --compile-bytecode -r /dev/oc/requirements.txt
fi
mkdir -p /opt/ocicaliban
cp /dev/oc/notebook.py /opt/ocicaliban/notebook.py
chmod 644 /opt/ocicaliban/notebook.py
rm -f /tmp/uv-*.lock
