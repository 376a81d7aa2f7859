# What a node has, and how its podman, charliecloud or apptainer runs a container; for tasks and for shells.
runtime=$RUNTIME
mounts_image() { # whether a runtime can mount a squashfs here; charliecloud and apptainer bring what they need
    [ "$1" != podman ] || command -v squashfuse >/dev/null || [ "${IMAGE%.sqfs}" = "$IMAGE" ]
}
for each in podman:podman charliecloud:ch-run apptainer:apptainer apptainer:singularity; do
    [ -z "$runtime" ] || break
    if command -v "${each#*:}" >/dev/null && mounts_image "${each%%:*}"; then runtime=${each%%:*}; fi
done
if [ -z "$runtime" ] && command -v podman >/dev/null; then runtime=podman; fi # which says what is missing
[ -n "$runtime" ] || fail "the node has none of podman, charliecloud and apptainer"
visible() { # FILE: a network disk may show a file some seconds after it was written
    local try
    for try in {1..60}; do
        [ ! -r "$1" ] || return 0
        ls "${1%/*}" >/dev/null 2>&1
        sleep "${SHOWN_LATE:-1}"
    done
    return 1
}
visible "$IMAGE" || fail "the node does not see the image file $IMAGE"

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

# What a container sees of its surroundings. The image's own variables, and those of recipes, go before them; then what
# describes the job, and what the user gave.
SEEN=(HOME=/root "TERM=${SHOWN:-xterm}" container=oci "HOSTNAME=$(uname -n)")
for name in ${!SLURM_*}; do SEEN+=("$name=${!name}"); done
[ -z "$GIVEN_FILE" ] || { visible "$GIVEN_FILE" && . "$GIVEN_FILE"; } || fail "the node does not see the variables of the job, $GIVEN_FILE"
environment() { # into WORDS
    WORDS=("${SEEN[@]}" ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"} ${OWN[@]+"${OWN[@]}"} ${PORTS[@]+"${PORTS[@]}"})
    WORDS+=("$@" ${GIVEN[@]+"${GIVEN[@]}"})
}

# What is mounted: a source, a target and options, one after the other.
[ -z "$OUT" ] || [ -z "$OUT_POINT" ] || MOUNTS=("$OUT" "$OUT_POINT" '' ${MOUNTS[@]+"${MOUNTS[@]}"})
[ -z "$FILES" ] || MOUNTS+=("$FILES" /run/ocicaliban ro)
csv() { # a field of CSV, which is how podman and apptainer read some of their options
    printf '"%s"' "${1//\"/\"\"}"
}

# A port that nobody listens on, and that no other job of ours on this node has got: it is locked as long as we live.
PORTS=()
find_port() {
    local try port used
    mkdir -p "$ROOT/ports" || return
    used=" $(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '{ sub(/.*:/, "", $2); printf "%s ", $2 }')"
    for try in {1..200}; do
        port=$((20000 + RANDOM % 12768))
        case $used in *" $(printf %04X "$port") "*) continue ;; esac
        exec 8>"$ROOT/ports/$port" || return
        if flock -n 8; then
            PORTS=("OCICALIBAN_PORT=$port" "MASTER_PORT=$port")
            return
        fi
    done
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
podman_mount() { # SOURCE TARGET OPTIONS; -v takes no source with a colon
    case $1 in
        *:*) options+=(--mount "type=bind,$(csv "source=$1"),$(csv "target=$2")${3:+,$3}") ;;
        *) options+=(-v "$1:$2${3:+:$3}") ;;
    esac
}
podman_run() {
    local options=("${HOW[@]}" --name "$container" --init --network host --workdir "$WORKDIR" --tz local)
    options+=(${CONFINED[@]+"${CONFINED[@]}"})
    local each number visible='' shm
    # podman's own 64 MB are too little for PyTorch. With other runtimes a job sees that of the node.
    shm=$(df -B1 --output=size /dev/shm 2>/dev/null | tail -n 1 | tr -d ' ')
    [ "${shm:-0}" -lt 67108864 ] 2>/dev/null || options+=(--shm-size "${shm}b")
    for ((number = 0; number < ${#MOUNTS[@]}; number += 3)); do podman_mount "${MOUNTS[@]:number:3}"; done
    environment
    if [ -n "$gpus" ]; then
        number=0
        for each in ${gpus//,/ }; do
            options+=(--device "nvidia.com/gpu=$each")
            visible=$visible${visible:+,}$number
            number=$((number + 1))
        done
        environment "CUDA_VISIBLE_DEVICES=$visible" # in the container they are counted from 0
    fi
    for each in "${WORDS[@]}"; do options+=(--env "$each"); done
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

# Where charliecloud cannot mount a source as it is: read-only, or with a colon in its path. Then these are mounted at a
# place of our own first, in a namespace: for each, a source, a place, options.
PLACED=()
place_mounts() { # into ARGV
    local number=$((${#PLACED[@]} / 3))
    [ "$number" = 0 ] || ARGV=(unshare --user --map-root-user --mount sh -c '
        count=$1; shift
        while [ "$count" -gt 0 ]; do
            if [ -d "$1" ]; then mkdir -p "$2"; else : >"$2"; fi
            mount --rbind "$1" "$2" || exit 125
            [ "$3" != ro ] || mount -o remount,bind,ro "$2" || exit 125
            shift 3; count=$((count - 1))
        done
        exec "$@"' _ "$number" "${PLACED[@]}" "${ARGV[@]}")
}
charliecloud_mount() { # SOURCE TARGET OPTIONS
    local from=$1
    case ,$3,$1 in
        *,ro,* | *:*)
            from=$MINE/mounts-${#PLACED[@]}
            PLACED+=("$1" "$from" "$(case ,$3, in *,ro,*) echo ro ;; esac)")
            ;;
    esac
    options+=(-b "$from:$2")
}
apptainer_mount() { # SOURCE TARGET OPTIONS; --bind takes neither a colon nor a comma in a path
    local mode=
    case ,$3, in *,ro,*) mode=ro ;; esac
    case $1$2 in
        *[,:]*) options+=(--mount "type=bind,$(csv "source=$1"),$(csv "destination=$2")${mode:+,$mode}") ;;
        *) options+=(--bind "$1:$2${mode:+:$mode}") ;;
    esac
}
zone() { # the node's time zone by its name; podman gives a container the file
    local name
    name=$(readlink -f /etc/localtime 2>/dev/null)
    case $name in */zoneinfo/*) name=${name##*/zoneinfo/} ;; *) return ;; esac
    case $name in *UTC | *UCT | *Zulu | *Universal) ;; *) SEEN+=("TZ=$name") ;; esac
}
other_argv() { # WORDS; into ARGV
    local options=() number
    case $IMAGE in *.sqfs) ;; *) fail "$runtime cannot run the archive $IMAGE; image = squashfs makes another file" ;; esac
    zone
    environment
    [ -z "$gpus" ] || environment "CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-$gpus}"
    for ((number = 0; number < ${#MOUNTS[@]}; number += 3)); do "${runtime}_mount" "${MOUNTS[@]:number:3}"; done
    if [ "$runtime" = charliecloud ]; then
        # The variables are set by env in the container: ch-run changes some that it inherits.
        ARGV=(ch-run --uid=0 --gid=0 --no-passwd "--cd=$WORKDIR" ${options[@]+"${options[@]}"} "$IMAGE" --)
    else
        [ -z "$gpus" ] || options+=(--nv)
        ARGV=("$(command -v apptainer || command -v singularity)" exec --cleanenv --contain --no-home --writable-tmpfs)
        ARGV+=(--pwd "$WORKDIR" ${options[@]+"${options[@]}"} "$IMAGE")
    fi
    ARGV+=(/usr/bin/env -i "${WORDS[@]}" "$@")
    place_mounts
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

