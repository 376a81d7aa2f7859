container='' pid=''
stop() { # the container gets TERM, whatever the script got
    signal=$1
    case $runtime in
        podman) podman kill -s TERM "$container" >/dev/null 2>&1 ;;
        *) [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null ;;
    esac
}

podman_wait() { # `podman wait` dies of a scancel's TERM: ask again
    local try
    for try in 1 2 3 4 5 6 7 8; do
        (trap '' TERM INT USR1; exec podman wait -i 100ms "$container") >"$MINE/code" 2>/dev/null &
        pid=$!
        while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done
        code=$(cat "$MINE/code")
        case $code in '' | *[!0-9]*) code='' ;; *) return ;; esac
    done
}
other_wait() { # a trap ends `wait` early: ask again; bash keeps the code of what has ended, however early
    while wait "$pid"; kill -0 "$pid" 2>/dev/null; do :; done
    wait "$pid"
    code=$?
}

limited() { # write the log of a runtime that does not limit it: its beginning, and its end when the job has ended
    local cut='' whole=()
    trap '' TERM INT USR1 HUP
    command -v stdbuf >/dev/null && whole=(stdbuf -o0)
    whole+=(head -c "$LOG_SIZE")
    "${whole[@]}" >>"$LOG"
    while head -c 1 >"$LOG.next" && [ -s "$LOG.next" ]; do
        if [ ! -e "$LOG.rest" ]; then
            own_line 'has half of its limit (log_size_max): the end of what follows comes when the job has ended'
        else
            cut=yes
        fi
        "${whole[@]}" >>"$LOG.next"
        mv -f "$LOG.next" "$LOG.rest"
    done
    rm -f "$LOG.next"
    if [ -e "$LOG.rest" ]; then
        [ -z "$cut" ] || own_line 'has reached its limit (log_size_max): what came here is left out'
        cat "$LOG.rest" >>"$LOG" && rm "$LOG.rest"
        [ -z "$cut" ] || own_line 'reached its limit (log_size_max): its middle is left out, and its end is above'
    fi
    rm -f "$MINE/log"
}
own_line() { # WORDS about the log, in a line of their own
    [ -z "$(tail -c 1 "$LOG" | tr -d '\n')" ] || echo >>"$LOG"
    echo "[ocicaliban: this log $1]" >>"$LOG"
}

# --- the run ---

[ ${#ARGS[@]} -gt 0 ] || ARGS=(${DEFAULTS[@]+"${DEFAULTS[@]}"})
words=(${COMMAND[@]+"${COMMAND[@]}"} ${ARGS[@]+"${ARGS[@]}"})
HOW=(-d --log-driver k8s-file --log-opt "path=$LOG.conmon" --log-opt "max-size=$LOG_SIZE")
if [ "$runtime" = podman ]; then
    # When the log is full, conmon begins a new file in its place: the first one stays under a second name.
    : >>"$LOG.conmon"
    ln "$LOG.conmon" "$LOG.first" 2>/dev/null
    podman_setup
fi
find_port
trap 'stop TERM' TERM
trap 'stop INT' INT
trap 'stop USR1' USR1
if [ "$runtime" = podman ]; then
    podman_start "${words[@]}"
    code=$?
    if [ "$code" != 0 ]; then
        # The job's command cannot be started, or podman cannot.
        case $code in 126 | 127) ;; *) code='' ;; esac
        fault=$(tr -d '\0' <"$MINE/fault")
        # What is wrong is at the beginning, why at the end.
        [ ${#fault} -le 430 ] || fault="${fault:0:200} ... ${fault: -220}"
        tr -d '\0' <"$MINE/fault" | tee -a "$LOG" >&2
        tidy
        fail "podman cannot start the job: $(plain "$fault")"
    fi
    # A signal that came before there was a container.
    [ -z "$signal" ] || podman kill -s TERM "$container" >/dev/null 2>&1
    code=''
    podman_wait
else
    other_argv "${words[@]}"
    : >"$MINE/log"
    "${ARGV[@]}" > >(limited) 2>&1 &
    pid=$!
    other_wait
    for try in {1..100}; do # processes that the job has left behind may hold its log open
        [ -e "$MINE/log" ] || break
        sleep 0.05
    done
fi

failures=$(grep -l '"again":true' "$MARKS/$KEY".*.ended 2>/dev/null | wc -l)
if [ -z "$signal" ] && [ "${code:-125}" != 0 ] && [ "$failures" -lt "$RETRIES" ]; then again=true; fi
ended "${code:-null}"
tidy
# By its name in the array: the number of one task is that of the whole array.
if $again && ! scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; then
    again=false
    ended "${code:-null}"
fi
exit "${code:-125}"
