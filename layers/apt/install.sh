# Installs $PACKAGES, names with blanks between. With a lock, apt sees the packages in it alone, in /dev/oc-debs.
set -euf # no patterns: in git=1:2.39* the star is apt's
export DEBIAN_FRONTEND=noninteractive
# The time of everything in an image: what packages make at their installation must not depend on the day.
export SOURCE_DATE_EPOCH=315619200
# Root in a rootless container is the user outside, so apt's own sandbox user would protect nothing, and could not read
# the host's certificates and settings, which are seen below /dev/oc alone.
set -- -qq -o APT::Sandbox::User=root
[ ! -r /dev/oc/ca.crt ] || set -- "$@" -o Acquire::https::CaInfo=/dev/oc/ca.crt
[ ! -r /dev/oc/apt.conf ] || export APT_CONFIG=/dev/oc/apt.conf
names=$PACKAGES
if [ -e /dev/oc/packages.lock ]; then
    cd /dev/oc-debs
    mkdir -p lists/partial cache/archives/partial parts
    set +f
    for deb in *.deb ${IN_IMAGE-}; do
        [ -e "$deb" ] || continue
        [ "${deb#/}" = "$deb" ] || cp "$deb" . # the base image has it
        deb=${deb##*/}
        dpkg-deb -f "$deb"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum <"$deb" | cut -d ' ' -f 1)"
    done >Packages
    set -f
    echo 'deb [trusted=yes] file:/dev/oc-debs ./' >sources.list
    printf 'Package: *\nPin: origin ""\nPin-Priority: 1001\n' >preferences # also where the base has a newer version
    set -- "$@" -o Dir::Etc::SourceList=/dev/oc-debs/sources.list -o Dir::Etc::SourceParts=/dev/oc-debs/parts \
        -o Dir::Etc::Preferences=/dev/oc-debs/preferences -o Dir::Etc::PreferencesParts=/dev/oc-debs/parts \
        -o Dir::State::Lists=/dev/oc-debs/lists -o Dir::Cache=/dev/oc-debs/cache --allow-downgrades
    names=$(printf '%s\n' $PACKAGES | sed 's,/.*,,') # git/bookworm-backports: the lock knows what that was
fi
set +f
there=
for path in /etc/ssh/ssh_host_*_key /etc/ssl/private/ssl-cert-snakeoil.key /etc/machine-id /var/lib/dbus/machine-id; do
    [ ! -s "$path" ] || there="$there $path"
done
logs=$(find /var/log -type f 2>/dev/null | sort)
set -f
# Without it apt goes on without the lists, and then knows no package.
apt-get "$@" -o APT::Update::Error-Mode=any update
# shellcheck disable=SC2086  # a list of names on purpose
apt-get "$@" install -y --no-install-recommends -- $names >&2
if [ -e /dev/oc/packages.lock ]; then
    dpkg-query -W -f '${db:Status-Abbrev} ${Package}=${Version} ${Architecture}\n' >installed
    while read -r package architecture _; do
        [ -z "$package" ] || grep -qxF "ii  $package $architecture" installed || {
            echo "apt has not installed $package, which ocicaliban.lock has; ocicaliban lock --upgrade apt" >&2
            exit 1
        }
    done </dev/oc/packages.lock
    cd /
fi
# Whatever differs from build to build, or is only a cache, stays out of the layer.
set +f
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/log/fontconfig.log \
    /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
find /var/cache/man -type f -delete 2>/dev/null || true
find /var/log -type f 2>/dev/null | sort | while read -r log; do
    case "
$logs
" in *"
$log
"*) ;; *) rm -f "$log" ;; esac
done
# Keys that packages make for one machine would be the same for all who have the image, and others for each build.
for key in /etc/ssh/ssh_host_*_key /etc/ssl/private/ssl-cert-snakeoil.key; do
    case " $there " in *" $key "*) ;; *) rm -f "$key" "$key.pub" ;; esac
done
if [ ! -e /etc/ssl/private/ssl-cert-snakeoil.key ] && [ -e /etc/ssl/certs/ssl-cert-snakeoil.pem ]; then
    find /etc/ssl/certs -lname ssl-cert-snakeoil.pem -delete
    rm -f /etc/ssl/certs/ssl-cert-snakeoil.pem
fi
# Programs want an id of the machine. All containers of an image have the same one.
for id in /etc/machine-id /var/lib/dbus/machine-id; do
    if [ -s "$id" ] && [ ! -L "$id" ]; then
        case " $there " in *" $id "*) ;; *) printf '%s\n' "$PACKAGES" | md5sum | cut -c 1-32 >"$id" ;; esac
    fi
done
# The commit clamps modification times: byte code that checks them would always be stale, and differ from build to build.
if command -v python3 >/dev/null; then
    find /usr/lib/python3 /usr/share -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
    [ ! -d /usr/lib/python3/dist-packages ] ||
        python3 -m compileall -qf --invalidation-mode unchecked-hash /usr/lib/python3/dist-packages || true
fi
