# shellcheck shell=bash
# The bridge, the addresses and the firewall rules of one engine. Sets and reads: bridge network forwarding.
# shellcheck disable=SC2154  # they are the caller's

# Where the networks that are made later get their addresses.
pool=10.218.0.0/16

# A /24 that no route of this machine uses.
free_network() {
    local third routes
    routes=$(ip -4 route show table all)
    for third in {201..250}; do
        case $routes in
            *"10.219.$third."*) ;;
            *) echo "10.219.$third" && return 0 ;;
        esac
    done
    return 1
}

# The engine must not touch the firewall, whose chains it would share with another engine; these
# rules, which name our bridge and the addresses of networks that are made later (a compose file's),
# are all that containers need to reach each other and the outside.
firewall() {
    command -v iptables >/dev/null || return 0
    iptables -t nat "$1" POSTROUTING -s "$network.0/24" ! -o "$bridge" -j MASQUERADE || true
    iptables "$1" FORWARD -i "$bridge" -j ACCEPT || true
    iptables "$1" FORWARD -o "$bridge" -j ACCEPT || true
    iptables -t nat "$1" POSTROUTING -s "$pool" ! -d "$pool" -j MASQUERADE || true
    iptables "$1" FORWARD -s "$pool" -j ACCEPT || true
    iptables "$1" FORWARD -d "$pool" -j ACCEPT || true
} 2>/dev/null

make_network() {
    network=$(free_network)
    # A bridge without an address of its own takes the lowest of its ports', and changes it when
    # that container ends: the others then talk to nobody until their ARP entries have aged.
    # shellcheck disable=SC2086  # the parts of the network's number are words here
    ip link add name "$bridge" address "$(printf '02:42:%02x:%02x:%02x:01' ${network//./ })" type bridge
    ip addr add "$network.1/24" dev "$bridge"
    ip link set "$bridge" up
    forwarding=$(cat /proc/sys/net/ipv4/ip_forward)
    echo 1 >/proc/sys/net/ipv4/ip_forward
    firewall -I
}

# Podman removes a bridge with its last container, and with it the route that keeps our addresses
# from being given to another engine: a port that stays keeps the bridge.
hold_bridge() {
    ip link add name "${bridge}a" type veth peer name "${bridge}b"
    ip link set "${bridge}a" master "$bridge"
}

remove_network() {
    [ -n "$network" ] || return 0
    firewall -D
    ip link delete "${bridge}a" 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    # Another engine that was started meanwhile may count on it.
    if [ "$forwarding" = 0 ] && ! pidof dockerd >/dev/null; then
        echo 0 >/proc/sys/net/ipv4/ip_forward
    fi
}
