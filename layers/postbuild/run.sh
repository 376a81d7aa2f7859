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
if head -n 1 "$POSTBUILD" | grep -q "$(printf '\r')"; then
    echo "postBuild has Windows line endings, so it cannot be started" >&2
    exit 1
fi
chmod +x "$POSTBUILD"
case $(head -c 2 "$POSTBUILD") in
    '#!') "./$POSTBUILD" >&2 || failed=$? ;;
    *) sh "./$POSTBUILD" >&2 || failed=$? ;;
esac
if [ "${failed:-0}" != 0 ]; then
    echo "postBuild ended with exit code $failed" >&2
    exit 1
fi
rm -rf "$shims" /tmp/uv-*.lock
