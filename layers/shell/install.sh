# Installs the shell $SHELL_PACKAGE, where the image does not have it.
set -eu
command -v "$SHELL_PACKAGE" >/dev/null && exit
command -v apt-get >/dev/null || { echo "the base has neither $SHELL_PACKAGE nor apt-get; --shell bash?" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
# As in the recipe apt: what is installed must not depend on the day.
export SOURCE_DATE_EPOCH=315619200
# As in the recipe apt: its sandbox user could not read the host's certificates and settings.
set -- -qq -o APT::Sandbox::User=root
[ ! -r /dev/oc/ca.crt ] || set -- "$@" -o Acquire::https::CaInfo=/dev/oc/ca.crt
[ ! -r /dev/oc/apt.conf ] || export APT_CONFIG=/dev/oc/apt.conf
apt-get "$@" update
apt-get "$@" install -y --no-install-recommends -- "$SHELL_PACKAGE" >&2
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/man/*
