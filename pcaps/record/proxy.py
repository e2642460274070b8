"""Proxies: SOCKS, HTTP, Shadowsocks and a private Tor network.

In: nodes of a `Scene`. Out: running servers; where the client needs a program of its own, a local SOCKS port on the client.
"""
import re
import subprocess
import time

LOCAL_SOCKS_PORT = 1080


def start_microsocks(node, port=1080):
    """A SOCKS5 server without authentication."""
    node.wait_port(port, node.spawn(["microsocks", "-i", "0.0.0.0", "-p", port], "microsocks"))


def start_dante(node, port=1080):
    """A SOCKS4 and SOCKS5 server without authentication."""
    configuration = node.directory / "danted.conf"
    anyone = "{ from: 0.0.0.0/0 to: 0.0.0.0/0 }"
    configuration.write_text(f"logoutput: stderr\ninternal: 0.0.0.0 port = {port}\nexternal: wan0\nclientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
                             f"client pass {anyone}\nsocks pass {anyone}\n")
    node.wait_port(port, node.spawn(["danted", "-f", configuration], "danted"))


def start_tinyproxy(node, port=8888):
    """An HTTP proxy that forwards http and connects to port 443 only."""
    configuration = node.directory / "tinyproxy.conf"
    configuration.write_text(f"User nobody\nGroup nogroup\nPort {port}\nTimeout 60\nMaxClients 40\nConnectPort 443\nDisableViaHeader Yes\n")
    node.wait_port(port, node.spawn(["tinyproxy", "-d", "-c", configuration], "tinyproxy"))


def start_shadowsocks(server, client, port, method, password):
    """A Shadowsocks server, and its client with a SOCKS port on the client node."""
    common = ["-p", port, "-k", password, "-m", method]
    server.wait_port(port, server.spawn(["ss-server", "-s", "0.0.0.0", *common], "ss-server"))
    client.wait_port(LOCAL_SOCKS_PORT, client.spawn(["ss-local", "-s", server.address, *common, "-b", "127.0.0.1", "-l", LOCAL_SOCKS_PORT], "ss-local"))


class TorNetwork:
    """A Tor network of its own: every relay is also a directory authority and an exit."""

    VOTING_SECONDS = 50
    COMMON = ("TestingTorNetwork 1\nRunAsDaemon 0\nShutdownWaitLength 0\nPathsNeededToBuildCircuits 0.25\nTestingMinExitFlagThreshold 0\n"
              "V3AuthVotingInterval 20\nV3AuthVoteDelay 4\nV3AuthDistDelay 4\nTestingV3AuthInitialVotingInterval 10\nTestingV3AuthInitialVoteDelay 4\nTestingV3AuthInitialDistDelay 4\n"
              "TestingDirAuthVoteExit *\nTestingDirAuthVoteGuard *\nTestingDirAuthVoteHSDir *\nAssumeReachable 1\nLog notice stdout\n")
    RELAY = ("AuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\nContactInfo relay@example.net\nSocksPort 0\nExitRelay 1\nExitPolicy accept *:*\nExitPolicyRejectPrivate 0\n"
             "ServerDNSTestAddresses\nServerDNSDetectHijacking 0\nDirAllowPrivateAddresses 1\n")

    def __init__(self, scene, relays):
        """`relays`: (node, OR port, directory port)."""
        self._scene = scene
        authorities = [self._identity(*relay) for relay in relays]
        self._authority_lines = "".join(line + "\n" for line in authorities)
        for node, or_port, directory_port in relays:
            torrc = node.directory / "torrc"
            torrc.write_text(self.COMMON + self._authority_lines + self.RELAY + f"DataDirectory {node.directory}/tor\nNickname {node.name}\nAddress {node.address}\n"
                             f"ORPort {node.address}:{or_port}\nDirPort {node.address}:{directory_port}\n")
            node.spawn(["tor", "-f", torrc], "tor")
        time.sleep(self.VOTING_SECONDS)

    @staticmethod
    def _identity(node, or_port, directory_port):
        data = node.directory / "tor"
        (data / "keys").mkdir(parents=True)
        data.chmod(0o700)
        subprocess.run(["tor-gencert", "--create-identity-key", "-m", "12", "-a", f"{node.address}:{directory_port}", "--passphrase-fd", "0"],
                       input=b"passphrase\n", cwd=data / "keys", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        empty = node.directory / "empty.torrc"
        empty.touch()
        nobody = "x 127.0.0.1:1 " + "f" * 40
        said = subprocess.run(["tor", "--list-fingerprint", "--orport", "1", "--dirserver", nobody, "--datadirectory", data, "-f", empty], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        fingerprint = said.strip().splitlines()[-1].split(None, 1)[1].replace(" ", "")
        v3 = re.search(r"fingerprint (\w{40})", (data / "keys" / "authority_certificate").read_text()).group(1)
        return f"DirAuthority {node.name} orport={or_port} no-v2 v3ident={v3} {node.address}:{directory_port} {fingerprint}"

    def connect(self, node, socks_port=9050):
        """A Tor client on a node; returns once it has a circuit."""
        data = node.directory / "tor-client"
        data.mkdir()
        data.chmod(0o700)
        torrc = node.directory / "torrc"
        torrc.write_text(self.COMMON + self._authority_lines + f"DataDirectory {data}\nSocksPort 127.0.0.1:{socks_port}\nClientUseIPv6 0\n")
        process = node.spawn(["tor", "-f", torrc], "tor")
        node.wait_log(process, "Bootstrapped 100%", 90)
        return process
