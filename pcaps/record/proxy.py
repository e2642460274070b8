"""Proxies: SOCKS, HTTP, Shadowsocks and a private Tor network.

In: nodes of a `Scene`. Out: running servers; where the client needs a program of its own, a local SOCKS port on the client.
"""

import re
import time

LOCAL_SOCKS_PORT = 1080


def start_microsocks(node, port=1080):
    """A SOCKS5 server without authentication."""
    node.wait_port(port, node.spawn(f"exec microsocks -i 0.0.0.0 -p {port}", "microsocks"))


def start_dante(node, port=1080):
    """A SOCKS4 and SOCKS5 server without authentication."""
    configuration = node.configure("danted.conf", port=port)
    node.wait_port(port, node.spawn(f"exec danted -f {configuration}", "danted"))


def start_tinyproxy(node, port=8888):
    """An HTTP proxy that forwards http and connects to port 443 only."""
    configuration = node.configure("tinyproxy.conf", port=port)
    node.wait_port(port, node.spawn(f"exec tinyproxy -d -c {configuration}", "tinyproxy"))


def start_shadowsocks(server, client, port, method, password):
    """A Shadowsocks server, and its client with a SOCKS port on the client node."""
    shared = f"-p {port} -k {password} -m {method}"
    server.wait_port(port, server.spawn(f"exec ss-server -s 0.0.0.0 {shared}", "ss-server"))
    local = client.spawn(f"exec ss-local -s {server.address} {shared} -b 127.0.0.1 -l {LOCAL_SOCKS_PORT}", "ss-local")
    client.wait_port(LOCAL_SOCKS_PORT, local)


class TorNetwork:
    """A Tor network of its own: every relay is also a directory authority and an exit."""

    VOTING_SECONDS = 50
    BOOTSTRAP_SECONDS = 90

    def __init__(self, scene, relays):
        """`relays`: (node, OR port, directory port)."""
        self._authorities = "\n".join(self._identity(*relay) for relay in relays)
        for node, or_port, directory_port in relays:
            values = {"nickname": node.name, "address": node.address}
            values |= {"or_port": or_port, "directory_port": directory_port}
            self._start(node, "torrc-relay", node.directory / "tor", values)
        time.sleep(self.VOTING_SECONDS)

    def _start(self, node, template, data, values):
        common = node.configure("torrc-common", data=data, authorities=self._authorities)
        own = node.configure(template, **values)
        torrc = node.directory / "torrc"
        torrc.write_text(common.read_text() + own.read_text())
        return node.spawn(f"exec tor -f {torrc}", "tor")

    @staticmethod
    def _identity(node, or_port, directory_port):
        """Makes a relay's keys; returns its DirAuthority line."""
        data = node.directory / "tor"
        (data / "keys").mkdir(parents=True)
        data.chmod(0o700)
        address = f"{node.address}:{directory_port}"
        make = f"cd {data}/keys && tor-gencert --create-identity-key -m 12 -a {address} --passphrase-fd 0"
        node.run(make, input="passphrase\n")
        (data / "empty").touch()
        nobody = f"--dirserver 'x 127.0.0.1:1 {'f' * 40}'"
        said = node.run(f"tor --list-fingerprint --orport 1 {nobody} --datadirectory {data} -f {data}/empty 2>/dev/null")
        fingerprint = said.strip().splitlines()[-1].split(None, 1)[1].replace(" ", "")
        certificate = (data / "keys" / "authority_certificate").read_text()
        v3 = re.search(r"fingerprint (\w{40})", certificate).group(1)
        return f"DirAuthority {node.name} orport={or_port} no-v2 v3ident={v3} {address} {fingerprint}"

    def connect(self, node, socks_port=9050):
        """A Tor client on a node; returns once it has a circuit."""
        data = node.directory / "tor"
        data.mkdir()
        data.chmod(0o700)
        process = self._start(node, "torrc-client", data, {"socks_port": socks_port})
        node.wait_log(process, "Bootstrapped 100%", self.BOOTSTRAP_SECONDS)
        return process
