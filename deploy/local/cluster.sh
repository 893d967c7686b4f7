#!/usr/bin/env bash
# A Leasehold cluster of real processes on this machine, to try things out and to break things on purpose.
#
#   cluster.sh up [N]      start N nodes (default 3), or those of them that do not run, and wait for a leader
#   cluster.sh down        end all nodes in an orderly way; their data stays
#   cluster.sh status      what runs, and what the cluster says of itself
#   cluster.sh kill N      kill -9 node N
#   cluster.sh stop N      SIGSTOP node N: it freezes where it is
#   cluster.sh cont N      SIGCONT node N
#   cluster.sh restart N   end node N in an orderly way if it runs, and start it
#   cluster.sh wipe N      kill -9 node N and throw its data away
#   cluster.sh logs N      the end of node N's log
#
# Environment:
#   LEASEHOLD_LOCAL_DIR    data, logs and pids (default: .leasehold-local at the top of the repository)
#   LEASEHOLD_LOCAL_PORT   first port (default 7400): node i has this + 10 * (i - 1) for clients, the next for peers,
#                          the next for HTTP
#   LEASEHOLD_BIN          the binary (default: the release build, built if missing)
#   LEASEHOLD_CONFIG       a config file for every node
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${LEASEHOLD_LOCAL_DIR:-$root/.leasehold-local}
first_port=${LEASEHOLD_LOCAL_PORT:-7400}
nodes_max=9

say() { printf '%s\n' "$*" >&2; }
fail() { say "cluster.sh: $1"; exit "${2:-1}"; }
usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

client_port() { echo $((first_port + 10 * ($1 - 1))); }
peer_port() { echo $((first_port + 10 * ($1 - 1) + 1)); }
http_port() { echo $((first_port + 10 * ($1 - 1) + 2)); }

node_count() {
    [ -r "$dir/nodes" ] || fail "no cluster in $dir; run: cluster.sh up"
    cat "$dir/nodes"
}

endpoints() {
    local i list=""
    for ((i = 1; i <= $(node_count); i++)); do list="$list${list:+,}127.0.0.1:$(client_port "$i")"; done
    echo "$list"
}

peers() {
    local i list=""
    for ((i = 1; i <= $(node_count); i++)); do list="$list${list:+,}$i=127.0.0.1:$(peer_port "$i")"; done
    echo "$list"
}

binary() {
    if [ -n "${LEASEHOLD_BIN:-}" ]; then
        [ -x "$LEASEHOLD_BIN" ] || fail "LEASEHOLD_BIN=$LEASEHOLD_BIN is not a program"
        echo "$LEASEHOLD_BIN"
        return
    fi
    local built=${CARGO_TARGET_DIR:-$root/target}/release/leasehold
    if [ ! -x "$built" ]; then
        say "building $built"
        (cd "$root" && cargo build --release -p leasehold --bin leasehold) >&2
    fi
    echo "$built"
}

# The pid of node $1 if it runs. A pid file may outlive its process, and the number may be somebody else's by now.
pid_of() {
    local pid args
    [ -r "$dir/node-$1.pid" ] || return 1
    pid=$(cat "$dir/node-$1.pid")
    if [ -r "/proc/$pid/cmdline" ]; then
        args=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    else
        args=$(ps -p "$pid" -o args= 2>/dev/null) || return 1
    fi
    case $args in *"--data-dir $dir/node-$1 "*) echo "$pid" ;; *) return 1 ;; esac
}

state_of() {
    local pid
    pid=$(pid_of "$1") || { echo down; return; }
    case $(ps -p "$pid" -o stat= 2>/dev/null || sed 's/.*) //' "/proc/$pid/stat") in
        T*) echo "stopped (pid $pid)" ;;
        *) echo "runs (pid $pid)" ;;
    esac
}

need_node() {
    case ${1:-} in '' | *[!0-9]*) usage ;; esac
    [ "$1" -ge 1 ] && [ "$1" -le "$(node_count)" ] || fail "there is no node $1, there are 1 to $(node_count)" 64
}

need_running() { pid_of "$1" || fail "node $1 does not run"; }

