"""AnyConnect-compatible VPN between nodes: ocserv and openconnect.

In: nodes of a `Scene`. Out: TLS on TCP 443 for control, DTLS on UDP 443 for data, everything of the client inside.
"""
import subprocess

import vpn

NETWORK = "10.67.0"
DEVICE = "oc0"


class AnyConnect:
    """An ocserv on one node and openconnect on another."""

    def __init__(self, scene, server, client, name, account, resolver, port=443):
        self.server, self.client, self.name, self.port, self.account = server, client, name, port, account
        chain, key = scene.authority.leaf("ocserv", [name], key="rsa")
        directory = server.directory
        subprocess.run(["ocpasswd", "-c", directory / "ocpasswd", account.user], input=f"{account.password}\n{account.password}\n", text=True, check=True, stdout=subprocess.DEVNULL)
        configuration = directory / "ocserv.conf"
        configuration.write_text(
            f'auth = "plain[passwd={directory}/ocpasswd]"\ntcp-port = {port}\nudp-port = {port}\nrun-as-user = root\nrun-as-group = root\nsocket-file = /run/ocserv.socket\nserver-cert = {chain}\nserver-key = {key}\n'
            f"isolate-workers = false\nmax-clients = 8\nmax-same-clients = 4\nkeepalive = 300\ndpd = 60\nmobile-dpd = 300\ntry-mtu-discovery = false\ntls-priorities = \"NORMAL:%SERVER_PRECEDENCE\"\nauth-timeout = 40\n"
            f"cookie-timeout = 300\nrekey-time = 172800\nrekey-method = ssl\nuse-occtl = false\npid-file = /run/ocserv.pid\ndevice = vpns\npredictable-ips = true\nipv4-network = {NETWORK}.0\nipv4-netmask = 255.255.255.0\n"
            f"dns = {resolver}\ncisco-client-compat = true\ndtls-legacy = true\nroute = default\n")
        vpn.masquerade(server, f"{NETWORK}.0/24")
        server.wait_port(port, server.spawn(["ocserv", "-f", "-c", configuration], "ocserv"))
        self._script = client.directory / "up.sh"
        self._script.write_text(f"#!/bin/sh\n[ \"$reason\" = connect ] || exit 0\nip link set dev $TUNDEV up mtu ${{INTERNAL_IP4_MTU:-1300}}\nip addr add $INTERNAL_IP4_ADDRESS/32 dev $TUNDEV\n")
        self._script.chmod(0o755)
        self._authority = scene.authority.root

    def connect(self, lan_gateway):
        """Brings the client up and sends everything through the server."""
        password = self.client.directory / "password"
        password.write_text(self.account.password + "\n")
        with password.open() as given:
            process = self.client.spawn(["openconnect", f"https://{self.name}:{self.port}/", f"--user={self.account.user}", "--passwd-on-stdin", f"--cafile={self._authority}", f"--script={self._script}", f"--interface={DEVICE}", "--non-inter"], "openconnect", stdin=given)
        self.client.wait_for(lambda: NETWORK in self.client.run(f"ip -br addr show {DEVICE} 2>/dev/null", check=False), "the tunnel device", 30, process)
        vpn.send_everything_through(self.client, DEVICE, self.server.address, lan_gateway)
        return process
