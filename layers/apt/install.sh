# Installs $PACKAGES, names with blanks between.
set -euf # no patterns: in git=1:2.39* the star is apt's
export DEBIAN_FRONTEND=noninteractive
# Root in a rootless container is the user outside, so apt's own sandbox user would protect nothing, and could not read
# the host's certificates and settings, which are seen below /dev/oc alone.
set -- -qq -o APT::Sandbox::User=root
[ ! -r /dev/oc/ca.crt ] || set -- "$@" -o Acquire::https::CaInfo=/dev/oc/ca.crt
[ ! -r /dev/oc/apt.conf ] || export APT_CONFIG=/dev/oc/apt.conf
# Without it apt goes on without the lists, and then knows no package.
apt-get "$@" -o APT::Update::Error-Mode=any update
# shellcheck disable=SC2086  # a list of names on purpose
apt-get "$@" install -y --no-install-recommends -- $PACKAGES >&2
# Whatever differs from build to build, or is only a cache, stays out of the layer.
set +f
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/log/fontconfig.log \
    /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
# The commit clamps modification times: byte code that checks them would always be stale, and differ from build to build.
if command -v python3 >/dev/null; then
    find /usr/lib/python3 /usr/share -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
    [ ! -d /usr/lib/python3/dist-packages ] ||
        python3 -m compileall -qf --invalidation-mode unchecked-hash /usr/lib/python3/dist-packages || true
fi
