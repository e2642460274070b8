"""AnyConnect-compatible VPN between nodes: ocserv and openconnect.

In: nodes of a `Scene`. Out: TLS on TCP 443 for control, DTLS on UDP 443 for data, everything of the client inside.
"""

import vpn

NETWORK = "10.67.0"
DEVICE = "oc0"


class AnyConnect:
    """An ocserv on one node and openconnect on another."""

    def __init__(self, scene, server, client, name, account, resolver, port=443):
        self.server, self.client, self.name, self.port, self.account = server, client, name, port, account
        chain, key = scene.authority.leaf("ocserv", [name], key="rsa")
        passwords = server.directory / "ocpasswd"
        server.run(["ocpasswd", "-c", passwords, account.user], input=f"{account.password}\n{account.password}\n")
        configuration = server.configure(
            "ocserv.conf", passwords=passwords, port=port, chain=chain, key=key, network=NETWORK, resolver=resolver
        )
        vpn.masquerade(server, f"{NETWORK}.0/24")
        server.wait_port(port, server.spawn(f"ocserv -f -c {configuration}", "ocserv"))
        self._script = client.configure("openconnect-up.sh")
        self._script.chmod(0o755)
        self._authority = scene.authority.root

    def connect(self, lan_gateway):
        """Brings the client up and sends everything through the server."""
        password = self.client.directory / "password"
        password.write_text(self.account.password + "\n")
        options = f"--user={self.account.user} --passwd-on-stdin --non-inter --cafile={self._authority}"
        options += f" --script={self._script} --interface={DEVICE}"
        with password.open() as given:
            address = f"https://{self.name}:{self.port}/"
            process = self.client.spawn(f"exec openconnect {options} {address}", "openconnect", stdin=given)
        show = f"ip -br addr show {DEVICE} 2>/dev/null"
        self.client.wait_for(lambda: NETWORK in self.client.run(show, check=False), "the tunnel device", 30, process)
        vpn.send_everything_through(self.client, DEVICE, self.server.address, lan_gateway)
        return process
