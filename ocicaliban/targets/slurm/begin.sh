# What a task does: claim its attempt, say that it begins, run the container, say how it ended.
set -u
task "$SLURM_ARRAY_TASK_ID"
N=$((FIRST + ${SLURM_RESTART_COUNT:-0}))
MARK=$MARKS/$KEY.$N
LOG=$FOLDER/attempt-$N.log

say() { # atomically: a reader sees the old file or the new one, never half of it
    printf '%s\n' "$2" >"$MARK.$1.$SLURM_JOB_ID" && mv -f "$MARK.$1.$SLURM_JOB_ID" "$MARK.$1"
}
signal='' again=false code=''
plain() { # what a JSON string can hold as it is: a terminal's codes, a cut character or a tab would make it unreadable
    printf '%s' "$1" | LC_ALL=C tr '\n\t' '  ' | LC_ALL=C tr -cd ' -~' | tr -d '"\\' | tail -c 500
}
ended() { # CODE|null [FAULT]
    say ended "{\"code\":$1,\"signal\":\"$signal\",\"again\":$again,\"fault\":\"$(plain "${2:-}")\",\"at\":$(date +%s.%N)}"
}
refuse() { # WORDS: nothing can be written where the marks are
    echo "ocicaliban: job $KEY: $*" >&2
    exit 125
}
fail() { # WORDS; the job's log gets them too
    echo "ocicaliban: $*" | tee -a "$LOG" >&2
    ended "${code:-null}" "$*"
    exit "${code:-125}"
}

mkdir -p "$OUT" "$FOLDER" "$MARKS" || refuse "the node cannot make the job's folders on the shared disk"
# Only one process can make a folder, on a network disk too: an array that was submitted twice runs nothing twice.
if [ -n "$ARRAY" ] && ! fault=$(mkdir "$MARK.claim" 2>&1); then
    [ -d "$MARK.claim" ] || refuse "the attempt cannot be claimed: $fault"
    echo "ocicaliban: another task runs attempt $N of the job $KEY" >&2
    exit 0
fi
say began "{\"task\":\"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\",\"array\":\"$ARRAY\",\"node\":\"$(plain "${SLURMD_NODENAME:-$(hostname)}")\",\"gpus\":\"$(plain "$gpus")\",\"at\":$(date +%s.%N)}" ||
    refuse "the node cannot write on the shared disk that the job begins"

