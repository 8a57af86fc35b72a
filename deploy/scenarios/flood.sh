#!/usr/bin/env bash
# Read by `deploy/network try`: the last node, whose author is a stranger to the others, shares far more texts than they take from a stranger in a day,
# while they go on: do their own texts still get everywhere in time, are their owners answered, does memory stay small, does nobody ban the wrong one, and
# does the flood end at the budget?
#
# The flooder is a node that keeps to the protocol. What hostile programs do that do not is the matter of the bench `hostile`, which starts its own nodes.
# shellcheck disable=SC2154 # `deploy/network` sets them

# Texts that the honest nodes publish during the flood, all together, and the seconds between them.
TEXTS=20
PACE_SECONDS=0.5
# Notes that a node may hold, and what it takes from a stranger a day: so little that a flood is over soon, and more than the fourth part of the strangers'
# share of the room, so that the setting alone is the limit.
MAX_NOTES=6000
BUDGET=1200
# Four budgets, which the flooder's own node still holds.
FLOOD=4800
MAX_P99_MS=20000
# By the node's word: engines of containers take seconds to start the command that asks, on a busy machine.
MAX_ANSWER_MS=5000
# A node with its model in memory takes a third of that.
MAX_MEMORY_MIB=768

prepare() {
  printf '%s\n' "SYNAPSENET_STORAGE__HNSW_MAX_ELEMENTS=$MAX_NOTES" "SYNAPSENET_ADMISSION__AUTHOR_GRAINS=$BUDGET" >"$dir/environment"
}

# The number that a node tells of itself under a name, in JSON: number_in NAME.
number_in() {
  grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d : -f 2
}

all_arrived() {
  local missing
  read -r missing _ _ < <(spread_figures "$honest" "$TEXTS") && ((missing == 0))
}

# Grains of an author that node N holds.
of_author() {
  { on "$1" authors list --json | grep -F "$2" | number_in grains; } 2>/dev/null || echo 0
}

flood_is_out() {
  [[ "$(held_by "$flooder")" -ge "$FLOOD" && "$(on "$flooder" status --json | number_in pending)" == 0 ]]
}

# Asks each honest node what its owner once noted, and remembers the longest that an answer took, the wrong ones, and the memory of the nodes.
ask_owners() {
  local n said took bytes
  for ((n = 1; n <= honest; n++)); do
    said="$(on "$n" search --limit 1 --json "where is the spare key" 2>&1)" || true
    [[ "$said" == *"flowerpot $n"* ]] || wrong=$((wrong + 1))
    took="$(number_in elapsed_us <<<"$said")" || true
    took=$((${took:-0} / 1000))
    asked=$((asked + 1))
    if ((took > slowest)); then slowest="$took"; fi
    bytes="$(on "$n" status --json 2>/dev/null | number_in memory_bytes)" || bytes=0
    if ((bytes > memory)); then memory="$bytes"; fi
  done
}

play() {
  local n m i flood begin waited limit author peers=() share=0 of_flooder missing median p99 bans=0
  honest=$((nodes - 1)) flooder="$nodes" asked=0 wrong=0 slowest=0 memory=0
  ((honest > 1)) || fail "a flood needs two honest nodes and a third one that floods"
  limit="$(on 1 config show --json | grep -F '"admission.author_grains"' | number_in value)"
  author="$(on "$flooder" id --json | grep -o '"author":"[0-9a-f]*"')"
  for ((n = 1; n <= honest; n++)); do
    peers[n]="$(peer_id "$n")"
    watch_node "$n"
  done
  for ((n = 1; n <= honest; n++)); do
    wait_for "node $n to be watched" is_watched "$n"
    on "$n" add --quiet "The spare key is in the shed, beneath flowerpot $n."
  done
  begin=$SECONDS
  put "$flooder" "$FLOOD" >"$dir/flood.log" 2>&1 &
  flood=$!
  for ((i = 0; i < TEXTS; i++)); do
    on $((i % honest + 1)) add --share --no-wait --quiet "The heron of the pond, text $i"
    ask_owners
    sleep "$PACE_SECONDS"
  done
  waited="$(on "$flooder" status --json | number_in pending)"
  wait "$flood" || fail "the flood ended early: $(tail -n 1 "$dir/flood.log")"
  wait_for "every honest text at every honest node" all_arrived || true
  wait_for "the flood to be out" flood_is_out || fail "the flooder did not get its flood out"
  begin=$((SECONDS - begin))
  # Until the others have compared what they have, more than once, with the flooder: it is then that they are offered what they refused.
  for ((i = 0; i < 12; i++)); do
    sleep 1
    ask_owners
  done
  read -r missing median p99 < <(spread_figures "$honest" "$TEXTS")
  for ((n = 1; n <= honest; n++)); do
    of_flooder="$(of_author "$n" "$author")"
    if ((of_flooder > share)); then share="$of_flooder"; fi
    on "$n" peers --banned --json >"$dir/$n.banned"
    for ((m = 1; m <= honest; m++)); do
      if grep -qF "${peers[m]}" "$dir/$n.banned"; then bans=$((bans + 1)); fi
    done
  done
  ((share > 0)) || fail "the flood reached nobody: nothing was tried"
  echo "  $TEXTS honest texts, half of the arrivals within $median ms; $asked questions"
  echo "  a flood of $begin s; $waited texts of it still waited at the last honest one"
  must "honest texts that did not arrive" "$missing" 0
  must "p99 of published to found" "$p99" "$MAX_P99_MS" ms
  must "questions of owners without their answer" "$wrong" 0
  must "longest that a node took to answer" "$slowest" "$MAX_ANSWER_MS" ms
  must "largest memory of an honest node" $((memory >> 20)) "$MAX_MEMORY_MIB" MB
  must "bans of honest nodes by honest nodes" "$bans" 0
  must "largest share that the flooder has" "$share" "$limit"
}
