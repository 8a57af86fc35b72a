#!/usr/bin/env bash
# Read by `deploy/network`: what goes wrong with the lines between nodes. Everything is a rule of nft, or a queue of tc, in the network namespace of a
# node, so that it is the same for every driver; what is in force is kept in files, so that a node that starts anew gets it again.
# shellcheck disable=SC2154 # `deploy/network` sets them

# The largest delay: above it, connections are given up.
MAX_DELAY_MS=5000

# Whether nodes A and B have a line to each other in this topology.
are_neighbours() {
  local a="$1" b="$2"
  case "$topology" in
    line) ((a - b == 1 || b - a == 1)) ;;
    star) ((a == 1 || b == 1)) ;;
    mesh) true ;;
  esac
}

# The side of the cut that node N is on; nodes that no side names hear everybody.
side_of() {
  local n="$1" side=0 line
  [[ -f "$dir/partition" ]] || return 0
  while read -r line; do
    side=$((side + 1))
    if [[ " $line " == *" $n "* ]]; then echo "$side"; fi
  done <"$dir/partition"
}

# The addresses that node N does not hear, with commas between them.
away_from() {
  local n="$1" m mine other list=()
  mine="$(side_of "$n")"
  for ((m = 1; m <= nodes; m++)); do
    ((m != n)) || continue
    other="$(side_of "$m")"
    if ! are_neighbours "$n" "$m" || [[ -n "$mine" && -n "$other" && "$mine" != "$other" ]]; then list+=("10.77.0.$m"); fi
  done
  (IFS=,; echo "${list[*]}")
}

# Puts in force at node N what is to go wrong with its lines.
apply_line() {
  local n="$1" away loss=0 delay=0
  net_is_up "$n" || return 0
  away="$(away_from "$n")"
  if [[ -f "$dir/loss" ]]; then loss="$(cat "$dir/loss")"; fi
  if [[ -f "$dir/delay" ]]; then delay="$(cat "$dir/delay")"; fi
  # In one transaction. Nodes speak IPv4 here, so that one rule holds for all that they say.
  {
    echo 'table inet line { }'
    echo 'delete table inet line'
    echo 'table inet line {'
    [[ -z "$away" ]] || echo "  set away { type ipv4_addr; elements = { $away } }"
    echo '  chain in { type filter hook input priority 0; iifname "eth0" meta nfproto ipv6 drop'
    [[ -z "$away" ]] || echo '    ip saddr @away drop'
    ((loss == 0)) || echo "    iifname \"eth0\" numgen random mod 100 < $loss counter drop"
    echo '  }'
    echo '  chain out { type filter hook output priority 0; oifname "eth0" meta nfproto ipv6 drop'
    [[ -z "$away" ]] || echo '    ip daddr @away drop'
    echo '  }'
    echo '}'
  } | net_in "$n" nft -f -
  apply_delay "$n" "$delay"
}

# Each node's packets wait before they leave. A kernel without netem has tbf at least, which lets them wait in a line of few bytes a second.
apply_delay() {
  local n="$1" delay="$2"
  if ((delay == 0)); then
    net_in "$n" tc qdisc del dev eth0 root 2>/dev/null || true
  elif ! net_in "$n" tc qdisc replace dev eth0 root netem delay "${delay}ms" limit 10000 2>/dev/null; then
    # So that the largest packet takes the time that was asked for. A quarter of a second's worth may wait.
    net_in "$n" tc qdisc replace dev eth0 root tbf rate $((1500 * 8 * 1000 / delay))bit burst 1600 latency $((delay * 50))ms
    echo tbf >"$dir/delay-by"
  fi
}

apply_lines() {
  local n
  for ((n = 1; n <= nodes; n++)); do apply_line "$n"; done
}

# partition 1,2 / 3: sides with a slash between them.
partition() {
  local side n sides
  sides="$(tr / '\n' <<<"$*" | tr ',' ' ')"
  (($(grep -c '[0-9]' <<<"$sides") > 1)) || fail "partition takes two sides or more: partition 1,2 / 3"
  while read -r side; do
    for n in $side; do check_node "$n"; done
  done <<<"$sides"
  sed 's/^ */ /; s/ *$/ /' <<<"$sides" >"$dir/partition"
  apply_lines
}

heal() {
  rm -f "$dir/partition"
  apply_lines
}

loss() {
  check_number "${1:-}" 0 90 "a number of percent"
  if ((10#$1 == 0)); then rm -f "$dir/loss"; else echo "$((10#$1))" >"$dir/loss"; fi
  apply_lines
  if ((10#$1 > 0)); then echo "network: $1 of 100 packets are lost, by nft"; fi
}

delay() {
  check_number "${1:-}" 0 "$MAX_DELAY_MS" "a number of milliseconds"
  command -v tc >/dev/null || fail "tc is missing: apt-get install iproute2"
  rm -f "$dir/delay-by"
  if ((10#$1 == 0)); then rm -f "$dir/delay"; else echo "$((10#$1))" >"$dir/delay"; fi
  apply_lines
  ((10#$1 > 0)) || return 0
  if [[ -e "$dir/delay-by" ]]; then
    echo "network: this kernel has no netem: a slow line (tbf) instead, on which a packet of 1500 bytes takes $1 ms, and what comes behind it waits"
  else
    echo "network: each packet leaves $1 ms later, by netem"
  fi
}

tell_faults() {
  local told=""
  if [[ -f "$dir/partition" ]]; then told+="cut: $(tr '\n' '/' <"$dir/partition" | sed 's|/$||'); "; fi
  if [[ -f "$dir/loss" ]]; then told+="loss $(cat "$dir/loss") %; "; fi
  if [[ -f "$dir/delay" ]]; then told+="delay $(cat "$dir/delay") ms; "; fi
  told="${told%; }"
  echo "${told:-no faults}"
}
