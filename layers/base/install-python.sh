set -eu
# Installs the Python in $ARCHIVE, and makes it the first one on PATH. uv compares the archive with $SHA256.
name=cpython-$VERSION-linux-$MACHINE-gnu
url=file:///dev/oc-python/${ARCHIVE##*/}
# Outside of ocicaliban (plan --containerfile) nothing has fetched it yet.
[ -e "/dev/oc-python/${ARCHIVE##*/}" ] || url=https://github.com/astral-sh/python-build-standalone/releases/download/$ARCHIVE
work=$(mktemp -d)
IFS=. read -r major minor patch <<END
$VERSION
END
cat >"$work/python.json" <<END
{"$name": {"name": "cpython", "arch": {"family": "$MACHINE", "variant": null}, "os": "linux", "libc": "gnu",
  "major": $major, "minor": $minor, "patch": $patch, "prerelease": "", "variant": null, "build": null,
  "url": "$url", "sha256": "$SHA256"}}
END
# Its files name the folder that they are installed in, so it stays there.
UV_PYTHON_DOWNLOADS_JSON_URL=file://$work/python.json UV_PYTHON_DOWNLOADS=manual UV_CACHE_DIR=$work/cache \
    /dev/oc/uv python install --quiet --no-config --no-bin --install-dir /opt "$VERSION"
rm -rf "$work" /tmp/uv-*.lock /opt/.lock /opt/.temp /opt/.gitignore "/opt/cpython-$major.$minor-linux-$MACHINE-gnu"
ln -s "$name" /opt/python
# Nothing but this image owns it, so `pip install` in a container may change it.
rm -f /opt/python/lib/python*/EXTERNALLY-MANAGED
cd /opt/python/bin
[ -e python3 ] || ln -s "python$major.$minor" python3
[ -e python ] || ln -s python3 python
find /opt/python/ -name __pycache__ -prune -exec rm -rf {} +
# Its own tests hold files that are no Python, so a failure of some means nothing.
./python3 -m compileall -qf --invalidation-mode unchecked-hash /opt/python/lib >/dev/null || true
[ "$(./python3 -c 'import platform; print(platform.python_version())')" = "$VERSION" ] || {
    echo "$ARCHIVE holds another Python than $VERSION" >&2
    exit 1
}
