# What a node has, and how its podman, charliecloud or apptainer runs a container; for tasks and for shells.
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

# What a container sees of its surroundings. The image's own variables, and those of recipes, go before them.
SEEN=(HOME=/root "TERM=${SHOWN:-xterm}" container=oci "HOSTNAME=$(uname -n)")
for name in ${!SLURM_*}; do SEEN+=("$name=${!name}"); done

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
    local options=("${HOW[@]}" --name "$container" --init --network host --workdir "$WORKDIR" ${OUT:+-v "$OUT:/out"})
    options+=(${CONFINED[@]+"${CONFINED[@]}"})
    local each
    for each in "${SEEN[@]}" ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"}; do options+=(--env "$each"); done
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
    esac
}
podman_start() { # WORDS; where the kernel's overlay does not work on this disk, by fuse-overlayfs
    podman_run "$@" >"$MINE/cid" 2>"$MINE/fault" && return
    local code=$?
    [ -z "$mount_program" ] && grep -qi overlay "$MINE/fault" && mount_program=$(command -v fuse-overlayfs) ||
        return $code
    podman_tidy
    podman_setup
    podman_run "$@" >"$MINE/cid" 2>"$MINE/fault"
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

other_argv() { # WORDS; into ARGV
    local options=() each from to mode
    local env=("${SEEN[@]}" ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"})
    [ -z "$gpus" ] || env+=("CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-$gpus}")
    local mounts=(${OUT:+"$OUT:/out"} ${MOUNTS[@]+"${MOUNTS[@]}"})
    case $IMAGE in *.sqfs) ;; *) fail "$runtime cannot run the archive $IMAGE; image = squashfs makes another file" ;; esac
    if [ "$runtime" = charliecloud ]; then
        for each in "${mounts[@]}"; do
            from=${each%%:*} to=${each#*:}
            options+=(-b "$from:${to%%:*}")
        done
        # The variables are set by env in the container: ch-run changes some that it inherits.
        ARGV=(ch-run --uid=0 --gid=0 --no-passwd "--cd=$WORKDIR" "${options[@]}" "$IMAGE" --)
    else
        for each in "${mounts[@]}"; do
            from=${each%%:*} to=${each#*:} mode=
            case $to in *:*ro*) mode=:ro ;; esac
            options+=(--bind "$from:${to%%:*}$mode")
        done
        [ -z "$gpus" ] || options+=(--nv)
        ARGV=("$(command -v apptainer || command -v singularity)" exec --cleanenv --contain --no-home --writable-tmpfs)
        ARGV+=(--pwd "$WORKDIR" "${options[@]}" "$IMAGE")
    fi
    ARGV+=(/usr/bin/env -i "${env[@]}" "$@")
}
tidy() {
    [ "$runtime" != podman ] || podman_tidy
    cd / || return
    local try
    for try in 0.1 0.2 0.5 1; do # what podman starts at the container's end may still write there
        rm -rf "$MINE" 2>/dev/null
        sleep "$try"
        [ -e "$MINE" ] || return
    done
}

