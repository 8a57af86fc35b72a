#!/usr/bin/env bash
# Read by `deploy/network`: what goes wrong with the lines between nodes, and with their clocks. What goes wrong with lines is a rule of nft, or a
# queue of tc, in the network namespace of a node, so that it is the same for every driver; what is in force is kept in files, so that a node that
# starts anew gets it again.
#
# A clock is moved by libfaketime, preloaded into the node's program: a time namespace moves only the clocks that count from the start of the machine, and
# not the one that tells the date. Those stay as they are here, and so do the dates of files. An image has no such library: driver namespaces alone.
# shellcheck disable=SC2154 # `deploy/network` sets them

# The largest delay: above it, connections are given up.
MAX_DELAY_MS=5000
# The farthest that a clock is off: about ten years.
MAX_SKEW_SECONDS=315360000
# The slowest line: a packet of 1500 bytes takes a second and a half on it. And one that is as good as none.
MIN_RATE_KBIT=8
MAX_RATE_KBIT=10000000
# How long what was sent waits at most for its turn on a slow line, and how many bytes may wait even where that takes longer: ten packets.
MAX_QUEUED_MS=250
MIN_QUEUED_BYTES=15000

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

# What is in force of a fault that is a number; 0 where there is none.
strength_of() {
  cat "$dir/$1" 2>/dev/null || echo 0
}

# Puts in force at node N what is to go wrong with its lines.
apply_line() {
  local n="$1" away loss
  net_is_up "$n" || return 0
  away="$(away_from "$n")"
  loss="$(strength_of loss)"
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
  apply_queues "$n" "$(strength_of delay)" "$(strength_of rate)"
}

# Each node's packets wait before they leave, and leave no faster than the line carries them. A kernel without netem has tbf at least, which lets them
# wait in a line of few bytes a second; where a rate was asked for, too, the slower of both lines holds.
apply_queues() {
  local n="$1" delay="$2" rate="$3" slow
  if ((delay > 0)) && net_in "$n" tc qdisc replace dev eth0 root handle 1: netem delay "${delay}ms" limit 10000 2>/dev/null; then
    if ((rate > 0)); then
      make_slow "$n" $((rate * 1000)) parent 1:1
    else
      net_in "$n" tc qdisc del dev eth0 parent 1:1 2>/dev/null || true
    fi
    return
  fi
  slow=$((rate * 1000))
  if ((delay > 0)); then
    echo tbf >"$dir/delay-by"
    # So that the largest packet takes the time that was asked for.
    if ((slow == 0 || slow > 1500 * 8 * 1000 / delay)); then slow=$((1500 * 8 * 1000 / delay)); fi
  fi
  if ((slow > 0)); then
    make_slow "$n" "$slow" root
  else
    net_in "$n" tc qdisc del dev eth0 root 2>/dev/null || true
  fi
}

# Lets no more than so many bits a second leave node N. What follows says where in the tree of queues.
make_slow() {
  local n="$1" bits="$2" queued=$(($2 * MAX_QUEUED_MS / 8000)) burst
  if ((queued < MIN_QUEUED_BYTES)); then queued="$MIN_QUEUED_BYTES"; fi
  # A packet at least, and ten milliseconds' worth, since a fast line is not looked at for each packet.
  burst=$((bits / 800))
  if ((burst < 1600)); then burst=1600; fi
  net_in "$n" tc qdisc replace dev eth0 "${@:3}" tbf rate "${bits}bit" burst "$burst" limit $((queued + burst))
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

rate() {
  check_number "${1:-}" 0 "$MAX_RATE_KBIT" "a number of kbit a second"
  ((10#$1 == 0 || 10#$1 >= MIN_RATE_KBIT)) || fail "a line carries $MIN_RATE_KBIT kbit a second at least; 0 ends the fault"
  command -v tc >/dev/null || fail "tc is missing: apt-get install iproute2"
  if ((10#$1 == 0)); then rm -f "$dir/rate"; else echo "$((10#$1))" >"$dir/rate"; fi
  apply_lines
  if ((10#$1 > 0)); then echo "network: what a node sends leaves at $((10#$1)) kbit a second, by tbf"; fi
}

# skew NODE SECONDS: the clock of a node, which starts anew for that, is so far ahead, or behind where SECONDS begins with a minus.
skew() {
  local n="${1:-}" seconds="${2:-}"
  check_node "$n"
  [[ "$seconds" =~ ^-?[0-9]{1,9}$ ]] || fail "\"$seconds\" is not a number of seconds"
  check_number "${seconds#-}" 0 "$MAX_SKEW_SECONDS" "a number of seconds"
  # With its sign: a number without one would be a date.
  if [[ "$seconds" != -* ]]; then seconds="+$seconds"; fi
  net_can_skew || skip "the clock of a node cannot be moved: $why_not"
  if ((10#${seconds#[+-]} == 0)); then rm -f "$dir/$n.skew"; else echo "$seconds" >"$dir/$n.skew"; fi
  restart "$n"
  [[ ! -e "$dir/$n.skew" ]] || net_is_skewed "$n" || fail "the clock of node $n did not move: its program does not take what is preloaded"
  if [[ -e "$dir/$n.skew" ]]; then echo "network: the clock of node $n is off by $seconds s, by libfaketime"; fi
}

tell_faults() {
  local told="" n
  if [[ -f "$dir/partition" ]]; then told+="cut: $(tr '\n' '/' <"$dir/partition" | sed 's|/$||'); "; fi
  if [[ -f "$dir/loss" ]]; then told+="loss $(cat "$dir/loss") %; "; fi
  if [[ -f "$dir/delay" ]]; then told+="delay $(cat "$dir/delay") ms; "; fi
  if [[ -f "$dir/rate" ]]; then told+="rate $(cat "$dir/rate") kbit/s; "; fi
  for ((n = 1; n <= nodes; n++)); do
    if [[ -f "$dir/$n.skew" ]]; then told+="clock of $n off by $(cat "$dir/$n.skew") s; "; fi
  done
  told="${told%; }"
  echo "${told:-no faults}"
}
