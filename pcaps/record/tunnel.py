"""Covert tunnels: DNS, ICMP and WebSocket, each with something inside.

In: nodes of a `Scene`. Out: running tunnels; a local port or address on the client that leads to the server's sshd.
"""

LOCAL_SSH_PORT = 2200
IODINE_SERVER = "10.77.0.1"


def start_iodine(scene, server, client, zone, resolver):
    """An IP tunnel in DNS queries that go through the access network's resolver; returns the server's address inside."""
    password = f"k{scene.rng('iodine').randrange(10**8)}"
    daemon = server.spawn(f"exec iodined -f -c -P {password} {IODINE_SERVER}/24 {zone}", "iodined")
    server.wait_port(53, daemon, "udp")
    process = client.spawn(f"exec iodine -f -r -P {password} {resolver} {zone}", "iodine")
    client.wait_log(process, "Connection setup complete", 60)
    return IODINE_SERVER


def start_dns2tcp(scene, server, client, zone, resolver):
    """A TCP relay to the server's sshd in DNS TXT answers."""
    key = f"k{scene.rng('dns2tcp').randrange(10**8)}"
    configuration = server.configure("dns2tcpd.conf", address=server.address, zone=zone, key=key)
    server.wait_port(53, server.spawn(f"exec dns2tcpd -F -d 1 -f {configuration}", "dns2tcpd"), "udp")
    relay = client.spawn(f"exec dns2tcpc -z {zone} -k {key} -r ssh -l {LOCAL_SSH_PORT} -d 1 {resolver}", "dns2tcpc")
    client.wait_port(LOCAL_SSH_PORT, relay)


def start_ptunnel(server, client):
    """A TCP relay to the server's sshd in ICMP echo."""
    server.run("sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
    server.spawn("exec ptunnel-ng -r127.0.0.1 -R22", "ptunnel-server")
    relay = client.spawn(f"exec ptunnel-ng -p{server.address} -l{LOCAL_SSH_PORT} -r127.0.0.1 -R22", "ptunnel-client")
    client.wait_port(LOCAL_SSH_PORT, relay)


def start_wstunnel(scene, server, client, port=80):
    """A TCP relay to the server's sshd in a WebSocket."""
    program = scene.npm_program("wstunnel")
    listener = server.spawn(f"exec node {program} -s 0.0.0.0:{port} -t 127.0.0.1:22", "wstunnel-server")
    server.wait_port(port, listener)
    inside, outside = f"{LOCAL_SSH_PORT}:127.0.0.1:22", f"ws://{server.address}:{port}"
    client.wait_port(LOCAL_SSH_PORT, client.spawn(f"exec node {program} -t {inside} {outside}", "wstunnel-client"))
