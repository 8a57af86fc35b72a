#!/usr/bin/env bash
# Read by `run` and by `deploy/network`: a network of namespaces, joined by a bridge in a namespace of its own, and how nodes are asked and waited for.
# Nothing of the host's network is touched.
#
# Who reads it sets `id`, which all names begin with, `work`, a folder for lists of ids, and `made`, a list that the names are added to; it defines
# `on N COMMAND...`, which runs a command on node N. `hub` and `synapsenet` are set here.
# shellcheck disable=SC2154 # whoever reads it sets them

# How long anything may take before it counts as failed: far more than it needs.
PATIENCE=120

# Sets `synapsenet` to the program: the one named by SYNAPSENET, or the newest that there is; the tests build it under a name of their own.
find_program() {
  local target="${CARGO_TARGET_DIR:-target}" candidate
  synapsenet="${SYNAPSENET:-}"
  if [[ -z "$synapsenet" ]]; then
    for candidate in "$target"/release/synapsenet "$target"/debug/synapsenet "$target"/debug/synapsenet-under-test; do
      if [[ -x "$candidate" && (-z "$synapsenet" || "$candidate" -nt "$synapsenet") ]]; then synapsenet="$candidate"; fi
    done
  fi
  if [[ -z "$synapsenet" ]]; then
    cargo build --locked --workspace --bins
    synapsenet="$target/debug/synapsenet"
  fi
  export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/.onnxruntime/libonnxruntime.so}"
}

# Makes the bridge. Fails where no namespaces can be made.
make_hub() {
  hub="$id-hub"
  ip netns add "$hub" 2>/dev/null || return 1
  made+=("$hub")
  ip -n "$hub" link add bridge type bridge
  ip -n "$hub" link set bridge up
}

# Makes the namespace of a node: 10.77.0.N, one end of a veth pair, the other at the bridge as vN.
make_namespace() {
  local n="$1" namespace="$id-$1"
  ip netns add "$namespace"
  made+=("$namespace")
  ip -n "$hub" link add "v$n" type veth peer name eth0 netns "$namespace"
  ip -n "$hub" link set "v$n" master bridge up
  ip -n "$namespace" address add "10.77.0.$n/24" dev eth0
  ip -n "$namespace" link set lo up
  ip -n "$namespace" link set eth0 up
  # For multicast DNS.
  ip -n "$namespace" route add 224.0.0.0/4 dev eth0
}

# Waits until a command succeeds.
wait_for() {
  local what="$1" deadline=$((SECONDS + PATIENCE))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      echo "${0##*/}: waited $PATIENCE s in vain for $what" >&2
      return 1
    fi
    sleep 0.2
  done
}

# The ids of all shared grains of node N.
ids() {
  on "$1" list --all --retractions --json |
    python3 -c 'import json, sys; print("\n".join(sorted(g["id"] for g in map(json.loads, sys.stdin) if g["shared"])))'
}

# Whether these nodes hold the same shared grains, so many of them.
are_same() {
  local count="$1" first="" n
  shift
  for n in "$@"; do
    ids "$n" >"$work/$n.ids"
    [[ -n "$first" ]] || first="$n"
    cmp -s "$work/$first.ids" "$work/$n.ids" || return 1
  done
  [[ "$(grep -c . "$work/$first.ids")" == "$count" ]]
}

has_peers() {
  [[ "$(on "$1" peers --json | grep -c peer_id)" -ge "$2" ]]
}

# Adds so many shared texts to node N.
share() {
  local n="$1" count="$2" what="$3" i
  for ((i = 0; i < count; i++)); do echo "$what $i of node $n."; done | on "$n" add --share --no-wait --lines --quiet -
}

# The id of node N in the mesh.
peer_id() {
  on "$1" id --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["peer_id"])'
}
