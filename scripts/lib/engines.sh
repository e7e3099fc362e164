# shellcheck shell=bash
# The engines that can be started by name, and how each is configured, started and stopped.
# Sets and reads: lib state bridge socket group network, root (of the suite's files), engine (its PID).
# shellcheck disable=SC2154  # they are the caller's

# name, kind, version, Debian suite, store, what it is
engine_table() {
    cat <<'TABLE'
docker-20.10 docker 20.10 bookworm classic overlay2 store
docker-26.1 docker 26.1 trixie classic overlay2 store
docker-28.5-classic docker 28.5 forky classic overlay2 store
docker-28.5-containerd docker 28.5 forky containerd containerd's image store
docker-28.5-userns docker 28.5 forky userns overlay2 store, userns-remap
podman-4.3 podman 4.3 bookworm - its Docker-compatible socket
podman-5.8 podman 5.8 forky - its Docker-compatible socket
TABLE
}

list_engines() {
    local name kind version suite store text
    while read -r name kind version suite store text; do
        printf '%-24s %s %s (Debian %s), %s\n' "$name" "${kind^}" "$version" "$suite" "$text"
    done < <(engine_table)
}

# Where Podman writes whatever folders it is given; it gets empty ones of its own there.
# shellcheck disable=SC2034  # with-engine removes those that were not there before
hidden=(/run/containers /run/libpod /run/netns /run/runc /run/crun /var/lib/cni /var/lib/containers)

# choose_engine NAME: sets kind, version, suite, store; fails for a name that is not in the table.
choose_engine() {
    local name text
    # shellcheck disable=SC2034  # text is only there to take the rest of the line
    while read -r name kind version suite store text; do
        [ "$name" != "$1" ] || return 0
    done < <(engine_table)
    return 1
}

# The machine's own programs serve where it is of that suite; else the suite's are put over them.
need_suite() {
    root=
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" != "$suite" ] || return 0
    root=$(suite_root "$kind" "$suite")
}

# Runs a command where the engine is to live, as the process it becomes. With files of another suite
# accounts or fixed paths of its own that is a mount namespace.
in_its_place() {
    if [ -z "$root" ] && [ "$kind" = docker ] && [ "$store" != userns ]; then
        exec setsid "$@"
    fi
    exec setsid unshare --mount --propagation private "$lib/in-its-place" "$state" "$root" "${hidden[*]}" "$@"
}

start_docker() {
    local more=
    case $store in
        containerd) more=', "features": {"containerd-snapshotter": true}' ;;
        # Its containers have to pass through our folder as users that are nobody here.
        userns) more=', "userns-remap": "minify-remap"' && chmod 711 "$state" ;;
    esac
    printf '{"default-address-pools": [{"base": "%s", "size": 24}]%s}\n' "$pool" "$more" \
        >"$state/daemon.json"
    # In a session of its own, so that Ctrl-C reaches it only through us, after the command has ended.
    in_its_place dockerd --config-file "$state/daemon.json" --host "unix://$socket" \
        --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/dockerd.pid" \
        --bridge "$bridge" --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --cgroup-parent "$group" --containerd-namespace "$bridge" \
        --containerd-plugins-namespace "$bridge-plugins" \
        >"$state/engine.log" 2>&1 </dev/null &
    engine=$!
}

# Podman raises the limits of a container to its own idea of them, which takes CAP_SYS_RESOURCE;
# crun, which it prefers, refuses machines with both versions of cgroups mounted. Its networks are
# ours to make and to guard, as Docker's are.
podman_settings() {
    cat >"$state/containers.conf" <<SETTINGS
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$state/exec/tmp"
[network]
network_config_dir = "$state/networks"
SETTINGS
    mkdir -p "$state/networks"
    cat >"$state/networks/podman.json" <<NETWORK
{"name": "podman", "driver": "bridge", "network_interface": "$bridge", "dns_enabled": false,
 "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
 "created": "2024-01-01T00:00:00Z", "ipv6_enabled": false, "internal": false,
 "subnets": [{"subnet": "$network.0/24", "gateway": "$network.1"}],
 "ipam_options": {"driver": "host-local"}}
NETWORK
    cat >"$state/networks/87-podman.conflist" <<NETWORK
{"cniVersion": "0.4.0", "name": "podman", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/addresses",
            "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "$network.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
NETWORK
}

start_podman() {
    podman_settings
    hold_bridge
    # The names of sockets below it are short of 108 characters only in a folder with a short name.
    export CONTAINERS_CONF=$state/containers.conf NETAVARK_FW=none
    in_its_place podman --root "$state/data" --runroot "$state/exec" --cgroup-manager cgroupfs \
        system service --time=0 "unix://$socket" >"$state/engine.log" 2>&1 </dev/null &
    engine=$!
}

answers() { docker --host "unix://$socket" version >/dev/null 2>&1; }
answers_or_dead() { answers || gone "$engine"; }

start_engine() {
    "start_$kind"
    within 600 answers_or_dead || true
    answers || {
        say "the engine did not start; the end of its log:"
        tail -n 20 "$state/engine.log" >&2
        return 1
    }
}

stop_engine() {
    alive "$engine" || return 0
    local left
    left=$(docker --host "unix://$socket" ps --all --quiet 2>/dev/null || true)
    if [ -n "$left" ]; then # killed first: Podman would wait for their graceful end
        # shellcheck disable=SC2086
        docker --host "unix://$socket" kill $left >/dev/null 2>&1 || true
        # shellcheck disable=SC2086
        docker --host "unix://$socket" rm --force --volumes $left >/dev/null 2>&1 || true
    fi
    kill -TERM "$engine" 2>/dev/null || true
    within 300 gone "$engine" || kill -KILL "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
}

# Ends what a killed engine may have left: the processes that have our folder in their command line
# (its containerd, what stands beside containers), and the containers: Docker's are in our control
# group, Podman's leave their PIDs in our folder.
end_leftovers() {
    local pid file folder
    for pid in $(pgrep -f -- "$state/" 2>/dev/null || true); do
        case $(readlink "/proc/$pid/exe" 2>/dev/null) in
            */containerd | */containerd-shim-runc-v2 | */conmon | */rootlessport | */docker-proxy)
                kill -KILL "$pid" 2>/dev/null || true
                ;;
        esac
    done
    for file in "$state"/exec/overlay-containers/*/userdata/pidfile; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        folder=${file%/userdata/pidfile}
        ! grep -q "${folder##*/}" "/proc/$pid/cgroup" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    for folder in /sys/fs/cgroup"$group" /sys/fs/cgroup/*"$group"; do
        [ -d "$folder" ] || continue
        while read -r pid; do
            kill -KILL "$pid" 2>/dev/null || true
        done < <(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null)
        find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ "$kind" != podman ] || rmdir /sys/fs/cgroup/libpod_parent/* /sys/fs/cgroup/libpod_parent \
        /sys/fs/cgroup/*/libpod_parent/* /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true
}
