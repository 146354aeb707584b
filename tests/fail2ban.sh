#!/usr/bin/env bash
# Shows the log of a real proxy, and of strangers who want others banned by their names, to the real fail2ban-regex.
# usage: tests/fail2ban.sh [MQTT-BOUNCER]    (default: target/debug/mqtt-bouncer)
#
# Needs fail2ban and python3. Opens ports on loopback addresses only.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly binary=${1:-target/debug/mqtt-bouncer}
readonly filter=contrib/fail2ban/filter.d/mqtt-bouncer.conf
[[ -x $binary ]] || { echo "$binary is not there; build it with: cargo build --locked" >&2; exit 1; }

scratch=$(mktemp -d)
readonly scratch
trap 'rm -rf "$scratch"' EXIT

failed=0

# Holds whom fail2ban finds in a log, in this mode, to whom it is to find.
finds() { # log, mode, expected
    local found
    found=$(fail2ban-regex --out id "$1" "$filter[mode=$2]" | sort | tr '\n' ' ')
    if [[ $found == "$3 " || $found$3 == "" ]]; then
        printf 'ok    %s, mode %s: %s\n' "$(basename "$1")" "$2" "${3:-nobody}"
    else
        printf 'WRONG %s, mode %s\n  found    %s\n  expected %s\n' "$(basename "$1")" "$2" "$found" "$3" >&2
        failed=1
    fi
}

# As the journal hands a line over: host and program first, the date inside.
as_journal() { # log
    sed 's/^/edge-1 mqtt-bouncer[4711]: /' "$1" >"$1.journal"
}

# 127.0.0.2 to .7 and ::1 are banned, and everybody else is not (tests/fail2ban/clients.py).
readonly refused="127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 127.0.0.6 127.0.0.7 ::1"
# Of what the proxy bans by itself: the addresses and networks, and not the names.
readonly banned="2001:db8:1::/48 2001:db8::7 203.0.113.0/24 203.0.113.7"

for format in text json; do
    log=$scratch/$format.log
    python3 tests/fail2ban/clients.py "$binary" "$format" "$scratch" >"$log"
    cp "tests/fail2ban/banned.$format" "$scratch/banned.$format"
    as_journal "$log"
    as_journal "$scratch/banned.$format"
    for way in "" .journal; do
        finds "$log$way" refused "$refused"
        finds "$log$way" banned ""
        finds "$scratch/banned.$format$way" banned "$banned"
        finds "$scratch/banned.$format$way" refused ""
    done
    cat "$log" "$scratch/banned.$format" >"$scratch/both.$format"
    finds "$scratch/both.$format" all "$(printf '%s\n' $refused $banned | sort | tr '\n' ' ' | sed 's/ $//')"
done

# The date of a line is read as what it is, UTC.
for format in text json; do
    rows=$(TZ=Asia/Tokyo fail2ban-regex --out row "tests/fail2ban/banned.$format" "$filter")
    if [[ $rows != *1795256880,* ]]; then
        printf 'WRONG date in banned.%s\n%s\n' "$format" "$rows" >&2
        failed=1
    fi
done
exit "$failed"
