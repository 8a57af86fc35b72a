#!/usr/bin/env bash
# Read by `deploy/network`: nodes as containers of podman or Docker, put up by compose from compose.yaml.
# shellcheck disable=SC2154,SC2034 # `deploy/network` sets them, or reads them

# The user that the image runs as.
IMAGE_USER=10001
# What observes the nodes. It is fetched when it is wanted, unless it is here; GRAFANA_PORT names another port of this machine.
PROMETHEUS_IMAGE="${PROMETHEUS_IMAGE:-docker.io/prom/prometheus:v2.55.1}"
GRAFANA_IMAGE="${GRAFANA_IMAGE:-docker.io/grafana/grafana:11.3.1}"
GRAFANA_PORT="${GRAFANA_PORT:-3000}"
# A rule for what is sent to all, without the lines that it comes and goes by.
MULTICAST=(-d 224.0.0.0/4 -j ACCEPT)
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
  why_not="there is no compose for $engine: docker-compose-plugin or docker-compose, or podman-compose from 1.1 on (pip install podman-compose)"
  compose >/dev/null || return 1
  command -v nsenter >/dev/null || { why_not="nsenter is missing"; return 1; }
  if [[ -z "$image" || "$image" == - ]]; then image=synapsenet:latest; fi
  why_not="there is no image $image: deploy/image makes it, --image names another"
  "$engine" image inspect "$image" >/dev/null 2>&1
}

# The compose program of the engine, a word a line. The podman-compose of Debian 12 knows no addresses of one's own; its docker-compose, which is a
# program beside Docker still, knows all that is needed, profiles since 1.28.
compose() {
  if [[ "$engine" == podman ]] && podman-compose --version 2>/dev/null | grep -E 'version:? +([2-9]|1\.[1-9])' >/dev/null; then
    echo podman-compose
  elif "$engine" compose version >/dev/null 2>&1; then
    printf '%s\n' "$engine" compose
  elif [[ "$engine" == docker ]] && docker-compose version 2>/dev/null | grep -E '[Vv]ersion v?([2-9]|1\.(2[89]|[3-9]))' >/dev/null; then
    echo docker-compose
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

# The image of node N: its own, where it was given one, else that of all.
image_of() {
  cat "$dir/$1.image" 2>/dev/null || echo "$image"
}

# What compose.yaml becomes: a node for each, with its image and its settings. The file `images` says which image each has.
write_compose() {
  local n
  for ((n = 1; n <= nodes; n++)); do image_of "$n"; done >"$dir/images"
  settings_of_nodes | sed 's/^\([A-Z0-9_]*\)=\(.*\)$/      \1: "\2"/' >"$dir/settings.yaml"
  awk -v nodes="$nodes" -v images="$dir/images" -v settings="$dir/settings.yaml" '
    BEGIN {
      while ((getline line <settings) > 0) all = all line "\n"
    }
    /^# node/ { inside = 1; next }
    /^# end/ {
      for (n = 1; n <= nodes; n++) {
        text = block
        getline image <images
        gsub("@IMAGE@", image, text)
        gsub("@N@", n, text)
        printf "%s", text
      }
      inside = 0
      next
    }
    /@SETTINGS@/ { block = block all; next }
    inside { block = block $0 "\n"; next }
    !/^#/
  ' deploy/network.d/compose.yaml |
    sed "s|@ID@|$id|g; s|@DIR@|$dir|g; s|@HERE@|$PWD|g; s|@PROMETHEUS@|$PROMETHEUS_IMAGE|g; s|@GRAFANA@|$GRAFANA_IMAGE|g; s|@PORT@|$GRAFANA_PORT|g" \
      >"$dir/compose.yaml"
}

# Gives node N another image; that of all where none is named. A container has the image that it was made of: where there is one, another takes its
# place, which is to be started.
net_use() {
  if [[ -n "${2:-}" ]]; then
    "$engine" image inspect "$2" >/dev/null 2>&1 || fail "there is no image $2"
    echo "$2" >"$dir/$1.image"
  else
    rm -f "$dir/$1.image"
  fi
  [[ -f "$dir/compose.yaml" ]] || return 0
  net_stop "$1" TERM
  "$engine" rm --force "$id-$1" >/dev/null 2>&1 || true
  write_compose
  composed up --no-start "node-$1" >"$dir/compose.log" 2>&1 || { cat "$dir/compose.log" >&2; fail "compose could not make node $1 anew"; }
}

net_can_skew() {
  why_not="an image has no libfaketime; --driver namespaces can"
  return 1
}

# Starts Prometheus and Grafana.
net_observe() {
  local n targets=()
  for ((n = 1; n <= nodes; n++)); do targets+=("\"node-$n:7718\""); done
  # The figures of a test are looked at soon.
  sed "s|\"synapsenet:7718\"|$(IFS=,; echo "${targets[*]}")|; s|\(_interval:\) 15s|\1 5s|" deploy/observe/prometheus.yml >"$dir/prometheus.yml"
  # Both run as somebody else.
  chmod 644 "$dir/prometheus.yml"
  # With the names of images and the port that are wished now.
  write_compose
  composed --profile observe up -d --no-recreate prometheus grafana >"$dir/observe.log" 2>&1 ||
    { cat "$dir/observe.log" >&2; fail "compose could not start them"; }
  echo "network: Grafana is at http://127.0.0.1:$GRAFANA_PORT, as a viewer without a password"
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
  if [[ "$engine" == docker ]]; then let_multicast_through; fi
}

# From a network that leads nowhere Docker drops what is not for its own addresses, and so multicast, where the kernel has bridges pass the firewall.
# The chain is the one that Docker leaves to its users; where it is missing, Docker keeps no firewall.
let_multicast_through() {
  local bridge
  bridge="br-$(docker network inspect -f '{{.Id}}' "$id" | cut -c 1-12)"
  if iptables -I DOCKER-USER "${MULTICAST[@]}" -i "$bridge" -o "$bridge" 2>/dev/null; then echo "$bridge" >"$dir/bridge"; fi
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
  local n bridge
  if [[ -f "$dir/bridge" ]]; then
    bridge="$(cat "$dir/bridge")"
    iptables -D DOCKER-USER "${MULTICAST[@]}" -i "$bridge" -o "$bridge" 2>/dev/null || true
  fi
  for ((n = 1; n <= nodes; n++)); do "$engine" rm --force "$id-$n" >/dev/null 2>&1 || true; done
  for n in prometheus grafana; do "$engine" rm --force --volumes "$id-$n" >/dev/null 2>&1 || true; done
  composed --profile observe down --volumes >/dev/null 2>&1 || true
  "$engine" network rm "$id" "$id-view" >/dev/null 2>&1 || true
}
