# Writes what apt would fetch for $PACKAGES, what its lists say of these packages, and the dates of the lists.
set -euf # no patterns: in git=1:2.39* the star is apt's
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
command -v apt-get >/dev/null || { echo "the base image has no apt-get" >&2; exit 1; }
# As in the recipe: apt's sandbox user could not read the host's certificates and settings.
set -- -qq -o APT::Sandbox::User=root
[ ! -r /dev/oc/ca.crt ] || set -- "$@" -o Acquire::https::CaInfo=/dev/oc/ca.crt
[ ! -r /dev/oc/apt.conf ] || export APT_CONFIG=/dev/oc/apt.conf
apt-get "$@" -o APT::Update::Error-Mode=any update
cd /dev/oc-out
# shellcheck disable=SC2086  # a list of names on purpose
apt-get "$@" install --print-uris -y --no-install-recommends -- $PACKAGES >uris
sed -n "s/^'.*' \([^ ]*\)_\([^ ]*\)_\([^ ]*\)\.deb .*/\1:\3=\2/p" uris | sed 's/%3a/:/g; s/:all=/=/' >names
: >records
[ ! -s names ] || xargs apt-cache "$@" show <names >records
set +f
cat /var/lib/apt/lists/*Release 2>/dev/null | grep '^Date:' >releases || true
