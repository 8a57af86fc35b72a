#!/usr/bin/env bash
# Read by `deploy/network try`: how long it takes from publishing a text on one node until every other one finds it.
#
# A text counts as published when its node has stored it, and as found at another when that one has stored it: from then on its words find it. Both
# moments are what the nodes say themselves (`watch`), by one clock. At the end a search on every node shows that this is so.
# shellcheck disable=SC2154 # `deploy/network` sets them

TEXTS=20
# Far more than a node needs on an idle machine: the model reads a text before it is announced, and a busy machine lets it wait.
MAX_P99_MS=10000

all_arrived() {
  local missing
  read -r missing _ _ < <(spread_figures "$nodes" "$TEXTS") && ((missing == 0))
}

play() {
  local n i missing median p99 word
  for ((n = 1; n <= nodes; n++)); do watch_node "$n"; done
  # A watch hears nothing of what came before it.
  for ((n = 1; n <= nodes; n++)); do wait_for "node $n to be watched" is_watched "$n"; done
  word="zebra$(date +%s)"
  for ((i = 0; i < TEXTS; i++)); do
    on $((i % nodes + 1)) add --share --quiet "The $word of the meadow, text $i"
  done
  wait_for "every text everywhere" all_arrived || true
  read -r missing median p99 < <(spread_figures "$nodes" "$TEXTS")
  echo "  $TEXTS texts, $((TEXTS * (nodes - 1))) arrivals; half of them within $median ms"
  must "texts that did not arrive" "$missing" 0
  must "p99 of published to found" "$p99" "$MAX_P99_MS" ms
  missing=0
  for ((n = 1; n <= nodes; n++)); do
    on "$n" search --json --quiet "$word" 2>/dev/null | grep "The $word of the meadow" >/dev/null || missing=$((missing + 1))
  done
  must "nodes that do not find the texts" "$missing" 0
}
