#!/usr/bin/env bash
# Read by `deploy/network`: nodes as containers of podman or Docker, put up by compose from compose.yaml.
# shellcheck disable=SC2154,SC2034 # `deploy/network` sets them, or reads them

# The user that the image runs as.
IMAGE_USER=10001
# How long a node may take to stop in order.
MAX_STOP_SECONDS=60

# Finds an engine that works, a compose program for it, and the image.
net_can() {
  local candidate
  why_not="neither podman nor Docker works here"
  for candidate in podman docker; do
    if "$candidate" info >/dev/null 2>&1; then
      engine="$candidate"
      break
    fi
  done
  [[ -n "$engine" ]] || return 1
  why_not="there is no compose for $engine: docker-compose-plugin, or podman-compose from 1.1 on (pip install podman-compose)"
  compose >/dev/null || return 1
  command -v nsenter >/dev/null || { why_not="nsenter is missing"; return 1; }
  if [[ -z "$image" || "$image" == - ]]; then image=synapsenet:latest; fi
  why_not="there is no image $image: deploy/image makes it, --image names another"
  "$engine" image inspect "$image" >/dev/null 2>&1
}

# The compose program of the engine, a word a line. The podman-compose of Debian 12 knows no addresses of one's own.
compose() {
  if [[ "$engine" == podman ]] && podman-compose --version 2>/dev/null | grep -Eq 'version:? +([2-9]|1\.[1-9])'; then
    echo podman-compose
  elif "$engine" compose version >/dev/null 2>&1; then
    printf '%s\n' "$engine" compose
  else
    return 1
  fi
}

# Runs the compose program on this network.
composed() {
  local words
  mapfile -t words < <(compose)
  "${words[@]}" -p "$id" -f "$dir/compose.yaml" "$@"
}

write_compose() {
  awk -v nodes="$nodes" '
    /^# node/ { inside = 1; next }
    /^# end/ {
      for (n = 1; n <= nodes; n++) {
        text = block
        gsub("@N@", n, text)
        printf "%s", text
      }
      inside = 0
      next
    }
    inside { block = block $0 "\n"; next }
    !/^#/
  ' deploy/network.d/compose.yaml | sed "s|@IMAGE@|$image|g; s|@ID@|$id|g; s|@DIR@|$dir|g" >"$dir/compose.yaml"
}

make_folder() {
  install -d -m 700 -o "$IMAGE_USER" -g "$IMAGE_USER" "$dir/$1"
}

net_make() {
  local n
  # The engine may run as somebody else, who has to get to the folders of the nodes.
  chmod 755 "$dir"
  for ((n = 1; n <= nodes; n++)); do make_folder "$n"; done
  write_compose
  composed up --no-start >"$dir/compose.log" 2>&1 || { cat "$dir/compose.log" >&2; fail "compose could not make the containers"; }
}

net_is_up() {
  [[ "$("$engine" inspect -f '{{.State.Running}}' "$id-$1" 2>/dev/null)" == true ]]
}

net_start() {
  "$engine" start "$id-$1" >/dev/null 2>>"$dir/$1.engine" || fail "node $1 does not start: $(tail -n 1 "$dir/$1.engine")"
}

net_signal() {
  case "$2" in
    STOP) "$engine" pause "$id-$1" >/dev/null ;;
    CONT) "$engine" unpause "$id-$1" >/dev/null ;;
  esac
}

net_stop() {
  net_is_up "$1" || return 0
  if [[ -e "$dir/$1.paused" ]]; then "$engine" unpause "$id-$1" >/dev/null; fi
  if [[ "$2" == KILL ]]; then
    "$engine" kill "$id-$1" >/dev/null 2>&1
    "$engine" wait "$id-$1" >/dev/null 2>&1 || true
  else
    "$engine" stop --time "$MAX_STOP_SECONDS" "$id-$1" >/dev/null 2>&1
  fi
}

net_forget() {
  rm -rf "${dir:?}/$1"
  make_folder "$1"
}

# In the network namespace of node N, with the programs of the host: there are none in the container.
net_in() {
  nsenter --net --target "$("$engine" inspect -f '{{.State.Pid}}' "$id-$1")" "${@:2}"
}

on() {
  "$engine" exec -i "$id-$1" synapsenet "${@:2}"
}

net_logs() {
  "$engine" logs "$id-$1" 2>&1
}

net_shell() {
  echo "network: in the network of node $1, on the host's files: the image has no shell. Its program: $engine exec $id-$1 synapsenet status"
  net_in "$1" "${SHELL:-/bin/bash}"
}

net_end() {
  local n
  for ((n = 1; n <= nodes; n++)); do "$engine" rm --force "$id-$n" >/dev/null 2>&1 || true; done
  composed down >/dev/null 2>&1 || true
  "$engine" network rm "$id" >/dev/null 2>&1 || true
}
