#!/usr/bin/env bash
# Read by `deploy/network try`: every node is stopped in order and started again, one after the other, while texts are published: is one lost, and does a
# node stay away long?
# shellcheck disable=SC2154 # `deploy/network` sets them

# Texts that are published before each restart.
TEXTS=20
MAX_RESTART_MS=20000
MAX_CATCH_UP_SECONDS=90

all_know() {
  local n
  for ((n = 1; n <= nodes; n++)); do
    [[ "$(held_by "$n")" == "$1" ]] || return 1
  done
}

play() {
  local n begin took longest=0 missing=0 wanted=$((TEXTS * nodes))
  ((nodes > 1)) || fail "a rolling restart needs two nodes"
  for ((n = 1; n <= nodes; n++)); do
    put $((n % nodes + 1)) "$TEXTS"
    begin="$(now_ms)"
    restart "$n"
    took=$(($(now_ms) - begin))
    if ((took > longest)); then longest="$took"; fi
  done
  begin="$(now_ms)"
  until all_know "$wanted"; do
    if (($(now_ms) - begin > MAX_CATCH_UP_SECONDS * 1000)); then break; fi
    sleep 0.2
  done
  begin=$(($(now_ms) - begin))
  for ((n = 1; n <= nodes; n++)); do missing=$((missing + wanted - $(held_by "$n"))); done
  must "longest absence of a node" "$longest" "$MAX_RESTART_MS" ms
  must "texts missing at the end" "$missing" 0
  must "from the last restart to nothing missing" "$begin" $((MAX_CATCH_UP_SECONDS * 1000)) ms
}
