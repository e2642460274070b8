"""Laptop farms: an operator works on a company laptop that stands in somebody else's home."""

import desktop
import people
import shell
import vpn
import web
from scene import scenario

FARM_PACKAGES = [
    "xrdp",
    "tigervnc-standalone-server",
    "freerdp2-x11",
    "wireguard-go",
    "openssh-client",
    "nginx-light",
    "curl",
    "dnsmasq",
]


@scenario("farm_laptop", FARM_PACKAGES, point="farm", seed=7)
def farm_laptop(scene):
    """A company laptop in a facilitator's home is operated over RDP from a hosting address (a VPN exit); the keys
    go on into an ssh session to the employer's server. The facilitator's own PC browses beside it. Captured on the
    home LAN."""
    worker, facilitator = scene.account("worker"), scene.account("facilitator")
    net = scene.network
    operator = net.lan("operator", {"desk": ("pc", "the operator's machine")}, pool="foreign_home")
    exit_node = net.server("exit", "hosting", "the operator's VPN exit")
    corp = net.server("corp", "business", "the employer's ssh server", hostname="dev-app02", people=[worker])
    farm = net.lan(
        "farm",
        {"laptop": ("laptop", "company laptop"), "pc": ("pc", "the facilitator's own PC")},
        people={"laptop": [worker], "pc": [facilitator]},
    )
    laptop = farm["laptop"]
    sites = web.Sites(scene, largest_part=7_000)
    net.name("dev-app02.corp-internal.net", corp)
    ssh = shell.SshServer(scene, corp, worker)
    work = " ".join(ssh.command(laptop, host="dev-app02.corp-internal.net", user=worker.user))
    desktop.XrdpServer(scene, laptop, worker, desktop.terminal(f"{work}; sleep 60"))
    net.forward(farm, 3389, laptop)
    tunnel = vpn.WireGuard(scene, exit_node, operator["desk"])
    tunnel.connect(f"{operator.prefix}.1")
    display = desktop.start_xvfb(operator["desk"])

    scene.record_lan(farm)
    background = [
        web.Background(scene, laptop, sites, "laptop", polls=(9, 20)),
        web.Background(scene, farm["pc"], sites, "pc", polls=(25, 40), pages=(20, 36)),
    ]
    client = desktop.start_xfreerdp(scene, operator["desk"], display, farm.public, worker, options=["/bpp:16"])
    hands = desktop.Hands(scene, operator["desk"], display, "operator")
    hands.click(400, 300)
    hands.play(scene.person("operator", mouse=0.25).work(100, people.shell_lines(scene.rng("lines"), 80)))
    desktop.screenshot(operator["desk"], display, scene.directory / "operator.png")
    for b in background:
        b.stop()
    operator["desk"].stop(client)

    scene.expect_flow("rdp", "rdp", server=laptop.address, port=3389, controlled="server", note="keys of the operator")
    scene.expect_flow(
        "ssh", "ssh", server=corp.address, port=22, controlled="server", note="the same keys, going on to the employer"
    )
    scene.expect_finding("remote_control", laptop.address, exit_node.address)
    scene.expect_finding("remote_control_suspicious_origin", laptop.address, exit_node.address)
    scene.expect_finding("relay", laptop.address, exit_node.address, deep=True)
    scene.expect_finding("remote_control", farm["pc"].address, must=False)


@scenario(
    "farm_vnc_openvpn",
    ["tigervnc-standalone-server", "tigervnc-viewer", "openvpn", "openssh-client", "nginx-light", "curl"],
    point="farm",
    seed=3,
)
def farm_vnc_openvpn(scene):
    """A company laptop in a facilitator's home is operated over VNC on a forwarded high port from behind an OpenVPN
    exit; the keys go on into an ssh session to the employer. Captured on the home LAN."""
    worker = scene.account("worker")
    net = scene.network
    operator = net.lan("operator", {"desk": ("pc", "the operator's machine")}, pool="foreign_home")
    exit_node = net.server("exit", "hosting", "the operator's VPN exit")
    corp = net.server("corp", "business", "the employer's ssh server", hostname="bastion2", people=[worker])
    farm = net.lan("farm", {"laptop": ("laptop", "company laptop")}, people={"laptop": [worker]})
    laptop, sites = farm["laptop"], web.Sites(scene, largest_part=5_000)
    ssh = shell.SshServer(scene, corp, worker)
    work = " ".join(ssh.command(laptop, user=worker.user))
    server = desktop.VncServer(scene, laptop, worker, desktop.terminal(f"{work}; sleep 60"), port=5901)
    port = scene.choose("forwarded port", scene.rng("port").randrange(40_000, 60_000))
    net.forward(farm, port, laptop, 5901)
    tunnel = vpn.OpenVpn(scene, exit_node, operator["desk"], control="tls-crypt")
    tunnel.connect(f"{operator.prefix}.1")
    display = desktop.start_xvfb(operator["desk"])

    scene.record_lan(farm)
    background = web.Background(scene, laptop, sites, "laptop", polls=(8, 18))
    client = desktop.start_vncviewer(scene, operator["desk"], display, farm.public, port, server.password_file)
    hands = desktop.Hands(scene, operator["desk"], display, "operator")
    hands.click(400, 300)
    hands.play(scene.person("operator", mouse=0.3).work(90, people.shell_lines(scene.rng("lines"), 80)))
    desktop.screenshot(operator["desk"], display, scene.directory / "operator.png")
    background.stop()
    operator["desk"].stop(client)

    scene.expect_flow("vnc", "vnc", server=laptop.address, port=5901, controlled="server", note="keys of the operator")
    scene.expect_flow(
        "ssh",
        "ssh",
        client=laptop.address,
        server=corp.address,
        port=22,
        controlled="server",
        note="the same keys; the session began before the capture",
    )
    scene.expect_finding("remote_control", laptop.address, exit_node.address)
    scene.expect_finding("remote_control_suspicious_origin", laptop.address, exit_node.address)
    scene.expect_finding("relay", laptop.address, exit_node.address, deep=True)
