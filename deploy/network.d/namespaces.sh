#!/usr/bin/env bash
# Read by `deploy/network`: nodes as processes, each in a network namespace of its own.
# shellcheck disable=SC2154,SC2034 # `deploy/network` sets them, or reads them

hub="$id-hub"
# How long a node may take to stop in order.
MAX_STOP_SECONDS=60

net_can() {
  why_not="this kernel or container makes no network namespaces"
  ip netns add "probe$$" 2>/dev/null || return 1
  why_not="nft cannot filter here"
  local code=0
  ip netns exec "probe$$" nft add table inet probe 2>/dev/null || code=1
  ip netns del "probe$$"
  return "$code"
}

net_make() {
  local n
  find_program
  realpath "$synapsenet" >"$dir/program"
  make_hub || fail "cannot make the namespace $hub: it is there, left by a network that was not taken down? ip netns del $hub"
  for ((n = 1; n <= nodes; n++)); do make_namespace "$n"; done
}

# The process of node N, where it runs: what has its number by chance is another program.
pid_of() {
  local pid
  pid="$(cat "$dir/$1.pid" 2>/dev/null)" || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--data-dir $dir/$1 " || return 1
  echo "$pid"
}

net_is_up() {
  pid_of "$1" >/dev/null
}

net_start() {
  local n="$1"
  # A session of its own, so that it goes on when this script has ended.
  (
    export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/.onnxruntime/libonnxruntime.so}"
    export SYNAPSENET_NETWORK__SYNC_SECONDS=5
    setsid ip netns exec "$id-$n" "$(cat "$dir/program")" run --data-dir "$dir/$n" --api-listen "" --metrics-listen "" \
      </dev/null >>"$dir/$n.log" 2>&1 &
    echo $! >"$dir/$n.pid"
  )
}

net_signal() {
  local pid
  pid="$(pid_of "$1")" || fail "node $1 is not up"
  kill -"$2" "$pid"
}

# Ends node N, if it runs, and waits for that.
net_stop() {
  local pid deadline=$((SECONDS + MAX_STOP_SECONDS))
  pid="$(pid_of "$1")" || return 0
  kill -"$2" "$pid" 2>/dev/null || true
  while net_is_up "$1"; do
    if ((SECONDS >= deadline)); then
      echo "network: node $1 did not stop within $MAX_STOP_SECONDS s and was killed" >&2
      kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + MAX_STOP_SECONDS))
    fi
    sleep 0.05
  done
}

net_forget() {
  rm -rf "${dir:?}/$1"
}

net_in() {
  ip netns exec "$id-$1" "${@:2}"
}

# A unix socket is reached from every namespace.
on() {
  "$(cat "$dir/program")" --data-dir "$dir/$1" "${@:2}"
}

net_logs() {
  cat "$dir/$1.log"
}

net_shell() {
  echo "network: in the network of node $1; SYNAPSENET_DATA_DIR names it, and $(cat "$dir/program") is the program"
  SYNAPSENET_DATA_DIR="$dir/$1" net_in "$1" "${SHELL:-/bin/bash}"
}

net_end() {
  local n
  for ((n = 1; n <= nodes; n++)); do net_stop "$n" KILL; done
  for ((n = 1; n <= nodes; n++)); do ip netns del "$id-$n" 2>/dev/null || true; done
  ip netns del "$hub" 2>/dev/null || true
}

net_observe() {
  fail "Prometheus and Grafana are containers, and so are the nodes that they observe: deploy/network up $nodes --driver containers"
}
