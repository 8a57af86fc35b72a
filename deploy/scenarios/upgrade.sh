#!/usr/bin/env bash
# Read by `deploy/network try`: half of the nodes run the program of before, which OLD names (an image, where nodes are containers); the others run the new
# one. They talk; then each of the old ones is stopped, and started with the new program on the same data: is anything lost, while both are there and after?
# Without OLD it is the same program, which tries the restarts alone.
# shellcheck disable=SC2154 # `deploy/network` sets them

# Texts that each node publishes: while both programs are there, and again before each change.
TEXTS=20
MAX_ABSENCE_MS=20000
MAX_CATCH_UP_SECONDS=90

prepare() {
  local n
  old=$(((nodes + 1) / 2))
  if [[ -z "${OLD:-}" ]]; then
    echo "  OLD names no program of before: nodes 1 to $old run the new one, too"
    return
  fi
  for ((n = 1; n <= old; n++)); do net_use "$n" "$OLD"; done
}

# What node N says that it is: its version, and the commit where it knows it.
version_of() {
  on "$1" --version | sed -n 1p
}

agree() {
  local everybody
  mapfile -t everybody < <(seq "$nodes")
  are_same "$1" "${everybody[@]}"
}

# Waits until all nodes hold the same, and prints the milliseconds that it took and the texts that are missing then, summed over the nodes.
settled() {
  local wanted="$1" begin n missing=0
  begin="$(now_ms)"
  until agree "$wanted"; do
    if (($(now_ms) - begin > MAX_CATCH_UP_SECONDS * 1000)); then break; fi
    sleep 0.2
  done
  begin=$(($(now_ms) - begin))
  for ((n = 1; n <= nodes; n++)); do
    ids "$n" >"$dir/$n.ids"
    missing=$((missing + wanted - $(grep -c . "$dir/$n.ids" || true)))
  done
  echo "$begin $missing"
}

play() {
  local n begin took longest=0 missing wanted=$((TEXTS * nodes)) before=() changed=0 lost forgotten=0
  ((nodes > 1)) || fail "an upgrade needs two nodes"
  echo "  nodes 1 to $old: $(version_of 1); the others: $(version_of "$nodes")"
  for ((n = 1; n <= nodes; n++)); do
    before[n]="$(peer_id "$n")"
    put "$n" "$TEXTS"
    # Nobody else has that, and so nobody gives it back.
    on "$n" add --quiet "The spare key is in the shed, beneath flowerpot $n."
  done
  read -r took missing < <(settled "$wanted")
  must "texts missing while both programs are there" "$missing" 0
  must "until nothing is missing" "$took" $((MAX_CATCH_UP_SECONDS * 1000)) ms
  cp "$dir/1.ids" "$dir/mixed"
  for ((n = 1; n <= old; n++)); do
    put $((n % nodes + 1)) "$TEXTS"
    begin="$(now_ms)"
    net_use "$n"
    restart "$n"
    took=$(($(now_ms) - begin))
    if ((took > longest)); then longest="$took"; fi
    wanted=$((wanted + TEXTS))
    [[ "$(peer_id "$n")" == "${before[n]}" ]] || changed=$((changed + 1))
  done
  read -r took missing < <(settled "$wanted")
  lost="$(for ((n = 1; n <= nodes; n++)); do comm -23 "$dir/mixed" "$dir/$n.ids"; done | wc -l)"
  for ((n = 1; n <= old; n++)); do
    on "$n" search --limit 1 --json --quiet "where is the spare key" 2>/dev/null | grep "flowerpot $n" >/dev/null || forgotten=$((forgotten + 1))
  done
  must "longest absence of a node" "$longest" "$MAX_ABSENCE_MS" ms
  must "nodes that became somebody else" "$changed" 0
  must "changed nodes without what they alone knew" "$forgotten" 0
  must "texts of before that a node lost" "$lost" 0
  must "texts missing at the end" "$missing" 0
  must "from the last change to nothing missing" "$took" $((MAX_CATCH_UP_SECONDS * 1000)) ms
}
