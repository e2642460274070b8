#!/usr/bin/env python3
"""Checks every truth file against its capture.

In: a folder of NAME.pcap with NAME.truth.toml beside it (default: the folder above). Out: one line for each pair, exit
code 1 if anything disagrees. Checked: every flow of the capture is listed once and every listed flow exists, the
opener is the sender of the SYN, counts, addresses have roles, no frame is longer than Ethernet allows, times run forward,
findings and labels are ones that exist, sizes stay within the limits.
"""

import argparse
import pathlib
import sys
import tomllib

import capture

HERE = pathlib.Path(__file__).resolve().parent
FINDINGS = {
    "remote_control",
    "remote_control_suspicious_origin",
    "remote_control_unknown_tool",
    "relay",
    "operator_distance",
    "ip_kvm",
    "egress_vpn",
    "egress_proxy",
    "egress_tor",
    "egress_vps",
    "tunnel_covert",
    "tunnel_unknown",
    "inbound_suspicious_origin",
    "inbound_proxied",
    "laptop_farm",
}
REQUIRED = {"description": str, "recorded": str, "programs": list, "seed": int, "point": str}
FRAME_MAX = 1514
ONE_CAPTURE_MAX = 900_000
ALL_CAPTURES_MAX = 12_000_000
BACKWARD_MAX = 0.001  # seconds; tcpdump may write two directions slightly out of order


def problems(pcap, truth_path):
    """What is wrong with one pair, as sentences."""
    truth = tomllib.loads(truth_path.read_text())
    for key, kind in REQUIRED.items():
        if not isinstance(truth.get(key), kind):
            yield f"{key} is missing or not a {kind.__name__}"
    seen = {}
    for flow in capture.flows(pcap):
        seen[(flow.proto, flow.endpoint("client"), flow.endpoint("server"))] = flow
    listed = {}
    for entry in truth.get("flow", []):
        key = (entry["proto"], entry["client"], entry["server"])
        if key in listed:
            yield f"listed twice: {key}"
        listed[key] = entry
        if entry.get("controlled") not in (None, "client", "server"):
            yield f"{key}: controlled is {entry['controlled']!r}"
        if not entry.get("label") and not entry.get("app"):
            yield f"{key}: neither label nor app"
    for key in seen.keys() - listed.keys():
        yield f"not listed: {key}"
    for key in listed.keys() - seen.keys():
        yield f"not in the capture: {key}"
    for key in seen.keys() & listed.keys():
        flow = seen[key]
        if flow.proto == "tcp" and flow.opener != "syn" and not listed[key].get("midstream"):
            yield f"{key}: no SYN in the capture"
        if (listed[key].get("packets"), listed[key].get("bytes")) != (flow.packets, flow.bytes):
            yield f"{key}: {flow.packets} packets, {flow.bytes} bytes in the capture"
    last = 0.0
    for number, (time, frame, original) in enumerate(capture.packets(pcap), 1):
        if original > FRAME_MAX or len(frame) != original:
            yield f"packet {number}: {original} bytes on the wire, {len(frame)} captured"
        if time < last - BACKWARD_MAX:
            yield f"packet {number}: {last - time:.6f} s before the one in front of it"
        last = time
    addresses = {end[0] for flow in seen.values() for end in (flow.client, flow.server)}
    for address in addresses - truth.get("roles", {}).keys():
        yield f"no role for {address}"
    for finding in truth.get("finding", []) + truth.get("deep_finding", []):
        if finding.get("finding") not in FINDINGS:
            yield f"no such finding: {finding.get('finding')!r}"
        if not isinstance(finding.get("must"), bool) or "host" not in finding or "far_end" not in finding:
            yield f"finding without host, far_end or must: {finding}"
        for side in ("host", "far_end"):
            if finding.get(side) not in addresses | {"*"}:
                yield f"finding names {finding.get(side)}, which is not in the capture"
    if pcap.stat().st_size > ONE_CAPTURE_MAX:
        yield f"{pcap.stat().st_size} bytes, more than {ONE_CAPTURE_MAX}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=HERE.parent)
    folder = parser.parse_args().folder
    bad = total = 0
    captures = sorted(folder.glob("*.pcap"))
    for pcap in captures:
        truth_path = pcap.with_suffix(".truth.toml")
        found = list(problems(pcap, truth_path)) if truth_path.exists() else ["no truth file"]
        total += pcap.stat().st_size
        bad += bool(found)
        print(
            f"{'FAIL' if found else 'ok  '}  {pcap.name:36} {pcap.stat().st_size // 1000:5} kB"
            + "".join(f"\n      {p}" for p in found[:12])
        )
    if total > ALL_CAPTURES_MAX:
        bad += 1
        print(f"FAIL  all captures together: {total} bytes, more than {ALL_CAPTURES_MAX}")
    print(f"{len(captures)} captures, {total / 1e6:.1f} MB, {bad} with problems")
    return 1 if bad or not captures else 0


if __name__ == "__main__":
    sys.exit(main())
