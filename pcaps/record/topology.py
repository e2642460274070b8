"""The internet of a scene: machines, home networks, access links.

In: an `AddressPlan` and a seeded generator. Out: nodes joined by delay lines, with addresses, routes, NAT and DNS.

    laptop ─┐                                ┌─ vps        (hosting prefix)
    pc ─────┴ gateway (NAT) ── internet ─────┼─ corp       (business prefix)
                capture: lan0    one hop     ├─ web sites, near and far
                                             └─ resolver of the access network

Every line is a `delayline` process: LAN legs 0.2–2 ms, access legs 4–45 ms, all drawn by seed. None of the nodes has a
link to the machine's own network.
"""
import dataclasses
import pathlib
import subprocess

import addresses
from node import Node, SceneError

HERE = pathlib.Path(__file__).parent
NO_OFFLOAD = "tso off gso off gro off lro off tx off rx off sg off"
LOCAL_SUFFIXES = ["com", "net", "org", "io", "arpa", "example", "local"]
# Cubic is the kernel default of nearly every machine; a few run BBR.
CONGESTION_CONTROLS = ["cubic", "cubic", "cubic", "bbr"]


@dataclasses.dataclass
class Link:
    """Character of one line; delays one way, in milliseconds."""
    delay_ms: float
    jitter_ms: float
    mbit: float
    loss_permille: float
    hops: int

    def arguments(self):
        """For the delayline program."""
        return [f"{self.delay_ms:.2f}", f"{self.jitter_ms:.2f}", f"{self.mbit:.0f}", f"{self.loss_permille:.2f}", str(self.hops)]

    def summary(self):
        """For the truth file."""
        return f"{self.delay_ms:.1f} ms one way, jitter {self.jitter_ms:.1f} ms, {self.mbit:.0f} Mbit/s, loss {self.loss_permille:.2f} per mille, {self.hops} hops"


def build_delayline(directory):
    """Compiles delayline.c; returns the program."""
    program = pathlib.Path(directory, "delayline")
    source = HERE / "delayline.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["gcc", "-O2", "-Wall", "-o", program, source, "-lm"], check=True)
    return program


class Lan:
    """A home or office network behind a NAT gateway."""

    def __init__(self, gateway, prefix, public, hosts):
        self.gateway, self.prefix, self.public, self.hosts = gateway, prefix, public, hosts

    def __getitem__(self, name):
        return self.hosts[name]


