"""IPsec between nodes: strongSwan with ESP in userspace (kernel-libipsec), since a recording machine's kernel may have none.

In: nodes of a `Scene`. Out: an IKEv2 connection from behind NAT, UDP 500 then 4500, everything of the client inside.
"""
import vpn

NETWORK = "10.68.0"
PLUGINS = ("random nonce aes sha1 sha2 hmac kdf md5 gmp curve25519 gcrypt openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation kernel-libipsec kernel-netlink socket-default vici updown resolve "
           "eap-identity eap-mschapv2")
# The tunnel's own packets must not enter the tunnel: they carry this mark.
MARK = "0x42"
FOLDERS = ("x509", "x509ca", "private", "rsa", "ecdsa", "pkcs8", "pkcs12", "pubkey", "x509crl", "x509ocsp", "x509aa", "x509ac", "bliss", "conf.d")


class Charon:
    """A strongSwan daemon on a node with one connection."""

    def __init__(self, node, connection):
        self.node, self.directory = node, node.directory / "strongswan"
        for folder in FOLDERS:
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self._socket = f"unix://{self.directory}/vici"
        (self.directory / "strongswan.conf").write_text(
            f"charon {{\n load_modular = no\n load = {PLUGINS}\n install_virtual_ip = yes\n plugins {{\n  vici {{ socket = {self._socket} }}\n  kernel-libipsec {{ allow_peer_ts = yes }}\n"
            f"  kernel-netlink {{ fwmark = !{MARK} }}\n  socket-default {{ fwmark = {MARK} }}\n }}\n filelog {{ stdout {{ default = 1 }} }}\n}}\n")
        (self.directory / "swanctl.conf").write_text(connection)

    def start(self):
        """Starts the daemon and loads the connection."""
        environment = {"STRONGSWAN_CONF": f"{self.directory}/strongswan.conf", "SWANCTL_DIR": str(self.directory)}
        process = self.node.spawn(["/usr/lib/ipsec/charon"], "charon", env=environment)
        self.node.wait_for((self.directory / "vici").exists, "charon", 10, process)
        self.node.run(["swanctl", "--load-all", "--file", self.directory / "swanctl.conf", "--uri", self._socket], env=environment)
        return environment

    def control(self, environment, *arguments):
        """Runs swanctl; returns what it printed."""
        return self.node.run(["swanctl", *arguments, "--uri", self._socket], check=False, env=environment)


class IkeV2:
    """IKEv2: the server shows a certificate, the client a user name and password (EAP-MSCHAPv2), as built-in clients of desktops do."""

    def __init__(self, scene, server, client, name, account):
        self.client_node = client
        chain, key = scene.authority.leaf("ipsec", [name, server.address], key="rsa")
        secrets = f'secrets {{ eap-1 {{ id = {account.user}\n secret = "{account.password}" }} }}\n'
        pool = f"pools {{ p {{ addrs = {NETWORK}.0/24\n }} }}\n"
        self.server = Charon(server, f"connections {{ rw {{ version = 2\n local_addrs = {server.address}\n pools = p\n proposals = aes256-sha256-modp2048,aes256-sha256-x25519\n send_cert = always\n"
                                     f" local {{ auth = pubkey\n certs = server.crt\n id = {name}\n }}\n remote {{ auth = eap-mschapv2\n eap_id = %any\n }}\n"
                                     f" children {{ net {{ local_ts = 0.0.0.0/0\n esp_proposals = aes256-sha256,aes128gcm16\n }} }} }} }}\n{pool}{secrets}")
        (self.server.directory / "x509" / "server.crt").write_text((scene.authority.directory / "ipsec.leaf").read_text())
        (self.server.directory / "x509ca" / "intermediate.crt").write_text((scene.authority.directory / "intermediate.crt").read_text())
        (self.server.directory / "private" / "server.key").write_bytes(key.read_bytes())
        self.client = Charon(client, f"connections {{ home {{ version = 2\n remote_addrs = {server.address}\n vips = 0.0.0.0\n proposals = aes256-sha256-modp2048\n"
                                     f" local {{ auth = eap-mschapv2\n eap_id = {account.user}\n id = {account.user}\n }}\n remote {{ auth = pubkey\n id = {name}\n }}\n"
                                     f" children {{ home {{ remote_ts = 0.0.0.0/0\n esp_proposals = aes256-sha256\n }} }} }} }}\n{secrets}")
        for ca in ("root.crt", "intermediate.crt"):
            (self.client.directory / "x509ca" / ca).write_text((scene.authority.directory / ca).read_text())
        vpn.masquerade(server, f"{NETWORK}.0/24")
        self.server.start()

    def connect(self):
        """Brings the connection up."""
        self._environment = self.client.start()
        said = self.client.control(self._environment, "--initiate", "--child", "home", "--timeout", "20")
        if "completed successfully" not in said:
            raise RuntimeError(f"IKEv2: {said[-800:]}\n{self.client_node.log('charon')[-800:]}")

    def disconnect(self):
        """Ends the connection in an orderly way."""
        self.client.control(self._environment, "--terminate", "--ike", "home", "--timeout", "5")
