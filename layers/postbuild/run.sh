# Runs the script $POSTBUILD of the project, a path in /usr/app, there.
set -eu
cd /usr/app
# The environment has no pip, and such scripts call it.
shims=/tmp/ocicaliban-postbuild
if [ -e "$ENVIRONMENT/bin/python" ] && [ ! -e "$ENVIRONMENT/bin/pip" ]; then
    [ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1
    mkdir "$shims"
    cat >"$shims/pip" <<END
#!/bin/sh
verb=\${1:?pip needs a command}
shift
exec /dev/oc/uv pip "\$verb" --python "$ENVIRONMENT/bin/python" "\$@"
END
    chmod +x "$shims/pip"
    cp "$shims/pip" "$shims/pip3"
    export PATH="$shims:$PATH"
fi
chmod +x "$POSTBUILD"
case $(head -c 2 "$POSTBUILD") in
    '#!') "./$POSTBUILD" >&2 ;;
    *) sh "./$POSTBUILD" >&2 ;;
esac
rm -rf "$shims" /tmp/uv-*.lock
