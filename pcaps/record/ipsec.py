"""IPsec between nodes: strongSwan with ESP in userspace (kernel-libipsec), since a recording machine's kernel may have none.

In: nodes of a `Scene`. Out: an IKEv2 connection from behind NAT, UDP 500 then 4500, everything of the client inside.
"""

import vpn

NETWORK = "10.68.0"
# Folders that swanctl expects.
FOLDERS = ["x509", "x509ca", "x509crl", "x509ocsp", "x509aa", "x509ac", "private", "rsa", "ecdsa", "bliss"]
FOLDERS += ["pkcs8", "pkcs12", "pubkey", "conf.d"]


class Charon:
    """A strongSwan daemon on a node with one connection."""

    def __init__(self, node, template, values):
        self.node, self.directory = node, node.directory / "strongswan"
        for folder in FOLDERS:
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self._socket = f"unix://{self.directory}/vici"
        daemon = node.configure("strongswan.conf", "strongswan/strongswan.conf", socket=self._socket)
        self._connections = node.configure(template, "strongswan/swanctl.conf", **values)
        self._environment = {"STRONGSWAN_CONF": str(daemon), "SWANCTL_DIR": str(self.directory)}

    def start(self):
        """Starts the daemon and loads the connection."""
        process = self.node.spawn(["/usr/lib/ipsec/charon"], "charon", env=self._environment)
        self.node.wait_for((self.directory / "vici").exists, "charon", 10, process)
        self.control("--load-all", "--file", self._connections)

    def control(self, *arguments):
        """Runs swanctl; returns what it printed."""
        command = ["swanctl", *arguments, "--uri", self._socket]
        return self.node.run(command, check=False, env=self._environment)


class IkeV2:
    """IKEv2 as built-in clients of desktops do it: the server shows a certificate, the client has a name and a password
    (EAP-MSCHAPv2)."""

    def __init__(self, scene, server, client, name, account):
        _, key = scene.authority.leaf("ipsec", [name, server.address], key="rsa")
        values = {"address": server.address, "name": name, "user": account.user, "password": account.password}
        self.server = Charon(server, "swanctl-server.conf", values | {"network": NETWORK})
        self.client = Charon(client, "swanctl-client.conf", values)
        certificates = scene.authority.directory
        copies = [
            (self.server, "x509/server.crt", certificates / "ipsec.leaf"),
            (self.server, "private/server.key", key),
            (self.server, "x509ca/intermediate.crt", certificates / "intermediate.crt"),
            (self.client, "x509ca/intermediate.crt", certificates / "intermediate.crt"),
            (self.client, "x509ca/root.crt", certificates / "root.crt"),
        ]
        for daemon, target, source in copies:
            (daemon.directory / target).write_bytes(source.read_bytes())
        vpn.masquerade(server, f"{NETWORK}.0/24")
        self.server.start()

    def connect(self):
        """Brings the connection up."""
        self.client.start()
        said = self.client.control("--initiate", "--child", "home", "--timeout", "20")
        if "completed successfully" not in said:
            raise RuntimeError(f"IKEv2: {said[-800:]}\n{self.client.node.log('charon')[-800:]}")

    def disconnect(self):
        """Ends the connection in an orderly way."""
        self.client.control("--terminate", "--ike", "home", "--timeout", "5")
