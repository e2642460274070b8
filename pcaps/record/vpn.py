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


class OpenVpn:
    """An OpenVPN server on one node and a client on another.

    `control`: how the control channel is protected: plain, tls-auth, tls-crypt, tls-crypt-v2; static = no control channel, one shared key.
    """

    def __init__(self, scene, server, client, port=1194, protocol="udp", control="plain", cipher="AES-256-GCM"):
        self.server, self.client, self.port = server, client, port
        keys = scene.directory / "openvpn"
        keys.mkdir()
        self._server_configuration, self._client_configuration = keys / "server.conf", keys / "client.conf"
        common = "dev tun0\ndev-type tun\nverb 3\ndisable-dco\nkeepalive 10 60\n"
        server_side, client_side = f"port {port}\n", f"remote {server.address} {port}\nnobind\n"
        if control == "static":
            subprocess.run(["openvpn", "--genkey", "secret", keys / "static.key"], check=True)
            common += f"proto {protocol}\nsecret {keys}/static.key\ncipher AES-256-CBC\n"
            server_side += f"ifconfig {TUNNEL_NET}.1 {TUNNEL_NET}.2\n"
            client_side += f"ifconfig {TUNNEL_NET}.2 {TUNNEL_NET}.1\n"
        else:
            server_chain, server_key = scene.authority.leaf("openvpn-server", ["gw1.privatenet.example"], key="rsa", organisation="Privatenet")
            client_chain, client_key = scene.authority.leaf("openvpn-client", ["client-0417"], key="rsa", client=True)
            common += f"ca {scene.authority.root}\ndata-ciphers {cipher}\n"
            server_side += f"proto {'tcp-server' if protocol == 'tcp' else 'udp'}\ncert {server_chain}\nkey {server_key}\ndh none\ntopology subnet\nserver {TUNNEL_NET}.0 255.255.255.0\n"
            client_side += f"client\nproto {'tcp-client' if protocol == 'tcp' else 'udp'}\ncert {client_chain}\nkey {client_key}\nremote-cert-tls server\n"
            for side, option in self._control_options(control, keys):
                server_side, client_side = (server_side + option, client_side) if side == "server" else (server_side, client_side + option)
        self._server_configuration.write_text(common + server_side)
        self._client_configuration.write_text(common.replace("keepalive 10 60\n", "" if control != "static" else "keepalive 10 60\n") + client_side)
        masquerade(server)
        process = server.spawn(["openvpn", "--config", self._server_configuration], "openvpn-server")
        server.wait_port(port, process, protocol)

    @staticmethod
    def _control_options(control, keys):
        if control in ("tls-auth", "tls-crypt"):
            subprocess.run(["openvpn", "--genkey", "secret", keys / "control.key"], check=True)
            direction = (" 0", " 1") if control == "tls-auth" else ("", "")
            return [("server", f"{control} {keys}/control.key{direction[0]}\n"), ("client", f"{control} {keys}/control.key{direction[1]}\n")]
        if control == "tls-crypt-v2":
            subprocess.run(["openvpn", "--genkey", "tls-crypt-v2-server", keys / "v2-server.key"], check=True)
            subprocess.run(["openvpn", "--tls-crypt-v2", keys / "v2-server.key", "--genkey", "tls-crypt-v2-client", keys / "v2-client.key"], check=True)
            return [("server", f"tls-crypt-v2 {keys}/v2-server.key\n"), ("client", f"tls-crypt-v2 {keys}/v2-client.key\n")]
        return []

    def connect(self, lan_gateway):
        """Brings the client up and sends everything through the server."""
        process = self.client.spawn(["openvpn", "--config", self._client_configuration], "openvpn-client")
        self.client.wait_log(process, "Initialization Sequence Completed", 40)
        send_everything_through(self.client, "tun0", self.server.address, lan_gateway)
        return process
