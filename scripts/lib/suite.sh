# shellcheck shell=bash
# Programs of another Debian suite, from its packages alone: unpacked once, shared by every start.
# MINIFY_MIRROR: where Debian packages come from. XDG_CACHE_HOME: below it they are kept.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

suite_packages() {
    case $1 in
        docker) echo docker.io,iptables ;;
        podman) echo podman,conmon,crun,runc,netavark,aardvark-dns,nftables,iptables ;;
    esac
}

# suite_root KIND SUITE: prints the folder with the suite's files, unpacked now if it must be.
suite_root() {
    local cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/minify-engines name=$2-$1
    mkdir -p "$cache" || return 1
    # The lock is held by this subshell and what it calls, and let go however they end.
    (
        flock 9
        [ ! -d "$cache/$name" ] || exit 0
        rm -rf "$cache/new-$name" # what a killed run left: nobody else works on it now
        unpack "$1" "$2" "$cache/new-$name" && mv -T "$cache/new-$name" "$cache/$name"
    ) 9>"$cache/$name.lock" || return 1
    echo "$cache/$name"
}

# unpack KIND SUITE FOLDER
unpack() {
    local log=$3.log
    command -v mmdebstrap >/dev/null || {
        say "mmdebstrap is missing (apt-get install mmdebstrap)"
        return 1
    }
    say "unpacking $1 of Debian $2 (once; kept in ${3%/*})"
    extract "$@" >"$log" 2>&1 && return 0
    if grep -qE 'NO_PUBKEY|not signed|EXPKEYSIG|keyring.*(not exist|missing)' "$log"; then
        say "this machine's archive keys do not vouch for Debian $2: taking it UNVERIFIED"
        rm -rf "$3"
        extract "$@" '[trusted=yes] ' >"$log" 2>&1 && return 0
    fi
    say "cannot unpack $1 of Debian $2; the end of what mmdebstrap said:"
    tail -n 10 "$log" >&2
    rm -rf "$3"
    return 1
}

# extract KIND SUITE FOLDER [OPTIONS-OF-THE-SOURCE]
# Extracted, never configured: no script of a package runs, nothing is started.
extract() {
    local mirror=${MINIFY_MIRROR:-http://deb.debian.org/debian}
    mmdebstrap --variant=extract --include="$(suite_packages "$1")" --keyring="$keyring" \
        --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='path-exclude=/usr/share/*' \
        --dpkgopt='path-include=/usr/share/containers/*' "$2" "$3" "deb ${4:-}$mirror $2 main" \
        </dev/null || return 1
    # Where this machine has no iptables the suite's is called, without its alternatives.
    [ -e /usr/sbin/iptables ] || ln -sf xtables-nft-multi "$3/usr/sbin/iptables"
}
