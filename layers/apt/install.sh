set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086  # a list of names on purpose
apt-get -qq install -y --no-install-recommends $PACKAGES >&2
# Whatever differs from build to build, or is only a cache, stays out of the layer.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
# The commit clamps modification times, so byte code that checks them would always be stale.
if command -v python3 >/dev/null && [ -d /usr/lib/python3/dist-packages ]; then
    python3 -m compileall -qf --invalidation-mode unchecked-hash /usr/lib/python3/dist-packages || true
fi
