"""More covert tunnels: a shell in HTTP, in IP packets over bare TCP, and in iodine's raw mode."""

import shell
import tunnel
from scene import scenario
from scenarios.covert_tunnels import SILENT, home_and_tunnel_server, work_inside

INSIDE_NET = "10.78.0"


def start_httptunnel(server, client, port=8080):
    """GNU httptunnel: a TCP relay to the server's sshd in the bodies of a POST and a GET; returns when it listens."""
    server.wait_port(port, server.spawn(f"exec hts -S -F 127.0.0.1:22 {port}", "hts"))
    relay = client.spawn(f"exec htc -S -F {tunnel.LOCAL_SSH_PORT} {server.address}:{port}", "htc")
    client.wait_port(tunnel.LOCAL_SSH_PORT, relay)


def start_socat_tun(server, client, port=11443):
    """socat: TUN devices joined by a bare TCP connection; returns the server's address inside."""
    device = "iff-no-pi=0,up,tun-name=st0"
    listener = server.spawn(
        f"exec socat TCP-LISTEN:{port},reuseaddr,nodelay TUN:{INSIDE_NET}.1/24,{device}", "socat-server"
    )
    server.wait_port(port, listener)
    client.spawn(f"exec socat TCP:{server.address}:{port},nodelay TUN:{INSIDE_NET}.2/24,{device}", "socat-client")
    # Until the device has its route, a ping would go out into the network.
    client.run(f"for i in $(seq 50); do ip route show dev st0 2>/dev/null | grep -q {INSIDE_NET} && exit 0; sleep 0.2; done; exit 1")
    return f"{INSIDE_NET}.1"


def start_iodine_direct(scene, server, client, zone):
    """iodine asked without a resolver: the server is reached, so that it leaves DNS for its raw mode."""
    password = f"k{scene.rng('iodine').randrange(10**8)}"
    daemon = server.spawn(f"exec iodined -f -c -P {password} {tunnel.IODINE_SERVER}/24 {zone}", "iodined")
    server.wait_port(53, daemon, "udp")
    process = client.spawn(f"exec iodine -f -P {password} {server.address} {zone}", "iodine")
    client.wait_log(process, "Connection setup complete", 60)
    return tunnel.IODINE_SERVER


@scenario("http_tunnel", ["httptunnel", "openssh-client"])
def http_tunnel(scene):
    """GNU httptunnel: an ssh session inside the bodies of HTTP requests and answers. Captured at home."""
    home, server, ssh = home_and_tunnel_server(scene)
    scene.record_lan(home)
    start_httptunnel(server, home["pc"])
    work_inside(scene, home["pc"], ssh, 20)
    scene.expect_flow("httptunnel", "http_tunnel", server=server.address, port=8080, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("bare_ip_tunnel", ["socat", "openssh-client"])
def bare_ip_tunnel(scene):
    """socat: IP packets over a bare TCP connection, an ssh session inside. Captured at home."""
    home, server, _ = home_and_tunnel_server(scene)
    ssh = shell.SshServer(scene, server, server.people[0], port=2022)
    scene.record_lan(home)
    inside = start_socat_tun(server, home["pc"])
    work_inside(scene, home["pc"], ssh, 20, host=inside, port=2022)
    scene.expect_flow("socat", "tunnel_unknown", server=server.address, port=11443, inner="ssh")
    scene.expect_silence(*SILENT)


@scenario("dns_tunnel_raw", ["iodine", "openssh-client"])
def dns_tunnel_raw(scene):
    """iodine with its server in reach: a handshake in DNS, then its raw mode, an ssh session inside. Captured at home."""
    home, server, _ = home_and_tunnel_server(scene)
    ssh = shell.SshServer(scene, server, server.people[0], port=2022)
    scene.record_lan(home)
    inside = start_iodine_direct(scene, server, home["pc"], "t.stat-metrics.net")
    work_inside(scene, home["pc"], ssh, 20, host=inside, port=2022)
    scene.expect_flow("iodine", "dns_tunnel", proto="udp", server=server.address, port=53, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)
