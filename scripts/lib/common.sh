# shellcheck shell=bash
# What the scripts around engines share: saying, waiting, looking after a process.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }

# Waits for a condition, at most so many times 0.1 s.
within() {
    local tries=$1 n
    shift
    for ((n = 0; n < tries; n++)); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    return 1
}
