# What a task does: claim its attempt, say that it begins, run the container, say how it ended.
set -u
task "$SLURM_ARRAY_TASK_ID"
N=$((FIRST + ${SLURM_RESTART_COUNT:-0}))
MARK=$MARKS/$KEY.$N
LOG=$FOLDER/attempt-$N.log

say() { # atomically: a reader sees the old file or the new one, never half of it
    printf '%s\n' "$2" >"$MARK.$1.$SLURM_JOB_ID" && mv -f "$MARK.$1.$SLURM_JOB_ID" "$MARK.$1"
}
signal='' again=false
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
    ended null "$*"
    exit 125
}

mkdir -p "$OUT" "$FOLDER" "$MARKS" || refuse "the node cannot make the job's folders on the shared disk"
# Only one process can make a folder, on a network disk too: an array that was submitted twice runs nothing twice.
if [ -n "$ARRAY" ] && ! fault=$(mkdir "$MARK.claim" 2>&1); then
    [ -d "$MARK.claim" ] || refuse "the attempt cannot be claimed: $fault"
    echo "ocicaliban: another task runs attempt $N of the job $KEY" >&2
    exit 0
fi
gpus=${SLURM_JOB_GPUS:-${SLURM_STEP_GPUS:-${GPU_DEVICE_ORDINAL:-${CUDA_VISIBLE_DEVICES:-}}}}
[ "$gpus" != NoDevFiles ] || gpus=
say began "{\"task\":\"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\",\"array\":\"$ARRAY\",\"node\":\"$(plain "${SLURMD_NODENAME:-$(hostname)}")\",\"gpus\":\"$(plain "$gpus")\",\"at\":$(date +%s.%N)}" ||
    refuse "the node cannot write on the shared disk that the job begins"

runtime=$RUNTIME
if [ -z "$runtime" ]; then
    for each in podman:podman charliecloud:ch-run apptainer:apptainer apptainer:singularity; do
        if command -v "${each#*:}" >/dev/null; then runtime=${each%%:*} && break; fi
    done
fi
[ -n "$runtime" ] || fail "the node has none of podman, charliecloud and apptainer"
[ -r "$IMAGE" ] || fail "the node does not see the image file $IMAGE"

# A folder of the node's own: podman's layers can lie neither on a network disk nor on FUSE. On an overlay they need
# fuse-overlayfs.
mount_program=''
local_folder() {
    local each kind kinds='' places=("$LOCAL")
    [ -n "$LOCAL" ] || places=("${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp /var/tmp)
    for each in "${places[@]}"; do
        [ -d "$each" ] && [ -w "$each" ] || continue
        kind=$(stat -f -c %T "$each" 2>/dev/null)
        case $runtime:$kind in
            podman:nfs* | podman:lustre | podman:gpfs | podman:beegfs* | podman:panfs | podman:ceph | podman:afs) ;;
            podman:smb* | podman:cifs | podman:v9fs | podman:fuse* | podman:ecryptfs | podman:msdos | podman:exfat) ;;
            podman:overlayfs) mount_program=$(command -v fuse-overlayfs) && place=$each && return ;;
            *) place=$each && return ;;
        esac
        kinds="$kinds${kinds:+, }$each is on $kind"
    done
    fail "no folder of the node can hold podman's layers (${kinds:-${places[*]} cannot be written});" \
        "[targets.slurm] local names one on a disk of the node"
}
local_folder
ROOT=$place/ocicaliban-$(id -u)
MINE=$ROOT/$SLURM_JOB_ID-$N
mkdir -p -m 700 "$ROOT" 2>/dev/null && mkdir -p "$MINE/run" || fail "the folder $ROOT of the node cannot be made"
[ -O "$ROOT" ] || fail "the folder $ROOT of the node belongs to another user"
cd "$MINE" || fail "the folder $MINE of the node is gone"

# What a container sees of its surroundings, in addition to the image's own variables.
SEEN=(HOME=/root TERM=xterm container=oci "HOSTNAME=$(uname -n)")
for name in ${!SLURM_*}; do SEEN+=("$name=${!name}"); done

