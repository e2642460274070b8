"""Address plan of a scene.

In: a seeded random generator. Out: public addresses from prefixes that real networks announce, private LAN
addresses and MAC addresses. Every address lives only inside the recorder's own network namespaces.
The prefixes were checked against a 2026-06 routing table (origin AS in the comments).
"""

import ipaddress

# Each pool: (network, what a who-is would say). A /24 is drawn inside the network, then a host inside the /24.
HOSTING = [
    ("88.198.32.0/19", "Hetzner Online, AS24940"),
    ("95.216.0.0/17", "Hetzner Online, AS24940"),
    ("104.131.64.0/18", "DigitalOcean, AS14061"),
    ("167.99.0.0/17", "DigitalOcean, AS14061"),
    ("45.76.0.0/17", "Vultr, AS20473"),
    ("149.28.32.0/19", "Vultr, AS20473"),
    ("146.70.32.0/19", "M247, AS9009"),
    ("194.33.44.0/22", "Clouvider, AS62240"),
    ("185.245.80.0/22", "Clouvider, AS62240"),
    ("172.104.32.0/19", "Linode, AS63949"),
    ("51.75.0.0/17", "OVH, AS16276"),
]
HOMES = [
    ("73.158.0.0/16", "Comcast, AS7922"),
    ("98.45.128.0/17", "Comcast, AS7922"),
    ("67.172.0.0/16", "Comcast, AS7922"),
    ("99.60.0.0/16", "AT&T, AS7018"),
    ("107.140.0.0/16", "AT&T, AS7018"),
    ("104.56.0.0/16", "AT&T, AS7018"),
    ("47.34.0.0/16", "Charter, AS20115"),
    ("75.137.0.0/18", "Charter, AS20115"),
    ("97.83.0.0/17", "Charter, AS20115"),
]
FOREIGN_HOMES = [
    ("188.43.128.0/20", "TransTeleCom, AS20485"),
    ("113.5.64.0/18", "China Unicom, AS4837"),
    ("116.31.96.0/20", "Chinanet, AS4134"),
]
BUSINESS = [
    ("12.35.72.0/22", "AT&T business access, AS7018"),
    ("50.247.0.0/17", "Comcast Business, AS7922"),
    ("65.112.64.0/19", "Lumen business access, AS209"),
    ("38.104.128.0/18", "Cogent business access, AS174"),
]
POOLS = {"hosting": HOSTING, "home": HOMES, "foreign_home": FOREIGN_HOMES, "business": BUSINESS}

# Resolver that the access network hands out.
RESOLVERS = {"Comcast": "75.75.75.75", "AT&T": "68.94.156.1", "Charter": "209.18.47.61"}
RESOLVER_ELSEWHERE = "1.1.1.1"

# name -> address, and which web node serves it: "cdn" is near, "origin" is far.
SITES = {
    "en.wikipedia.org": ("208.80.154.224", "cdn"),
    "www.reddit.com": ("151.101.1.140", "cdn"),
    "cdn.jsdelivr.net": ("151.101.65.229", "cdn"),
    "www.nytimes.com": ("151.101.193.164", "cdn"),
    "github.com": ("140.82.112.4", "origin"),
    "news.ycombinator.com": ("209.216.230.240", "origin"),
    "www.kernel.org": ("139.178.84.217", "origin"),
    "outlook.office365.com": ("52.96.165.2", "origin"),
    "teams.microsoft.com": ("52.113.194.132", "origin"),
}
# 2001:db8 would be ignored as documentation space by any intelligence source, so real ones again.
PREFIX6 = {"hosting": "2a01:4f8:c2c", "home": "2601:646:9d00", "business": "2600:1700", "foreign_home": "2408:8207"}
SITES6 = {
    "en.wikipedia.org": "2620:0:861:ed1a::1",
    "www.kernel.org": "2604:1380:4641:c500::1",
    "www.reddit.com": "2a04:4e42::396",
}

# First three octets as registered to the maker.
MAKERS = {
    "laptop": ["f8:b1:56", "38:f3:ab", "74:5d:22"],  # Dell, LCFC (Lenovo)
    "pc": ["00:1b:fc", "00:13:20", "00:19:e3"],  # ASUSTek, Intel, Apple
    "gateway": ["00:14:6c", "00:0b:06", "00:19:e0"],  # Netgear, ARRIS, TP-Link
    "server": ["00:15:c5", "00:12:1e"],  # Dell, Juniper
}
LAN_PREFIXES = ["192.168.1", "192.168.0", "192.168.86", "10.0.0", "192.168.50", "192.168.178", "172.16.4"]


class AddressPlan:
    """Hands out addresses that do not collide within one scene."""

    def __init__(self, rng):
        self._rng = rng
        self._slash24 = set()
        self._lans = list(LAN_PREFIXES)
        rng.shuffle(self._lans)

    def public(self, pool):
        """(address, gateway, owner) in a /24 that no other node of the scene has."""
        while True:
            network, owner = self._rng.choice(POOLS[pool])
            net = ipaddress.ip_network(network)
            slash24 = self._rng.randrange(int(net.network_address) >> 8, (int(net.broadcast_address) >> 8) + 1)
            if slash24 not in self._slash24:
                self._slash24.add(slash24)
                host = self._rng.randrange(11, 250)
                return (
                    str(ipaddress.ip_address((slash24 << 8) + host)),
                    str(ipaddress.ip_address((slash24 << 8) + 1)),
                    owner,
                )

    def lan(self):
        """First three octets of a private /24."""
        return self._lans.pop()

    def lan_hosts(self, count):
        """Distinct last octets, as a home DHCP server hands them out."""
        return self._rng.sample(range(12, 199), count)

    def mac(self, kind):
        """A MAC address of a plausible maker."""
        tail = ":".join(f"{self._rng.randrange(256):02x}" for _ in range(3))
        return f"{self._rng.choice(MAKERS[kind])}:{tail}"


def resolver_of(owner):
    """The resolver an access network's customers get."""
    for isp, resolver in RESOLVERS.items():
        if owner.startswith(isp):
            return resolver
    return RESOLVER_ELSEWHERE
