set -eu
# Without pip in it the environment is small, and nothing of the host's uv is written into it.
[ -e "$ENVIRONMENT/bin/python" ] || python3 -m venv --without-pip "$ENVIRONMENT"
# Outside of ocicaliban (plan --containerfile) there is no cache to share, and none may stay in the layer.
[ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1
PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    /dev/oc/uv pip install --quiet --python "$ENVIRONMENT/bin/python" --require-hashes --no-deps \
    --compile-bytecode -r /dev/oc/requirements.txt
rm -f /tmp/uv-*.lock
