#!/usr/bin/env bash
# Read by `deploy/network try`: the last node comes when the others have talked for long; how long until it knows what they know?
# shellcheck disable=SC2154 # `deploy/network` sets them

# Texts that the others have published by then, all together.
TEXTS=500
MAX_CATCH_UP_SECONDS=60

knows_all() {
  [[ "$(held_by "$1")" == "$TEXTS" ]]
}

play() {
  local n begin late="$nodes"
  ((nodes > 1)) || fail "a late joiner needs somebody to join"
  kill_node "$late"
  net_forget "$late"
  put 1 "$TEXTS"
  for ((n = 1; n < nodes; n++)); do wait_for "node $n to know all" knows_all "$n"; done
  begin="$(now_ms)"
  restart "$late"
  until knows_all "$late"; do
    if (($(now_ms) - begin > MAX_CATCH_UP_SECONDS * 1000)); then break; fi
    sleep 0.2
  done
  begin=$(($(now_ms) - begin))
  must "texts missing at the late joiner" $((TEXTS - $(held_by "$late"))) 0
  must "from its start to nothing missing" "$begin" $((MAX_CATCH_UP_SECONDS * 1000)) ms
}
