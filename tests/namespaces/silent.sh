#!/usr/bin/env bash
# Read by `run`, whose names it uses: the scenario of a node that says nothing but what the mesh was told to say.
# shellcheck disable=SC2154,SC2034,SC2004 # `run` sets them, or reads them

# How long the nodes are listened to once they have found what was said. A library that reports home did so within a few seconds of its start.
SILENT_SECONDS=25
WORLD=10.77.0.53

# Sets `as_new` to what runs a command in node N's namespace as somebody who has just moved in: with an empty home, where the folders of the XDG
# specification, the one for temporary files and the working folder are, too, with the sink as resolver, and with nothing else in the environment.
# CI above all: the library reports nothing where it finds that.
set_as_new() {
  local n="$1" home="$work/home-$1"
  mkdir -p "$home"/{here,tmp,cache,config,data,state,runtime}
  # shellcheck disable=SC2016 # for the inner shell
  # A service of the host, reached through a unix socket, could resolve names past the namespace: DNS is left as the only way.
  as_new=(ip netns exec "$id-$n" bash -c '
    set -e
    mount --bind "$1/resolv.conf" /etc/resolv.conf
    if [[ -e /etc/nsswitch.conf ]]; then mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf; fi
    cd "$2/here"
    exec "${@:3}"
  ' as_new "$work" "$home" env -i PATH="$PATH" HOME="$home" TMPDIR="$home/tmp" ORT_DYLIB_PATH="$ORT_DYLIB_PATH" XDG_CACHE_HOME="$home/cache"
    XDG_CONFIG_HOME="$home/config" XDG_DATA_HOME="$home/data" XDG_STATE_HOME="$home/state" XDG_RUNTIME_DIR="$home/runtime")
}

# Whether node N can be heard: it opens a connection and looks up a name, and the sink has to write down both.
is_heard() {
  local n="$1"
  "${as_new[@]}" bash -c "exec 3<>/dev/tcp/$WORLD/443" && "${as_new[@]}" getent ahosts "node-$n.example" &&
    grep -q "^v$n tcp .* -> $WORLD:443$" "$work/sink.log" && grep -q "^v$n udp .*:53 looks up node-$n.example$" "$work/sink.log"
}

# Two nodes, one with the defaults and one with --offline, load the model, remember and find. Neither looks up a name or connects to anything, the
# first calls for others by multicast DNS alone, and neither leaves a file outside its data folder.
silent() {
  local n program arguments
  program="$(realpath "$synapsenet")"
  ORT_DYLIB_PATH="$(realpath "$ORT_DYLIB_PATH")"
  ip -n "$hub" address add "$WORLD/24" dev bridge
  echo "nameserver $WORLD" >"$work/resolv.conf"
  echo "hosts: files dns" >"$work/nsswitch.conf"
  for n in 20 21; do
    make_namespace "$n"
    ip -n "$id-$n" route add default via "$WORLD"
  done
  ip netns exec "$hub" python3 tests/namespaces/sink.py "$work/sink.log" "$WORLD" v20 v21 2>"$work/sink-errors.log" &
  pids[sink]=$!
  # A sink that hears nothing would prove nothing.
  for n in 20 21; do
    set_as_new "$n"
    "${as_new[@]}" true
    wait_for "node $n to be heard" is_heard "$n"
  done

  : >"$work/sink.log"
  touch "$work/begin"
  for n in 20 21; do
    set_as_new "$n"
    arguments=()
    ((n == 20)) || arguments=(--offline)
    "${as_new[@]}" "$program" run --data-dir "$work/$n" "${arguments[@]}" >"$work/$n.log" 2>&1 &
    pids[$n]=$!
    wait_for "node $n to be ready" on "$n" status --json
    "${as_new[@]}" "$program" add --data-dir "$work/$n" --quiet "The spare key of the server room is at Maria's."
    "${as_new[@]}" "$program" search --data-dir "$work/$n" --json "who has the key" >"$work/found" 2>&1
    grep -q Maria "$work/found"
  done
  wait_for "node 20 to call for others" grep -q '^v20 udp 10.77.0.20 -> 224.0.0.251:5353$' "$work/sink.log"
  sleep "$SILENT_SECONDS"
  for n in 20 21; do stop "$n"; done

  grep -vxE 'v20 (udp|igmp) 10\.77\.0\.20 -> 224\.0\.0\.251(:5353)?' "$work/sink.log" >"$work/said" || true
  # A folder in which something was made and removed has changed, too.
  find "$work"/home-* -newer "$work/begin" >"$work/made"
  if [[ -s "$work/said" || -s "$work/made" ]]; then
    echo "namespaces: what left the nodes (v20 has the defaults, v21 is offline), and what changed outside their data folders:" >&2
    sort "$work/said" | uniq -c >&2
    cat "$work/made" >&2
    return 1
  fi
  echo "    nothing but $(wc -l <"$work/sink.log") packets of multicast DNS in $SILENT_SECONDS s, no file outside the data folders"
  end_all
}