class Network:
    """Builds nodes and lines; `close` ends everything."""

    def __init__(self, rng, directory, delayline, ipv6=False):
        self.rng, self.directory, self.delayline, self.ipv6 = rng, pathlib.Path(directory), delayline, ipv6
        self.plan = addresses.AddressPlan(rng)
        self.nodes, self.lines, self.links, self.roles, self.congestion = {}, [], {}, {}, {}
        self.names = {site: address for site, (address, _) in addresses.SITES.items()}
        self.names6 = dict(addresses.SITES6) if ipv6 else {}
        self._sites_up = set()
        self._resolvers, self._dns_runs = set(), False
        self.dns_records = []
        self.internet = self.node("internet", forwards=True)

    def node(self, name, hostname=None, people=(), forwards=False):
        """A machine without links."""
        congestion = self.rng.choice(CONGESTION_CONTROLS) if not forwards else "cubic"
        self.congestion[name] = congestion
        node = self.nodes[name] = Node(name, self.directory / name, hostname or name, people, self.ipv6, congestion, forwards)
        return node

    def _line(self, a, device_a, b, device_b, link, mac=None):
        seed = self.rng.randrange(1 << 31)
        process = subprocess.Popen(["nice", "-n", "-4", self.delayline, str(a.pid), device_a, str(b.pid), device_b, *link.arguments(), str(seed)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.lines.append(process)
        if process.stdout.readline().strip() != "up":
            raise SceneError(f"line {a.name}–{b.name}: {process.stderr.read()}")
        for node, device in ((a, device_a), (b, device_b)):
            node.run(f"ethtool -K {device} {NO_OFFLOAD} >/dev/null 2>&1; ip link set {device} txqueuelen 1000", check=False)
        if mac:
            a.run(f"ip link set {device_a} address {mac}")

    def _attach(self, node, public, gateway, link, address6=None):
        """Connects a node's wan0 to the internet."""
        side = f"to{node.name}"[:15]
        self._line(node, "wan0", self.internet, side, link, self.plan.mac("gateway" if node.name.endswith("gw") else "server"))
        node.run(f"ip addr add {public}/24 dev wan0 && ip link set wan0 up")
        node.route("default", f"via {gateway}")
        self.internet.run(f"ip addr add {gateway}/24 dev {side} && ip link set {side} up")
        if self.ipv6 and address6:
            prefix = address6.rsplit("::", 1)[0]
            node.run(f"ip -6 addr add {address6}/64 dev wan0 nodad")
            node.route("default", f"via {prefix}::fffe", 6)
            self.internet.run(f"ip -6 addr add {prefix}::fffe/64 dev {side} nodad")
            node.address6 = address6
        node.address, node.wan = node.address or public, side
        self.links[node.name] = link.summary()

    def _access_link(self, pool):
        r = self.rng
        if pool == "home":
            return Link(r.uniform(5, 14), r.uniform(0.6, 2.5), r.choice([40, 60, 100]), r.uniform(0, 0.4), r.randrange(3, 7))
        if pool == "foreign_home":
            return Link(r.uniform(30, 70), r.uniform(1, 4), r.choice([30, 50]), r.uniform(0.2, 1.0), r.randrange(6, 11))
        if pool == "business":
            return Link(r.uniform(8, 28), r.uniform(0.3, 1.2), 200, r.uniform(0, 0.1), r.randrange(4, 8))
        return Link(r.uniform(12, 45), r.uniform(0.2, 1.5), 300, r.uniform(0, 0.15), r.randrange(5, 10))

    def _prefix6(self, pool):
        return f"{addresses.PREFIX6.get(pool, addresses.PREFIX6['home'])}:{self.rng.randrange(0x1000, 0xffff):x}"

    def server(self, name, pool="hosting", role=None, hostname=None, people=()):
        """A machine with a public address of its own."""
        public, gateway, owner = self.plan.public(pool)
        node = self.node(name, hostname, people)
        self._attach(node, public, gateway, self._access_link(pool), f"{self._prefix6(pool)}::{self.rng.randrange(2, 0xff):x}" if self.ipv6 else None)
        self.roles[public] = f"{role or name} ({owner})"
        if node.address6:
            self.roles[node.address6] = f"{role or name}, IPv6"
        return node

    def lan(self, name, hosts, pool="home", people=None):
        """A LAN behind a NAT gateway. `hosts`: name -> (kind of machine, role)."""
        public, isp_gateway, owner = self.plan.public(pool)
        prefix, last_octets = self.plan.lan(), self.plan.lan_hosts(len(hosts))
        gateway = self.node(f"{name}gw", "router", forwards=True)
        gateway.run(f"ip link add lan0 type bridge forward_delay 0 && ip link set lan0 address {self.plan.mac('gateway')} && ip addr add {prefix}.1/24 dev lan0 && ip link set lan0 up")
        prefix6 = self._prefix6(pool) if self.ipv6 else None
        self._attach(gateway, public, isp_gateway, self._access_link(pool), f"{self._prefix6(pool)}::2" if self.ipv6 else None)
        gateway.run("nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100; }' && "
                    "nft 'add chain ip nat pre { type nat hook prerouting priority -100; }' && nft add rule ip nat post oifname wan0 masquerade")
        if prefix6:
            gateway.run(f"ip -6 addr add {prefix6}::1/64 dev lan0 nodad")
            self.roles[f"{prefix6}::1"] = f"home gateway of {name}, IPv6"
            self.internet.run(f"ip -6 route add {prefix6}::/64 via {gateway.address6}")
        resolver = addresses.resolver_of(owner)
        self.resolver(resolver)
        nodes = {}
        for i, ((host, (kind, role)), octet) in enumerate(zip(hosts.items(), last_octets)):
            hostname = f"DESKTOP-{self.rng.randrange(16**7):07X}" if kind in ("laptop", "pc") else host
            node = nodes[host] = self.node(host, hostname, (people or {}).get(host, ()))
            node.mac, node.address = self.plan.mac(kind), f"{prefix}.{octet}"
            wifi = self.rng.random() < 0.5
            link = Link(self.rng.uniform(0.8, 2.0) if wifi else self.rng.uniform(0.15, 0.3), self.rng.uniform(0.3, 0.8) if wifi else 0.03, 150 if wifi else 900, 0, 0)
            self._line(node, "eth0", gateway, f"port{i}", link, node.mac)
            node.run(f"ip addr add {node.address}/24 dev eth0 && ip link set eth0 up")
            node.route(f"{prefix}.0/24", f"dev eth0 src {node.address}")
            node.route("default", f"via {prefix}.1")
            gateway.run(f"ip link set port{i} master lan0 && ip link set port{i} up")
            if prefix6:
                node.address6 = f"{prefix6}::{self.rng.randrange(0x1000, 0xffff):x}"
                node.run(f"ip -6 addr add {node.address6}/64 dev eth0 nodad")
                node.route("default", f"via {prefix6}::1", 6)
                self.roles[node.address6] = f"{role}, IPv6"
            node.write_etc("resolv.conf", f"nameserver {resolver}\noptions timeout:3\n")
            node.resolver = resolver
            self.roles[node.address] = role
            self.links[host] = link.summary()
        self.roles[f"{prefix}.1"] = f"home gateway of {name}"
        self.roles[public] = f"public address of {name} ({owner})"
        self.roles[resolver] = "resolver of the access network"
        return Lan(gateway, prefix, public, nodes)

    def forward(self, lan, port, host, to_port=None, protocol="tcp"):
        """A port forward at a home gateway."""
        lan.gateway.run(f"nft add rule ip nat pre iifname wan0 {protocol} dport {port} dnat to {host.address}:{to_port or port}")

    def name(self, name, node):
        """A DNS name for a node."""
        self.names[name] = node.address
        if node.address6:
            self.names6[name] = node.address6

    def resolver(self, address):
        """The access network's resolver, a few milliseconds away; answers once `start_dns` ran."""
        if address in self._resolvers:
            return
        node = self.nodes.get("isp")
        if node is None:
            node = self.node("isp")
            gateway = address.rsplit(".", 1)[0] + ".254"
            self._attach(node, address, gateway, Link(self.rng.uniform(1.5, 4), 0.3, 400, 0, 2))
        else:
            node.run(f"ip addr add {address}/32 dev lo")
            self.internet.run(f"ip route add {address}/32 via {node.address}")
        self._resolvers.add(address)

    def use_public_resolver(self, node):
        """Gives a server a resolver."""
        node.write_etc("resolv.conf", f"nameserver {addresses.RESOLVER_ELSEWHERE}\n")
        self.resolver(addresses.RESOLVER_ELSEWHERE)

    def start_dns(self):
        """Starts the resolver with every name known so far; once is enough."""
        node = self.nodes.get("isp")
        if node is None or self._dns_runs:
            return
        self._dns_runs = True
        lines = ["no-resolv", "no-hosts", "bind-interfaces", "user=root", "pid-file=", "max-ttl=300", "min-cache-ttl=60", "local-ttl=173"]
        lines += [f"listen-address={a}" for a in sorted(self._resolvers)]
        # Answers for these names only; anything else below these suffixes does not exist.
        lines += [f"local=/{suffix}/" for suffix in LOCAL_SUFFIXES] + [f"host-record={name},{address}" for name, address in [*self.names.items(), *self.names6.items()]] + self.dns_records
        configuration = node.directory / "dnsmasq.conf"
        configuration.write_text("\n".join(lines) + "\n")
        node.wait_port(53, node.spawn(["dnsmasq", "-k", "-C", configuration], "dnsmasq"), "udp")

    def web_node(self, group):
        """The node that serves the sites of one group ("cdn" near, "origin" far)."""
        name = f"web{group}"
        if name not in self.nodes:
            node = self.node(name)
            mine = {site: address for site, (address, g) in addresses.SITES.items() if g == group}
            first, *others = mine.values()
            link = Link(self.rng.uniform(3, 8), 0.4, 400, 0, self.rng.randrange(5, 9)) if group == "cdn" else Link(self.rng.uniform(20, 42), 1.0, 300, self.rng.uniform(0, 0.1), self.rng.randrange(8, 13))
            self._attach(node, first, first.rsplit(".", 1)[0] + ".254", link, f"{self._prefix6('hosting')}::80" if self.ipv6 else None)
            for address in others:
                node.run(f"ip addr add {address}/32 dev lo")
                self.internet.run(f"ip route add {address}/32 via {first}")
            for site, address in mine.items():
                self.roles[address] = f"web site {site}"
            for site, address in (addresses.SITES6.items() if self.ipv6 else ()):
                if site in mine:
                    node.run(f"ip -6 addr add {address}/128 dev lo nodad")
                    self.internet.run(f"ip -6 route add {address}/128 via {node.address6}")
                    self.roles[address] = f"web site {site}, IPv6"
        return self.nodes[name]

    def close(self):
        """Ends lines and nodes of this network."""
        for process in self.lines:
            process.terminate()
        for node in self.nodes.values():
            node.close()
        for process in self.lines:
            process.wait(5)
