#!/usr/bin/env bash
# Read by `deploy/network try`: the network is cut into halves that go on by themselves; after it is healed, how long until nothing is missing anywhere?
# shellcheck disable=SC2154 # `deploy/network` sets them

# Texts that each node publishes during the cut.
TEXTS=10
# A cut lasts so long at least that nodes give up their lines: a short one heals by itself, as packets are sent again.
CUT_SECONDS=45
# Nodes find each other again when they call for others or compare what they have; both take turns of seconds, and many nodes share a processor.
MAX_HEAL_SECONDS=90

# How many texts are missing, summed over the nodes $2 and so on, each of which should hold $1.
missing_of() {
  local wanted="$1" n sum=0
  shift
  for n in "$@"; do
    sum=$((sum + wanted - $(held_by "$n")))
  done
  echo "$sum"
}

none_is_missing() {
  [[ "$(missing_of "$@")" == 0 ]]
}

play() {
  local n left=() right=() cut=$SECONDS healed missing=0
  ((nodes > 1)) || fail "a cut needs two nodes"
  for ((n = 1; n <= nodes; n++)); do
    if ((n <= (nodes + 1) / 2)); then left+=("$n"); else right+=("$n"); fi
  done
  partition "$(IFS=,; echo "${left[*]}")" / "$(IFS=,; echo "${right[*]}")"
  for ((n = 1; n <= nodes; n++)); do put "$n" "$TEXTS"; done
  wait_for "the left side to agree" none_is_missing $((TEXTS * ${#left[@]})) "${left[@]}" || true
  wait_for "the right side to agree" none_is_missing $((TEXTS * ${#right[@]})) "${right[@]}" || true
  must "texts missing on their own side" "$(($(missing_of $((TEXTS * ${#left[@]})) "${left[@]}") + $(missing_of $((TEXTS * ${#right[@]})) "${right[@]}")))" 0
  if ((SECONDS < cut + CUT_SECONDS)); then sleep $((cut + CUT_SECONDS - SECONDS)); fi
  heal
  healed="$(now_ms)"
  until none_is_missing $((TEXTS * nodes)) "${left[@]}" "${right[@]}"; do
    if (($(now_ms) - healed > MAX_HEAL_SECONDS * 1000)); then break; fi
    sleep 0.2
  done
  healed=$(($(now_ms) - healed))
  missing="$(missing_of $((TEXTS * nodes)) "${left[@]}" "${right[@]}")"
  must "texts missing after the cut was healed" "$missing" 0
  must "from healed to nothing missing" "$healed" $((MAX_HEAL_SECONDS * 1000)) ms
}