start_node() {
    local bin
    pid_of "$1" >/dev/null && return
    bin=$(binary)
    set -- "$1" serve ${LEASEHOLD_CONFIG:+--config "$LEASEHOLD_CONFIG"} --node-id "$1" --data-dir "$dir/node-$1" \
        --listen "127.0.0.1:$(client_port "$1")" --peer-listen "127.0.0.1:$(peer_port "$1")" \
        --http-listen "127.0.0.1:$(http_port "$1")" --peers "$(peers)" --bootstrap
    local node=$1
    shift
    nohup "$bin" "$@" >>"$dir/node-$node.log" 2>&1 </dev/null &
    echo $! >"$dir/node-$node.pid"
}

# Ends node $1: TERM, and KILL when that takes more than ten seconds.
end_node() {
    local pid tries
    pid=$(pid_of "$1") || return 0
    kill -CONT "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 100; tries++)); do
        pid_of "$1" >/dev/null || break
        sleep 0.1
    done
    kill_node "$1"
}

kill_node() {
    local pid
    if pid=$(pid_of "$1"); then
        kill -KILL "$pid" 2>/dev/null || true
        while pid_of "$1" >/dev/null; do sleep 0.05; done
    fi
    rm -f "$dir/node-$1.pid"
}

leader() {
    "$(binary)" cluster status --endpoints "$(endpoints)" -o json 2>/dev/null |
        sed -n 's/.*"leader"[[:space:]]*:[[:space:]]*\([0-9][0-9]*\).*/\1/p' | head -n 1
}

up() {
    local count=${1:-} i tries named
    case $count in *[!0-9]*) usage ;; esac
    if [ -r "$dir/nodes" ]; then
        [ -z "$count" ] || [ "$count" -eq "$(node_count)" ] ||
            fail "$dir holds a cluster of $(node_count) nodes; run down and remove it, or set LEASEHOLD_LOCAL_DIR" 64
        count=$(node_count)
    fi
    count=${count:-3}
    [ "$count" -ge 1 ] && [ "$count" -le "$nodes_max" ] || fail "1 to $nodes_max nodes are possible" 64
    binary >/dev/null
    mkdir -p "$dir"
    echo "$count" >"$dir/nodes"
    for ((i = 1; i <= count; i++)); do start_node "$i"; done
    for ((tries = 0; tries < 300; tries++)); do
        for ((i = 1; i <= count; i++)); do
            pid_of "$i" >/dev/null || { tail -n 5 "$dir/node-$i.log" >&2; fail "node $i ended; its log is $dir/node-$i.log"; }
        done
        named=$(leader) || true
        if [ -n "$named" ]; then
            say "$count nodes run, node $named leads; data and logs are in $dir"
            say "export LEASEHOLD_ENDPOINTS=$(endpoints)"
            return
        fi
        sleep 0.1
    done
    fail "no leader after 30 seconds; see the logs in $dir"
}

down() {
    local i
    # All at once: a node that waits for the others must not hold this up.
    for ((i = 1; i <= $(node_count); i++)); do end_node "$i" & done
    wait
    say "all nodes are down; their data is in $dir"
}

status() {
    local i
    for ((i = 1; i <= $(node_count); i++)); do
        echo "node $i: $(state_of "$i"), clients 127.0.0.1:$(client_port "$i")"
    done
    "$(binary)" cluster status --endpoints "$(endpoints)"
}

verb=${1:-}
[ -n "$verb" ] || usage
shift
case $verb in
    up) up "$@" ;;
    down) down ;;
    status) status ;;
    kill)
        need_node "${1:-}"
        pid=$(need_running "$1")
        kill_node "$1"
        ;;
    stop | cont)
        need_node "${1:-}"
        pid=$(need_running "$1")
        if [ "$verb" = stop ]; then kill -STOP "$pid"; else kill -CONT "$pid"; fi
        ;;
    restart)
        need_node "${1:-}"
        end_node "$1"
        start_node "$1"
        ;;
    wipe)
        need_node "${1:-}"
        kill_node "$1"
        rm -rf "${dir:?}/node-$1"
        ;;
    logs)
        need_node "${1:-}"
        tail -n 100 "$dir/node-$1.log"
        ;;
    *) usage ;;
esac
