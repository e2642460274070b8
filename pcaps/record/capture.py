"""Captures: making one, and reading one back as flows.

In: a node and one of its interfaces, or a classic pcap file. Out: a pcap file with whole frames and microsecond times; a
list of `Flow`, one for each 5-tuple, opener first.
"""

import dataclasses
import ipaddress
import signal
import struct

PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6", 132: "sctp"}
PORTED = {"tcp", "udp", "sctp"}
SYN, ACK = 0x02, 0x10
ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
OPENING_BYTES = 2048
IPV6_FRAGMENT = 44
IPV6_SKIPPED = {0, 43, 60}  # hop-by-hop, routing, destination options


class Recorder:
    """A running tcpdump."""

    def __init__(self, node, interface, path):
        self.node, self.path = node, path
        self._process = node.spawn(
            ["tcpdump", "-Z", "root", "-i", interface, "-s", "0", "-B", "8192", "-U", "-n", "-w", path],
            f"tcpdump-{interface}",
        )
        node.wait_for(lambda: path.exists() and path.stat().st_size >= 24, f"tcpdump on {interface}", 10, self._process)

    def finish(self):
        """Ends the capture; returns what tcpdump said about drops."""
        self.node.stop(self._process, signal.SIGINT)
        log = self._process.log_name
        self.node.wait_for(lambda: "dropped by kernel" in self.node.log(log), "tcpdump's closing words", 5)
        return self.node.log(log)


@dataclasses.dataclass
class Flow:
    """Packets of one 5-tuple. `client` is the sender of the SYN, or of the first packet seen."""

    proto: str
    client: tuple  # (address, port), port 0 where the protocol has none
    server: tuple
    first: float
    last: float
    packets: int = 0
    bytes: int = 0
    opener: str = "first"  # syn | first
    opening: bytes = b""  # first payload of the client, at most OPENING_BYTES

    def endpoint(self, side):
        """The form used in truth files: a.b.c.d:port, [v6]:port, or a bare address."""
        address, port = self.client if side == "client" else self.server
        if self.proto not in PORTED:
            return address
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def packets(path):
    """(seconds, captured bytes, original length) for each record of a classic pcap."""
    data = path.read_bytes()
    magic = data[:4]
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(magic)
    if order is None:
        raise ValueError(f"{path}: not a classic microsecond pcap (magic {magic.hex()})")
    at = 24
    while at + 16 <= len(data):
        seconds, micros, captured, original = struct.unpack(order + "IIII", data[at : at + 16])
        frame = data[at + 16 : at + 16 + captured]
        if len(frame) < captured:
            raise ValueError(f"{path}: ends inside a packet")
        yield seconds + micros / 1e6, frame, original
        at += 16 + captured
    if at != len(data):
        raise ValueError(f"{path}: ends inside a record header")


@dataclasses.dataclass
class _Packet:
    proto: str
    source: tuple
    destination: tuple
    tcp_flags: int = 0
    payload: bytes = b""


class _Fragments:
    """Later fragments carry no ports: they take those of the first one."""

    def __init__(self):
        self._ports = {}

    def ports(self, key, offset, first_ports):
        if offset == 0:
            self._ports[key] = first_ports
        return self._ports.get(key)


def _parse(frame, fragments):
    if len(frame) < 14:
        return None
    ethertype = struct.unpack(">H", frame[12:14])[0]
    if ethertype == ETHERTYPE_IPV4:
        header = frame[14:]
        length = (header[0] & 15) * 4
        number, source, destination = header[9], header[12:16], header[16:20]
        offset = struct.unpack(">H", header[6:8])[0] & 0x1FFF
        total = struct.unpack(">H", header[2:4])[0]
        fragment_key = (bytes(source), bytes(destination), header[4:6])
        body = header[length:total]
    elif ethertype == ETHERTYPE_IPV6:
        header = frame[14:]
        number, source, destination = header[6], header[8:24], header[24:40]
        offset, fragment_key, body = 0, None, header[40:]
        while number in IPV6_SKIPPED or number == IPV6_FRAGMENT:
            if number == IPV6_FRAGMENT:
                offset = struct.unpack(">H", body[2:4])[0] >> 3
                fragment_key = (bytes(source), bytes(destination), body[4:8])
                number, body = body[0], body[8:]
            else:
                number, body = body[0], body[(body[1] + 1) * 8 :]
    else:
        return None
    proto = PROTOCOLS.get(number, str(number))
    source, destination = str(ipaddress.ip_address(bytes(source))), str(ipaddress.ip_address(bytes(destination)))
    if proto not in PORTED:
        return _Packet(proto, (source, 0), (destination, 0))
    ports = struct.unpack(">HH", body[:4]) if offset == 0 else None
    if fragment_key is not None:
        ports = fragments.ports(fragment_key, offset, ports)
    if ports is None:
        return None
    flags, payload = 0, b""
    if offset == 0:
        flags = body[13] if proto == "tcp" else 0
        payload = body[(body[12] >> 4) * 4 :] if proto == "tcp" else body[8:]
    return _Packet(proto, (source, ports[0]), (destination, ports[1]), flags, payload)


def flows(path):
    """Every flow of a capture, in the order of its first packet."""
    table, fragments = {}, _Fragments()
    for time, frame, original in packets(path):
        packet = _parse(frame, fragments)
        if packet is None:
            continue
        key = (packet.proto, *sorted([packet.source, packet.destination]))
        flow = table.get(key)
        if flow is None:
            flow = table[key] = Flow(packet.proto, packet.source, packet.destination, time, time)
        if flow.opener != "syn" and packet.tcp_flags & SYN:
            flow.opener = "syn"
            answers = bool(packet.tcp_flags & ACK)
            flow.client, flow.server = (
                (packet.destination, packet.source) if answers else (packet.source, packet.destination)
            )
        if packet.source == flow.client and len(flow.opening) < OPENING_BYTES:
            flow.opening += packet.payload
        flow.packets += 1
        flow.bytes += original
        flow.last = time
    return sorted(table.values(), key=lambda f: f.first)
