set -eu
# Gives the image the command $MISSING, `python` or `python3`; it has the other one.
other=python3
[ "$MISSING" = python ] || other=python
place=$(dirname "$(command -v "$other")")
if [ ! -e "$place/$MISSING" ]; then
    ln -s "$other" "$place/$MISSING"
else
    # `python` may be a Python 2, which other programs of the image need.
    mkdir -p /usr/local/bin
    printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v "$other")" >"/usr/local/bin/$MISSING"
    chmod 755 "/usr/local/bin/$MISSING"
fi