container='' pid='' code=''
stop() { # the container gets TERM, whatever the script got
    signal=$1
    case $runtime in
        podman) podman kill -s TERM "$container" >/dev/null 2>&1 ;;
        *) [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null ;;
    esac
}

# --- podman ---

# Its own store, runtime folder and pause process: the end of another job on this node takes nothing of ours along.
podman_setup() {
    container=ocicaliban-$KEY-$N
    export XDG_RUNTIME_DIR=$MINE/run TMPDIR=$MINE CONTAINERS_CONF=$MINE/containers.conf
    unset XDG_CONFIG_HOME DBUS_SESSION_BUS_ADDRESS
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >"$CONTAINERS_CONF"
    storage "$MINE/load.conf" "$ROOT/images" ''
    storage "$MINE/run.conf" "$MINE/store" "\"$ROOT/images\""
    mkdir -p "$ROOT/images"
    export CONTAINERS_STORAGE_CONF=$MINE/run.conf
}
storage() { # FILE GRAPHROOT ADDITIONAL
    cat >"$1" <<C
[storage]
driver = "overlay"
rootless_storage_path = "$2"
graphroot = "$2"
runroot = "$MINE/runroot"
[storage.options]
additionalimagestores = [$3]
[storage.options.overlay]
ignore_chown_errors = "true"
C
    [ -z "$mount_program" ] || printf 'mount_program = "%s"\n' "$mount_program" >>"$1"
}
inside() { # run a command in podman's user namespace; with hybrid cgroups, which crun refuses, with version 2 alone
    if [ -d /sys/fs/cgroup/unified ]; then
        podman unshare unshare -mC sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' _ "$@"
    else
        podman unshare "$@"
    fi
}
load() { # once on a node
    (
        flock 9
        export CONTAINERS_STORAGE_CONF=$MINE/load.conf
        podman image exists "$IMAGE_NAME" || podman pull -q "oci-archive:$IMAGE"
    ) 9>"$ROOT/load.lock" >/dev/null
}
podman_run() {
    local options=(-d --name "$container" --init --network host --workdir "$WORKDIR" -v "$OUT:/out")
    options+=(--log-driver k8s-file --log-opt "path=$LOG.conmon" ${CONFINED[@]+"${CONFINED[@]}"})
    local each
    for each in ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"} "${SEEN[@]}"; do options+=(--env "$each"); done
    for each in ${MOUNTS[@]+"${MOUNTS[@]}"}; do options+=(-v "$each"); done
    if [ -n "$gpus" ]; then
        local number=0 visible=''
        for each in ${gpus//,/ }; do
            options+=(--device "nvidia.com/gpu=$each")
            visible=$visible${visible:+,}$number
            number=$((number + 1))
        done
        options+=(--env "CUDA_VISIBLE_DEVICES=$visible") # in the container they are counted from 0
    fi
    local command=("${@}")
    case $IMAGE in
        *.sqfs)
            mkdir -p "$MINE/image"
            command -v squashfuse >/dev/null || { echo "the node has no squashfuse" >&2; return 125; }
            # squashfuse must not end with the TERM of scancel, while the job saves its state.
            inside sh -c '
                trap "" TERM INT HUP USR1
                squashfuse -f -o uid=0,gid=0 "$1" "$2" >&2 & echo $! >"$3"
                trap - TERM INT HUP USR1
                until mountpoint -q "$2"; do kill -0 "$(cat "$3")" 2>/dev/null || exit 1; sleep 0.01; done
                shift 3; exec "$@"' _ "$IMAGE" "$MINE/image" "$MINE/squashfuse.pid" \
                podman run "${options[@]}" --rootfs "$MINE/image:O" "${command[@]}"
            ;;
        *)
            load || return 125
            inside podman run "${options[@]}" --pull=never --entrypoint '' "$IMAGE_NAME" "${command[@]}"
            ;;
    esac >"$MINE/cid" 2>"$MINE/fault"
}
podman_start() { # WORDS; where the kernel's overlay does not work on this disk, by fuse-overlayfs
    podman_run "$@" && return
    [ -z "$mount_program" ] && grep -qi overlay "$MINE/fault" && mount_program=$(command -v fuse-overlayfs) || return
    podman_tidy
    podman_setup
    podman_run "$@"
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
podman_tidy() {
    podman rm -f -t 0 "$container" >/dev/null 2>&1
    [ ! -s "$MINE/squashfuse.pid" ] || kill -9 "$(cat "$MINE/squashfuse.pid")" 2>/dev/null
    # podman keeps its store mounted in its namespace, and a pause process for that: both go.
    podman unshare sh -c 'umount -l "$1/image" "$1/store/overlay" 2>/dev/null; 
        rm -rf "$1/store" "$1/runroot" "$1/run/containers"' _ "$MINE" 2>/dev/null
    local pause
    pause=$(cat "$MINE/run/libpod/tmp/pause.pid" 2>/dev/null) && kill -9 "$pause" 2>/dev/null
}

# --- charliecloud and apptainer ---

other_run() {
    local options=() each from to mode
    local env=(${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"} "${SEEN[@]}")
    [ -z "$gpus" ] || env+=("CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-$gpus}")
    local mounts=("$OUT:/out" ${MOUNTS[@]+"${MOUNTS[@]}"})
    case $IMAGE in *.sqfs) ;; *) fail "$runtime cannot run the archive $IMAGE; image = squashfs makes another file" ;; esac
    if [ "$runtime" = charliecloud ]; then
        for each in "${mounts[@]}"; do
            from=${each%%:*} to=${each#*:}
            options+=(-b "$from:${to%%:*}")
        done
        # The variables are set by env in the container: ch-run changes some that it inherits.
        ch-run --uid=0 --gid=0 --no-passwd --cd="$WORKDIR" "${options[@]}" "$IMAGE" -- \
            /usr/bin/env -i "${env[@]}" "$@" >>"$LOG" 2>&1 &
    else
        for each in "${mounts[@]}"; do
            from=${each%%:*} to=${each#*:} mode=
            case $to in *:*ro*) mode=:ro ;; esac
            options+=(--bind "$from:${to%%:*}$mode")
        done
        [ -z "$gpus" ] || options+=(--nv)
        "$(command -v apptainer || command -v singularity)" exec --cleanenv --contain --no-home --writable-tmpfs \
            --pwd "$WORKDIR" "${options[@]}" "$IMAGE" /usr/bin/env -i "${env[@]}" "$@" >>"$LOG" 2>&1 &
    fi
    pid=$!
}
other_wait() {
    while kill -0 "$pid" 2>/dev/null; do
        wait "$pid"
        code=$?
    done
}

# --- the run ---

tidy() {
    [ "$runtime" != podman ] || podman_tidy
    cd / && { rm -rf "$MINE" 2>/dev/null || { sleep 1 && rm -rf "$MINE"; }; }
}

[ ${#ARGS[@]} -gt 0 ] || ARGS=(${DEFAULTS[@]+"${DEFAULTS[@]}"})
words=(${COMMAND[@]+"${COMMAND[@]}"} ${ARGS[@]+"${ARGS[@]}"})
[ "$runtime" != podman ] || podman_setup
trap 'stop TERM' TERM
trap 'stop INT' INT
trap 'stop USR1' USR1
if [ "$runtime" = podman ]; then
    if ! podman_start "${words[@]}"; then
        fault=$(tr -d '\0' <"$MINE/fault")
        # What is wrong is at the beginning, why at the end.
        [ ${#fault} -le 430 ] || fault="${fault:0:200} ... ${fault: -220}"
        tr -d '\0' <"$MINE/fault" | tee -a "$LOG" >&2
        tidy
        fail "podman cannot start the job: $(plain "$fault")"
    fi
    # A signal that came before there was a container.
    [ -z "$signal" ] || podman kill -s TERM "$container" >/dev/null 2>&1
    podman_wait
else
    other_run "${words[@]}"
    other_wait
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
