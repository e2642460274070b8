"""VPNs between nodes: WireGuard (wireguard-go) and OpenVPN.

In: nodes of a `Scene`. Out: tunnels that are up; traffic of the client leaves through the server with the server's address.
"""
import subprocess

TUNNEL_NET = "10.66.0"


def masquerade(node, network=f"{TUNNEL_NET}.0/24"):
    """Makes a server send its tunnel clients' traffic on under its own address."""
    node.run("sysctl -q -w net.ipv4.ip_forward=1 && nft add table ip exit && nft 'add chain ip exit post { type nat hook postrouting priority 100; }' && "
             f"nft add rule ip exit post ip saddr {network} oifname wan0 masquerade")


def send_everything_through(node, device, server_address, lan_gateway):
    """Default route into a tunnel, except for the tunnel's own packets."""
    node.route(f"{server_address}/32", f"via {lan_gateway}")
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        node.route(half, f"dev {device}")


def _wireguard_keys():
    private = subprocess.run(["wg", "genkey"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return private, subprocess.run(["wg", "pubkey"], input=private, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class WireGuard:
    """A WireGuard server on one node and a client on another, with wireguard-go at both ends."""

    DEVICE = "wg0"

    def __init__(self, scene, server, client, port=51820, mtu=1420):
        self.server, self.client, self.port, self.mtu = server, client, port, mtu
        (self._server_key, self._server_public), (self._client_key, self._client_public) = _wireguard_keys(), _wireguard_keys()
        self._start(server, self._server_key, f"{TUNNEL_NET}.1", f"listen-port {port}", self._client_public, f"allowed-ips {TUNNEL_NET}.2/32")
        masquerade(server)

    def _start(self, node, key, address, own, peer, peer_options):
        key_file = node.directory / "wireguard.key"
        key_file.write_text(key)
        process = node.spawn(["wireguard-go", "-f", self.DEVICE], "wireguard-go", env={"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error", "WG_THREADS": "1"})
        node.wait_for(lambda: "ok" in node.run(f"test -S /run/wireguard/{self.DEVICE}.sock && echo ok", check=False), "wireguard-go", 10, process)
        node.run(f"wg set {self.DEVICE} private-key {key_file} {own} && wg set {self.DEVICE} peer {peer} {peer_options} && ip addr add {address}/24 dev {self.DEVICE} && ip link set mtu {self.mtu} up dev {self.DEVICE}")
        return process

    def connect(self, lan_gateway, allowed="0.0.0.0/0", keepalive=None):
        """Brings the client up; with the default `allowed` everything goes through the server."""
        options = f"allowed-ips {allowed} endpoint {self.server.address}:{self.port}" + (f" persistent-keepalive {keepalive}" if keepalive else "")
        process = self._start(self.client, self._client_key, f"{TUNNEL_NET}.2", "", self._server_public, options)
        if allowed == "0.0.0.0/0":
            send_everything_through(self.client, self.DEVICE, self.server.address, lan_gateway)
        return process
