"""Covert tunnels: DNS, ICMP and WebSocket, each with something inside.

In: nodes of a `Scene`. Out: running tunnels; a local port or address on the client that leads to the server's sshd.
"""
LOCAL_SSH_PORT = 2200


def start_iodine(scene, server, client, zone, resolver):
    """An IP tunnel in DNS queries that go through the access network's resolver; the server is 10.77.0.1 inside."""
    password = "k" + str(scene.rng("iodine").randrange(10**8))
    server.wait_port(53, server.spawn(["iodined", "-f", "-c", "-P", password, "10.77.0.1/24", zone], "iodined"), "udp")
    process = client.spawn(["iodine", "-f", "-r", "-P", password, resolver, zone], "iodine")
    client.wait_log(process, "Connection setup complete", 60)
    return "10.77.0.1"


def start_dns2tcp(scene, server, client, zone, resolver):
    """A TCP relay to the server's sshd in DNS TXT answers."""
    key = "k" + str(scene.rng("dns2tcp").randrange(10**8))
    configuration = server.directory / "dns2tcpd.conf"
    configuration.write_text(f"listen = {server.address}\nport = 53\nuser = root\nchroot = /\ndomain = {zone}\nkey = {key}\nresources = ssh:127.0.0.1:22\n")
    server.wait_port(53, server.spawn(["dns2tcpd", "-F", "-d", "1", "-f", configuration], "dns2tcpd"), "udp")
    client.wait_port(LOCAL_SSH_PORT, client.spawn(["dns2tcpc", "-z", zone, "-k", key, "-r", "ssh", "-l", LOCAL_SSH_PORT, "-d", "1", resolver], "dns2tcpc"))


def start_ptunnel(server, client):
    """A TCP relay to the server's sshd in ICMP echo."""
    server.run("sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
    server.spawn(["ptunnel-ng", "-r127.0.0.1", "-R22"], "ptunnel-server")
    client.wait_port(LOCAL_SSH_PORT, client.spawn(["ptunnel-ng", f"-p{server.address}", f"-l{LOCAL_SSH_PORT}", "-r127.0.0.1", "-R22"], "ptunnel-client"))


def start_wstunnel(scene, server, client, port=80):
    """A TCP relay to the server's sshd in a WebSocket."""
    program = scene.npm_program("wstunnel")
    server.wait_port(port, server.spawn(["node", program, "-s", f"0.0.0.0:{port}", "-t", "127.0.0.1:22"], "wstunnel-server"))
    client.wait_port(LOCAL_SSH_PORT, client.spawn(["node", program, "-t", f"{LOCAL_SSH_PORT}:127.0.0.1:22", f"ws://{server.address}:{port}"], "wstunnel-client"))
