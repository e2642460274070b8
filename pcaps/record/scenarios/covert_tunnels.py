"""Covert tunnels: a shell hidden in DNS, in ping, in a WebSocket."""

import people
import shell
import tunnel
from scene import scenario

SILENT = ["remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm"]


def home_and_tunnel_server(scene):
    """A home PC, and a rented server with an sshd that only its own loopback reaches."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("server", "hosting", "tunnel server", people=[account])
    return home, server, shell.SshServer(scene, server, account, address="127.0.0.1")


def work_inside(scene, node, ssh, seconds, host="127.0.0.1", port=tunnel.LOCAL_SSH_PORT):
    """Somebody works in a shell through the tunnel."""
    terminal = shell.Terminal(scene, node, ssh.command(node, host=host, port=port), "ssh")
    terminal.wait_prompt()
    terminal.play(scene.person("user").type_only(seconds, people.shell_lines(scene.rng("lines"), 30)), "user")
    terminal.close()


def dns_tunnel_zone(scene, server):
    """A zone that the access network's resolver asks the tunnel server about."""
    zone = "t." + scene.rng("zone").choice(["stat-metrics.net", "edge-telemetry.net", "cdn-probe.net"])
    scene.network.dns_records += [f"server=/{zone}/{server.address}", "cache-size=0", "dns-forward-max=1000"]
    return scene.choose("zone of the tunnel", zone)


@scenario("dns_tunnel_iodine", ["iodine", "dnsmasq", "openssh-client"])
def dns_tunnel_iodine(scene):
    """iodine: IP inside DNS queries through the access network's resolver, an ssh session inside. Captured at home."""
    home, server, _ = home_and_tunnel_server(scene)
    ssh = shell.SshServer(scene, server, server.people[0], port=2022)
    zone = dns_tunnel_zone(scene, server)
    scene.record_lan(home)
    inside = tunnel.start_iodine(scene, server, home["pc"], zone, home["pc"].resolver)
    work_inside(scene, home["pc"], ssh, 20, host=inside, port=2022)
    scene.expect_flow("iodine", "dns_tunnel", proto="udp", server=home["pc"].resolver, port=53, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address)
    scene.expect_silence(*SILENT)


@scenario("dns_tunnel_dns2tcp", ["dns2tcp", "dnsmasq", "openssh-client"])
def dns_tunnel_dns2tcp(scene):
    """dns2tcp: an ssh session inside DNS TXT answers through the access network's resolver. Captured at home."""
    home, server, ssh = home_and_tunnel_server(scene)
    zone = dns_tunnel_zone(scene, server)
    scene.record_lan(home)
    tunnel.start_dns2tcp(scene, server, home["pc"], zone, home["pc"].resolver)
    work_inside(scene, home["pc"], ssh, 20)
    scene.expect_flow("dns2tcp", "dns_tunnel", proto="udp", server=home["pc"].resolver, port=53, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address)
    scene.expect_silence(*SILENT)


@scenario("icmp_tunnel", ["ptunnel-ng", "openssh-client"])
def icmp_tunnel(scene):
    """ptunnel-ng: an ssh session inside ICMP echo. Captured at home."""
    home, server, ssh = home_and_tunnel_server(scene)
    scene.record_lan(home)
    tunnel.start_ptunnel(server, home["pc"])
    work_inside(scene, home["pc"], ssh, 30)
    scene.expect_flow("ptunnel-ng", "icmp_tunnel", proto="icmp", server=server.address, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("websocket_tunnel", ["openssh-client", "nodejs"])
def websocket_tunnel(scene):
    """wstunnel: an ssh session inside a WebSocket on port 80. Captured at home."""
    home, server, ssh = home_and_tunnel_server(scene)
    scene.record_lan(home)
    tunnel.start_wstunnel(scene, server, home["pc"])
    work_inside(scene, home["pc"], ssh, 35)
    scene.expect_flow("wstunnel", "websocket_tunnel", server=server.address, port=80, inner="ssh")
    scene.expect_finding("tunnel_covert", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)
