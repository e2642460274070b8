"""Truth files: what really happened in a capture.

In: the flows read back from a capture, the scene's expectations, its events. Out: NAME.truth.toml. A flow that no
expectation and no known service explains is an error: nothing unlabelled gets in.
"""

import dataclasses
import ipaddress
import json

DNS_PORT, HTTP_PORT, HTTPS_PORT = 53, 80, 443
EVENT_TIMES_KEPT = 600


@dataclasses.dataclass
class Expectation:
    """Flows with these properties (None = any) are `app`, and get `label` (None = an ordinary flow)."""

    app: str
    label: str = None
    controlled: str = None
    proto: str = None
    client: str = None
    server: str = None
    port: int = None
    opening: bytes = None  # in the first bytes from the client
    inner: str = None
    note: str = None

    def covers(self, flow):
        """Whether a flow is meant."""
        return (
            (self.proto is None or self.proto == flow.proto)
            and (self.client is None or self.client == flow.client[0])
            and (self.server is None or self.server == flow.server[0])
            and (self.port is None or self.port == flow.server[1])
            and (self.opening is None or self.opening in flow.opening)
        )


@dataclasses.dataclass
class Finding:
    """A finding that must, or must not, come out. `deep`: it takes more than handshakes and addresses to find."""

    finding: str
    host: str = "*"
    far_end: str = "*"
    must: bool = True
    deep: bool = False


def ordinary(flow, sites):
    """Expectation for the scene's background services, or None."""
    port, server = flow.server[1], flow.server[0]
    if port == DNS_PORT:
        return Expectation("dns")
    if server in sites and port in (HTTP_PORT, HTTPS_PORT):
        if flow.proto == "udp":
            return Expectation("quic")
        return Expectation("https" if port == HTTPS_PORT else "http")
    if flow.proto in ("icmp", "icmp6", "igmp"):
        return Expectation(flow.proto)
    return None


def explain(flow, expectations, sites):
    """The expectation that covers a flow."""
    for expectation in expectations:
        if expectation.covers(flow):
            return expectation
    found = ordinary(flow, sites)
    if found is None:
        raise ValueError(f"no expectation explains {flow.proto} {flow.endpoint('client')} -> {flow.endpoint('server')}")
    return found


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _table(header, pairs):
    return [header] + [f"{key} = {_value(value)}" for key, value in pairs if value is not None] + [""]


def _role(address, roles):
    parsed = ipaddress.ip_address(address)
    if address in roles:
        return roles[address]
    if parsed.is_multicast:
        return "multicast"
    if parsed.is_link_local:
        return "link-local address"
    raise ValueError(f"nobody said who {address} is")


def render(head, roles, choices, flows, findings, events, start):
    """The text of a truth file. `flows`: (flow, expectation) pairs. Event times are seconds after the capture's start."""
    seen = {address for flow, _ in flows for address in (flow.client[0], flow.server[0])}
    lines = [f"{key} = {_value(value)}" for key, value in head.items()] + [""]
    lines += _table("[roles]", [(_value(a), _role(a, roles)) for a in sorted(seen)])
    lines += _table("[choices]", [(_value(key), value) for key, value in sorted(choices.items())])
    for kind, times in sorted(events.items()):
        relative = [round(t - start, 3) for t in times]
        lines += _table(
            "[[event]]",
            [
                ("kind", kind),
                ("count", len(times)),
                ("first", relative[0]),
                ("last", relative[-1]),
                ("times", relative[:EVENT_TIMES_KEPT]),
            ],
        )
    for flow, e in flows:
        lines += _table(
            "[[flow]]",
            [
                ("proto", flow.proto),
                ("client", flow.endpoint("client")),
                ("server", flow.endpoint("server")),
                ("label", e.label),
                ("app", e.app),
                ("controlled", e.controlled),
                ("inner", e.inner),
                ("note", e.note),
                ("midstream", True if flow.proto == "tcp" and flow.opener != "syn" else None),
                ("packets", flow.packets),
                ("bytes", flow.bytes),
            ],
        )
    for f in findings:
        lines += _table(
            "[[deep_finding]]" if f.deep else "[[finding]]",
            [("finding", f.finding), ("host", f.host), ("far_end", f.far_end), ("must", f.must)],
        )
    return "\n".join(lines).rstrip() + "\n"
