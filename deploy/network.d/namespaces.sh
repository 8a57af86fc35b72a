#!/usr/bin/env bash
# Read by `deploy/network`: nodes as processes, each in a network namespace of its own.
# shellcheck disable=SC2154,SC2034 # `deploy/network` sets them, or reads them

hub="$id-hub"
# Where libfaketime is.
faketime=""
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
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -F -- "--data-dir $dir/$1 " >/dev/null || return 1
  echo "$pid"
}

net_is_up() {
  pid_of "$1" >/dev/null
}

# The program of node N: its own, where it was given one, else that of all.
program_of() {
  cat "$dir/$1.program" 2>/dev/null || cat "$dir/program"
}

# Gives node N another program, which it runs when it starts the next time; that of all where none is named.
net_use() {
  if [[ -n "${2:-}" ]]; then
    [[ -x "$2" && ! -d "$2" ]] || fail "$2 is not a program"
    realpath "$2" >"$dir/$1.program"
  else
    rm -f "$dir/$1.program"
  fi
}

# Finds libfaketime.
net_can_skew() {
  local candidate
  why_not="libfaketime is missing: apt-get install faketime"
  for candidate in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1; do
    if [[ -r "$candidate" ]]; then
      faketime="$candidate"
      return 0
    fi
  done
  return 1
}

# Whether node N runs with libfaketime.
net_is_skewed() {
  grep -q libfaketime "/proc/$(pid_of "$1")/maps"
}

net_start() {
  local n="$1" settings=() clock=()
  mapfile -t settings < <(settings_of_nodes)
  if [[ -e "$dir/$n.skew" ]] && net_can_skew; then
    clock=(LD_PRELOAD="$faketime" FAKETIME="$(cat "$dir/$n.skew")" FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1)
    touch "$dir/$n.faketime"
  fi
  # A session of its own, so that it goes on when this script has ended.
  (
    export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/.onnxruntime/libonnxruntime.so}"
    setsid ip netns exec "$id-$n" env "${settings[@]}" "${clock[@]}" \
      "$(program_of "$n")" run --data-dir "$dir/$n" --api-listen "" --metrics-listen "" \
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
  pid="$(pid_of "$1")" || { sweep_clock "$1"; return 0; }
  kill -"$2" "$pid" 2>/dev/null || true
  while net_is_up "$1"; do
    if ((SECONDS >= deadline)); then
      echo "network: node $1 did not stop within $MAX_STOP_SECONDS s and was killed" >&2
      kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + MAX_STOP_SECONDS))
    fi
    sleep 0.05
  done
  sweep_clock "$1"
}

# Removes what libfaketime leaves of a program that did not end by itself.
sweep_clock() {
  local pid
  [[ -e "$dir/$1.faketime" ]] || return 0
  pid="$(cat "$dir/$1.pid")"
  rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid" "$dir/$1.faketime"
}

net_forget() {
  rm -rf "${dir:?}/$1"
}

net_in() {
  ip netns exec "$id-$1" "${@:2}"
}

# A unix socket is reached from every namespace. The settings are those of the node, so that `config show` tells what it goes by.
on() {
  local settings=()
  mapfile -t settings < <(settings_of_nodes)
  env "${settings[@]}" "$(program_of "$1")" --data-dir "$dir/$1" "${@:2}"
}

net_logs() {
  cat "$dir/$1.log"
}

net_shell() {
  echo "network: in the network of node $1; SYNAPSENET_DATA_DIR names it, and $(program_of "$1") is the program"
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
