# What a shell or a notebook on a node does: run the container until it ends, or until Slurm ends us.
tell() { # the port, once something answers there
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.2; done
    echo "${SLURMD_NODENAME:-$(hostname)} $1" >"$SESSION/half" && mv -f "$SESSION/half" "$SESSION/there"
}
[ "$runtime" != charliecloud ] ||
    fail "charliecloud mounts no folder that its image does not have: --runtime podman, or apptainer"
container='' teller=''
trap '[ -z "$teller" ] || kill "$teller" 2>/dev/null; tidy' EXIT
trap 'exit 143' TERM HUP USR1
words=(${COMMAND[@]+"${COMMAND[@]}"})
if [ -n "$PORT" ]; then
    while (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; do PORT=$((PORT + 1)); done
    words+=("--ServerApp.port=$PORT")
    tell "$PORT" &
    teller=$!
fi
if [ "$runtime" = podman ]; then
    HOW=(--rm -i)
    [ ! -t 0 ] || HOW+=(-t --detach-keys=)
    podman_setup
    podman_run "${words[@]}"
else
    other_argv "${words[@]}"
    "${ARGV[@]}"
fi
exit $?
