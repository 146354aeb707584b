#!/usr/bin/env bash
# Tells all that mosquitto_pub and mosquitto_sub can see of a broker: usage: mosquitto_clients.sh HOST PORT
#
# The transcripts of two runs, against a broker and against a proxy before it, are to be compared:
# equal output means that the clients could not tell which was which.

set -euo pipefail

if [[ $# -ne 2 ]]; then
    sed -n '2s/.*: usage/usage/p' "$0" >&2
    exit 2
fi
readonly at=(-h "$1" -p "$2")
readonly patience=20
readonly scratch=$(mktemp -d)
subscriber=
trap 'rm -rf "$scratch"; [[ -z $subscriber ]] || kill "$subscriber" 2>/dev/null || true' EXIT

fail() {
    echo "${scenario:-}: $*" >&2
    exit 1
}

# Starts a subscriber, whose lines can be read from descriptor 3, and returns when it has its SUBACK.
listen() {
    # Line by line, for else nothing would be seen of it before its end.
    exec 3< <(exec stdbuf -oL mosquitto_sub "${at[@]}" -W "$patience" -d "$@" 2>&1)
    subscriber=$!
    local line
    while read -r -t "$patience" -u 3 line; do
        echo "  $line"
        [[ $line != Subscribed* ]] || return 0
    done
    fail "no SUBACK"
}

# Tells the rest of what the subscriber says, up to its end.
heard() {
    local line
    while read -r -t "$patience" -u 3 line; do
        echo "  $line"
    done
    exec 3<&-
    wait "$subscriber" || fail "mosquitto_sub ended with $?"
    subscriber=
}

publish() {
    timeout "$patience" mosquitto_pub "${at[@]}" -d "$@" 2>&1 | sed 's/^/  /' || fail "mosquitto_pub failed"
}

every_quality_of_service() {
    local qos
    for qos in 0 1 2; do
        echo "  qos $qos"
        listen -V "$v" -i "sh-$v-sub" -q "$qos" -t "$topic" -C 1 -F '%t qos %q retained %r: %p'
        publish -V "$v" -i "sh-$v-pub" -q "$qos" -t "$topic" -m "hello at $qos"
        heard
    done
}

retained() {
    publish -V "$v" -i "sh-$v-pub" -q 1 -t "$topic" -r -m kept
    listen -V "$v" -i "sh-$v-sub" -q 1 -t "$topic" -C 2 -F 'retained %r: %p'
    # While that one listens: in version 5 the PUBACK tells whether anybody does.
    publish -V "$v" -i "sh-$v-pub" -q 1 -t "$topic" -r -n
    heard
    # Anything retained would come before what is published after the SUBACK.
    listen -V "$v" -i "sh-$v-late" -q 1 -t "$topic" -C 1 -F 'retained %r: %p'
    publish -V "$v" -i "sh-$v-pub" -q 1 -t "$topic" -m fresh
    heard
}

# Kills a client that has a will while another one listens to it.
will() {
    listen -V "$v" -i "sh-$v-mortal" -t "$topic/unused" \
        --will-topic "$topic" --will-payload gone --will-qos 1
    local mortal=$subscriber
    exec 3<&-
    listen -V "$v" -i "sh-$v-sub" -q 1 -t "$topic" -C 1 -F '%t qos %q retained %r: %p'
    kill -KILL "$mortal"
    # Not the shell's business to report that it was killed.
    wait "$mortal" 2>/dev/null || true
    heard
}

# By a session that outlives its connection, so that the payload alone is on the standard output.
file_payload() {
    local session=(-V "$v" -i "sh-$v-file" -q 1 -t "$topic")
    seq 200000 >"$scratch/sent"
    timeout "$patience" mosquitto_sub "${at[@]}" "${session[@]}" -c -E
    publish -V "$v" -i "sh-$v-pub" -q 1 -t "$topic" -f "$scratch/sent"
    timeout "$patience" mosquitto_sub "${at[@]}" "${session[@]}" -c -C 1 -N >"$scratch/received"
    # Ends the session.
    timeout "$patience" mosquitto_sub "${at[@]}" "${session[@]}" -E
    cmp "$scratch/sent" "$scratch/received" || fail "the payload was changed"
    echo "  sha256 $(sha256sum <"$scratch/received" | cut -d' ' -f1)"
}

properties() {
    listen -V 5 -i sh-5-sub -q 1 -t "$topic" -C 1 -D subscribe subscription-identifier 42 \
        -F 'type %C, correlation %D, format %F, user %P, response %R, subscription %S: %p'
    publish -V 5 -i sh-5-pub -q 1 -t "$topic" -m body \
        -D publish content-type text/plain -D publish correlation-data data \
        -D publish payload-format-indicator 1 -D publish response-topic back \
        -D publish user-property key one -D publish user-property key two
    heard
}

readonly scenarios=(every_quality_of_service retained will file_payload)
for v in 31 311 5; do
    for scenario in "${scenarios[@]}" $([[ $v != 5 ]] || echo properties); do
        topic=real/sh/$scenario/$v
        echo "$scenario ($v)"
        "$scenario"
    done
done
