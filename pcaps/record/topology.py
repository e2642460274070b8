"""The internet of a scene: machines, home networks, access links.

In: an `AddressPlan` and a seeded generator. Out: nodes joined by delay lines, with addresses, routes, NAT and DNS.

    laptop ─┐                                ┌─ vps        (hosting prefix)
    pc ─────┴ gateway (NAT) ── internet ─────┼─ corp       (business prefix)
                capture: lan0    one hop     ├─ web sites, near and far
                                             └─ resolver of the access network

Every line is a `delayline` process: LAN legs 0.2–2 ms, access legs 4–70 ms, all drawn by seed. None of the nodes has
a link to the machine's own network.
"""

import pathlib

import addresses
import link
from node import Node

# Cubic is the kernel default of nearly every machine; a few run BBR.
CONGESTION_CONTROLS = ["cubic", "cubic", "cubic", "bbr"]
PERSONAL_MACHINES = ("laptop", "pc")
NAT_RULES = """set -e
    nft add table ip nat
    nft 'add chain ip nat post { type nat hook postrouting priority 100; }'
    nft 'add chain ip nat pre { type nat hook prerouting priority -100; }'
    nft add rule ip nat post oifname wan0 masquerade"""


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
        self.nodes, self.roles, self.links, self.congestion = {}, {}, {}, {}
        self.names = {site: address for site, (address, _) in addresses.SITES.items()}
        self.names6 = dict(addresses.SITES6) if ipv6 else {}
        self.dns_records = []
        self._lines, self._resolvers, self._dns_runs = [], set(), False
        self.internet = self.node("internet", forwards=True)

    def node(self, name, hostname=None, people=(), forwards=False):
        """A machine without links."""
        self.congestion[name] = "cubic" if forwards else self.rng.choice(CONGESTION_CONTROLS)
        options = {"ipv6": self.ipv6, "congestion_control": self.congestion[name], "forwards": forwards}
        self.nodes[name] = Node(name, self.directory / name, hostname or name, people, **options)
        return self.nodes[name]

    def _join(self, node, device, other, other_device, character, mac):
        seed = self.rng.randrange(1 << 31)
        ends = [(node, device), (other, other_device)]
        self._lines.append(link.join(self.delayline, ends, character, seed))
        node.run(f"ip link set {device} address {mac}")
        self.links[node.name] = character.summary()

    def _attach(self, node, public, gateway, character, address6=None):
        """Connects a node's wan0 to the internet."""
        mac = self.plan.mac("gateway" if node.name.endswith("gw") else "server")
        node.wan = f"to{node.name}"[:15]
        self._join(node, "wan0", self.internet, node.wan, character, mac)
        node.run(f"ip addr add {public}/24 dev wan0 && ip link set wan0 up")
        node.route("default", f"via {gateway}")
        self.internet.run(f"ip addr add {gateway}/24 dev {node.wan} && ip link set {node.wan} up")
        if self.ipv6 and address6:
            prefix = address6.rsplit("::", 1)[0]
            node.run(f"ip -6 addr add {address6}/64 dev wan0 nodad")
            node.route("default", f"via {prefix}::fffe", 6)
            self.internet.run(f"ip -6 addr add {prefix}::fffe/64 dev {node.wan} nodad")
            node.address6 = address6
        node.address = node.address or public

    def _prefix6(self, pool):
        prefix = addresses.PREFIX6.get(pool, addresses.PREFIX6["home"])
        return f"{prefix}:{self.rng.randrange(0x1000, 0xffff):x}"

    def server(self, name, pool="hosting", role=None, hostname=None, people=()):
        """A machine with a public address of its own."""
        public, gateway, owner = self.plan.public(pool)
        node = self.node(name, hostname, people)
        character = link.draw_access(self.rng, pool)
        address6 = f"{self._prefix6(pool)}::{self.rng.randrange(2, 0xff):x}" if self.ipv6 else None
        self._attach(node, public, gateway, character, address6)
        self.roles[public] = f"{role or name} ({owner})"
        if node.address6:
            self.roles[node.address6] = f"{role or name}, IPv6"
        return node

    def lan(self, name, hosts, pool="home", people=None):
        """A LAN behind a NAT gateway. `hosts`: name -> (kind of machine, role)."""
        public, isp_gateway, owner = self.plan.public(pool)
        prefix, last_octets = self.plan.lan(), self.plan.lan_hosts(len(hosts))
        gateway, mac = self.node(f"{name}gw", "router", forwards=True), self.plan.mac("gateway")
        gateway.run(f"""set -e
            ip link add lan0 type bridge forward_delay 0
            ip link set lan0 address {mac}
            ip addr add {prefix}.1/24 dev lan0
            ip link set lan0 up""")
        prefix6 = self._prefix6(pool) if self.ipv6 else None
        character = link.draw_access(self.rng, pool)
        self._attach(gateway, public, isp_gateway, character, f"{self._prefix6(pool)}::2" if self.ipv6 else None)
        gateway.run(NAT_RULES)
        if prefix6:
            gateway.run(f"ip -6 addr add {prefix6}::1/64 dev lan0 nodad")
            self.roles[f"{prefix6}::1"] = f"home gateway of {name}, IPv6"
            self.internet.run(f"ip -6 route add {prefix6}::/64 via {gateway.address6}")
        resolver = addresses.resolver_of(owner)
        self.resolver(resolver)
        nodes = {}
        for i, ((host, (kind, role)), octet) in enumerate(zip(hosts.items(), last_octets)):
            hostname = f"DESKTOP-{self.rng.randrange(16**7):07X}" if kind in PERSONAL_MACHINES else host
            node = nodes[host] = self.node(host, hostname, (people or {}).get(host, ()))
            self._plug_in(node, kind, gateway, i, prefix, octet, prefix6)
            node.resolver = resolver
            node.write_etc("resolv.conf", f"nameserver {resolver}\noptions timeout:3\n")
            self.roles[node.address] = role
            if node.address6:
                self.roles[node.address6] = f"{role}, IPv6"
        self.roles[f"{prefix}.1"] = f"home gateway of {name}"
        self.roles[public] = f"public address of {name} ({owner})"
        self.roles[resolver] = "resolver of the access network"
        return Lan(gateway, prefix, public, nodes)

    def _plug_in(self, node, kind, gateway, port, prefix, octet, prefix6):
        """Connects a machine to a port of its gateway."""
        node.mac, node.address = self.plan.mac(kind), f"{prefix}.{octet}"
        self._join(node, "eth0", gateway, f"port{port}", link.draw_lan(self.rng), node.mac)
        node.run(f"ip addr add {node.address}/24 dev eth0 && ip link set eth0 up")
        node.route(f"{prefix}.0/24", f"dev eth0 src {node.address}")
        node.route("default", f"via {prefix}.1")
        gateway.run(f"ip link set port{port} master lan0 && ip link set port{port} up")
        if prefix6:
            node.address6 = f"{prefix6}::{self.rng.randrange(0x1000, 0xffff):x}"
            node.run(f"ip -6 addr add {node.address6}/64 dev eth0 nodad")
            node.route("default", f"via {prefix6}::1", 6)

    def forward(self, lan, port, host, to_port=None, protocol="tcp"):
        """A port forward at a home gateway."""
        target = f"{host.address}:{to_port or port}"
        lan.gateway.run(f"nft add rule ip nat pre iifname wan0 {protocol} dport {port} dnat to {target}")

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
            self._attach(node, address, gateway, link.draw_resolver(self.rng))
        else:
            self._add_address(node, address)
        self._resolvers.add(address)

    def _add_address(self, node, address):
        """One more public address for a node."""
        node.run(f"ip addr add {address}/32 dev lo")
        self.internet.run(f"ip route add {address}/32 via {node.address}")

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
        lines = [f"listen-address={address}" for address in sorted(self._resolvers)]
        lines += [f"host-record={name},{address}" for name, address in [*self.names.items(), *self.names6.items()]]
        configuration = node.configure("dnsmasq.conf", lines="\n".join(lines + self.dns_records))
        node.wait_port(53, node.spawn(f"exec dnsmasq -k -C {configuration}", "dnsmasq"), "udp")

    def web_node(self, group):
        """The node that serves the sites of one group ("cdn" near, "origin" far)."""
        name = f"web{group}"
        if name in self.nodes:
            return self.nodes[name]
        node = self.node(name)
        mine = {site: address for site, (address, g) in addresses.SITES.items() if g == group}
        first, *others = mine.values()
        character = link.draw_web(self.rng, group)
        gateway, address6 = first.rsplit(".", 1)[0] + ".254", f"{self._prefix6('hosting')}::80" if self.ipv6 else None
        self._attach(node, first, gateway, character, address6)
        for address in others:
            self._add_address(node, address)
        for site, address in mine.items():
            self.roles[address] = f"web site {site}"
        for site, address in addresses.SITES6.items() if self.ipv6 else ():
            if site in mine:
                node.run(f"ip -6 addr add {address}/128 dev lo nodad")
                self.internet.run(f"ip -6 route add {address}/128 via {node.address6}")
                self.roles[address] = f"web site {site}, IPv6"
        return node

    def close(self):
        """Ends lines and nodes of this network."""
        for process in self._lines:
            process.terminate()
        for node in self.nodes.values():
            node.close()
        for process in self._lines:
            process.wait(5)
