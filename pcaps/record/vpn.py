"""VPNs between nodes: WireGuard (wireguard-go) and OpenVPN.

In: nodes of a `Scene`. Out: tunnels that are up; traffic of the client leaves through the server with the server's address.
"""

import subprocess

TUNNEL_NET = "10.66.0"
EVERYTHING = "0.0.0.0/0"
# The program insists on a word before it runs where a kernel module might exist.
WIREGUARD_ENVIRONMENT = {
    "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1",
    "LOG_LEVEL": "error",
    "WG_THREADS": "1",
}


def masquerade(node, network=f"{TUNNEL_NET}.0/24"):
    """Makes a server send its tunnel clients' traffic on under its own address."""
    node.run(f"""set -e
        sysctl -q -w net.ipv4.ip_forward=1
        nft add table ip exit
        nft 'add chain ip exit post {{ type nat hook postrouting priority 100; }}'
        nft add rule ip exit post ip saddr {network} oifname wan0 masquerade""")


def send_everything_through(node, device, server_address, lan_gateway):
    """Default route into a tunnel, except for the tunnel's own packets."""
    node.route(f"{server_address}/32", f"via {lan_gateway}")
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        node.route(half, f"dev {device}")


def _wireguard_keys():
    """(private, public)"""
    private = subprocess.run(["wg", "genkey"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    derive = subprocess.run(["wg", "pubkey"], input=private, stdout=subprocess.PIPE, text=True, check=True)
    return private, derive.stdout.strip()


class WireGuard:
    """A WireGuard server on one node and a client on another, with wireguard-go at both ends."""

    DEVICE = "wg0"

    def __init__(self, scene, server, client, port=51820, mtu=1420):
        self.server, self.client, self.port, self.mtu = server, client, port, mtu
        server_private, self._server_public = _wireguard_keys()
        self._client_private, client_public = _wireguard_keys()
        peer = f"peer {client_public} allowed-ips {TUNNEL_NET}.2/32"
        self._start(server, server_private, f"{TUNNEL_NET}.1", f"listen-port {port}", peer)
        masquerade(server)

    def _start(self, node, private_key, address, own_options, peer):
        key_file = node.directory / "wireguard.key"
        key_file.write_text(private_key)
        device = self.DEVICE
        process = node.spawn(f"exec wireguard-go -f {device}", "wireguard-go", env=WIREGUARD_ENVIRONMENT)
        socket_there = f"test -S /run/wireguard/{device}.sock && echo yes"
        node.wait_for(lambda: "yes" in node.run(socket_there, check=False), "wireguard-go", 10, process)
        node.run(f"""set -e
            wg set {device} private-key {key_file} {own_options}
            wg set {device} {peer}
            ip addr add {address}/24 dev {device}
            ip link set mtu {self.mtu} up dev {device}""")
        return process

    def connect(self, lan_gateway, allowed=EVERYTHING, keepalive=None):
        """Brings the client up; with the default `allowed` everything goes through the server."""
        peer = f"peer {self._server_public} allowed-ips {allowed} endpoint {self.server.address}:{self.port}"
        if keepalive:
            peer += f" persistent-keepalive {keepalive}"
        process = self._start(self.client, self._client_private, f"{TUNNEL_NET}.2", "", peer)
        if allowed == EVERYTHING:
            send_everything_through(self.client, self.DEVICE, self.server.address, lan_gateway)
        return process


class OpenVpn:
    """An OpenVPN server on one node and a client on another.

    `control`: how the control channel is protected: plain, tls-auth, tls-crypt, tls-crypt-v2; static = no control
    channel, one shared key.
    """

    def __init__(self, scene, server, client, port=1194, protocol="udp", control="plain", cipher="AES-256-GCM"):
        self.server, self.client, self.port = server, client, port
        self._keys = scene.directory / "openvpn-keys"
        self._keys.mkdir()
        configure = self._with_shared_key if control == "static" else self._with_certificates
        server_text, client_text = configure(scene, protocol, control, cipher)
        self._server_configuration = self._write(server, server_text)
        self._client_configuration = self._write(client, client_text)
        masquerade(server)
        process = server.spawn(f"exec openvpn --config {self._server_configuration}", "openvpn-server")
        server.wait_port(port, process, protocol)

    @staticmethod
    def _write(node, text):
        path = node.configure("openvpn-common.conf", "openvpn.conf")
        path.write_text(path.read_text() + text)
        return path

    def _generate(self, *arguments):
        subprocess.run(["openvpn", *arguments], cwd=self._keys, check=True)

    def _with_shared_key(self, scene, protocol, control, cipher):
        self._generate("--genkey", "secret", "static.key")
        texts = []
        for node, own, other in ((self.server, 1, 2), (self.client, 2, 1)):
            own, other = f"{TUNNEL_NET}.{own}", f"{TUNNEL_NET}.{other}"
            secret = self._keys / "static.key"
            path = node.configure("openvpn-static.conf", protocol=protocol, secret=secret, own=own, other=other)
            texts.append(path.read_text())
        return texts[0] + f"port {self.port}\n", texts[1] + f"remote {self.server.address} {self.port}\nnobind\n"

    def _with_certificates(self, scene, protocol, control, cipher):
        chain, key = scene.authority.leaf(
            "openvpn-server", ["gw1.privatenet.example"], "rsa", organisation="Privatenet"
        )
        values = {"root": scene.authority.root, "cipher": cipher, "port": self.port}
        side = "tcp-server" if protocol == "tcp" else protocol
        server = self.server.configure(
            "openvpn-server.conf", protocol=side, chain=chain, key=key, network=TUNNEL_NET, **values
        )
        chain, key = scene.authority.leaf("openvpn-client", ["client-0417"], "rsa", client=True)
        side = "tcp-client" if protocol == "tcp" else protocol
        client = self.client.configure(
            "openvpn-client.conf", protocol=side, chain=chain, key=key, address=self.server.address, **values
        )
        server_option, client_option = self._control_options(control)
        return server.read_text() + server_option, client.read_text() + client_option

    def _control_options(self, control):
        """Lines for the server and for the client."""
        if control == "plain":
            return "", ""
        if control == "tls-crypt-v2":
            self._generate("--genkey", "tls-crypt-v2-server", "v2-server.key")
            self._generate("--tls-crypt-v2", "v2-server.key", "--genkey", "tls-crypt-v2-client", "v2-client.key")
            return tuple(f"tls-crypt-v2 {self._keys}/v2-{side}.key\n" for side in ("server", "client"))
        self._generate("--genkey", "secret", "control.key")
        directions = (" 0", " 1") if control == "tls-auth" else ("", "")
        return tuple(f"{control} {self._keys}/control.key{direction}\n" for direction in directions)

    def connect(self, lan_gateway):
        """Brings the client up and sends everything through the server."""
        process = self.client.spawn(f"exec openvpn --config {self._client_configuration}", "openvpn-client")
        self.client.wait_log(process, "Initialization Sequence Completed", 40)
        send_everything_through(self.client, "tun0", self.server.address, lan_gateway)
        return process
