#!/bin/bash
# Builds the fuzz targets and runs each for a while: fuzz/run.sh [SECONDS] [TARGET...]
#
#   fuzz/run.sh                   all targets, 600 seconds each
#   fuzz/run.sh 20                a smoke
#   fuzz/run.sh 3600 connect      one target
#
# SANITIZER=address also looks for memory errors in what we depend on, at a lower speed; our own code asks
# for memory ahead in one unsafe line, which reads nothing.
# What the fuzzer learns stays in fuzz/corpus.
#
# Exit status: 0 when nothing was found, 1 when something was: it is in fuzz/artifacts/TARGET, and the log says how to
# run it again.
set -uo pipefail
cd "$(dirname "$0")" || exit 2

seconds=${1:-600}
shift $(($# > 0))
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(connect frame config exchange hello proxy_protocol websocket)
sanitizer=${SANITIZER:-none}

command -v c++ >/dev/null || { echo "fuzz/run.sh: c++ is missing; try: apt-get install g++" >&2; exit 2; }
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.2 --locked || exit 2
# cargo-fuzz uses compiler flags that stable Rust keeps for itself unless it is told otherwise.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer "$sanitizer" || exit 2

status=0
summary=()
logs=$(mktemp -d) || exit 2
trap 'rm -rf "$logs"' EXIT
for target in "${targets[@]}"; do
    corpus=("corpus/$target" "seeds/$target")
    # Enough for every field and property; a script of 512 bytes makes a stream of up to 64 KB.
    length=512
    if [[ $target == config ]]; then
        corpus+=(../config)
        length=8192
    fi
    [[ $target == websocket ]] && length=2048
    # A hello with post-quantum keys.
    [[ $target == hello ]] && length=4096
    mkdir -p "corpus/$target"
    options=("-max_total_time=$seconds" "-max_len=$length" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1)
    [[ -f dictionaries/$target.dict ]] && options+=("-dict=dictionaries/$target.dict")

    echo "== $target: $seconds seconds"
    # The log without a line for each input that is new to the corpus.
    cargo fuzz run --sanitizer "$sanitizer" "$target" "${corpus[@]}" -- "${options[@]}" 2>&1 |
        tee "$logs/$target" | grep --line-buffered -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|RELOAD) '
    if [[ ${PIPESTATUS[0]} -eq 0 ]]; then
        result="nothing found"
    else
        result="FOUND SOMETHING, see fuzz/artifacts/$target"
        status=1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target" | tail -1)
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$logs/$target" | tail -1)
    summary+=("$(printf '%-14s %14s executions %9s/s  %s' "$target" "${runs:-?}" "${rate:-?}" "$result")")
done

echo
printf '%s\n' "${summary[@]}"
exit $status
