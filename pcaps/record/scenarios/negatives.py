"""Scenes that look like a laptop farm and are none."""

import desktop
import people
import shell
import web
from scene import scenario

MUST_NOT = ["remote_control", "remote_control_suspicious_origin", "relay", "operator_distance", "laptop_farm"]


@scenario("negative_local_work", ["openssh-client", "openssh-server", "xterm", "nginx-light"], point="farm")
def negative_local_work(scene):
    """The owner of a company laptop sits in front of it at home and works in an ssh session on the employer's server;
    another PC browses. Nobody operates anything from outside. Captured on the home LAN."""
    account = scene.account()
    net = scene.network
    corp = net.server("corp", "business", "the employer's ssh server", people=[account])
    home = net.lan(
        "home",
        {"laptop": ("laptop", "company laptop, its owner in front of it"), "pc": ("pc", "home PC")},
        people={"laptop": [account]},
    )
    laptop, sites = home["laptop"], web.Sites(scene, largest_part=6_000)
    ssh = shell.SshServer(scene, corp, account)
    display = desktop.start_xvfb(laptop, user=account.user)
    command = ssh.command(laptop, user=account.user)
    scene.record_lan(home)
    background = [
        web.Background(scene, laptop, sites, "laptop", polls=(7, 16)),
        web.Background(scene, home["pc"], sites, "pc", polls=(25, 40), pages=(15, 30)),
    ]
    laptop.spawn(["xterm", "-maximized", "-e", *command], "xterm", env={"DISPLAY": f":{display}"}, user=account.user)
    laptop.wait_for(lambda: laptop.run("ss -tnH state established 'dport = :22'").strip(), "the ssh session", 20)
    hands = desktop.Hands(scene, laptop, display, "local")
    hands.click(300, 300)
    hands.play(scene.person("local", mouse=0.3).work(85, people.shell_lines(scene.rng("lines"), 60)))
    desktop.screenshot(laptop, display, scene.directory / "local.png")
    for b in background:
        b.stop()
    scene.expect_flow(
        "ssh", "ssh", server=corp.address, port=22, controlled="server", note="typed at the laptop itself"
    )
    scene.expect_silence(*MUST_NOT)


@scenario("negative_outbound_rdp", ["xrdp", "tigervnc-standalone-server", "freerdp2-x11", "nginx-light"], point="farm")
def negative_outbound_rdp(scene):
    """The owner of a laptop works from home on an office desktop over RDP: outbound, typed locally. Captured on the
    home LAN."""
    account = scene.account()
    net = scene.network
    corp = net.server("corp", "business", "the employer's terminal server", hostname="ts-07", people=[account])
    home = net.lan(
        "home", {"laptop": ("laptop", "company laptop, its owner in front of it")}, people={"laptop": [account]}
    )
    laptop, sites = home["laptop"], web.Sites(scene, largest_part=6_000)
    desktop.XrdpServer(scene, corp, account, desktop.terminal())
    display = desktop.start_xvfb(laptop)
    scene.record_lan(home)
    background = web.Background(scene, laptop, sites, "laptop", polls=(7, 16))
    client = desktop.start_xfreerdp(scene, laptop, display, corp.address, account, options=["/bpp:16"])
    hands = desktop.Hands(scene, laptop, display, "local")
    hands.click(420, 330)
    hands.play(scene.person("local", mouse=0.3).work(60, people.shell_lines(scene.rng("lines"), 60)))
    desktop.screenshot(laptop, display, scene.directory / "local.png")
    background.stop()
    laptop.stop(client)
    scene.expect_flow("rdp", "rdp", server=corp.address, port=3389, controlled="server")
    scene.expect_silence(*MUST_NOT)


@scenario(
    "negative_idle_help_desk",
    ["xrdp", "tigervnc-standalone-server", "freerdp2-x11", "openssh-client", "nginx-light"],
    point="farm",
)
def negative_idle_help_desk(scene):
    """A help desk's RDP session into a laptop at home stays connected and idle, while its owner types into an ssh
    session on the employer's server. The RDP session is real, but it drives nothing. Captured on the home LAN."""
    account = scene.account()
    net = scene.network
    corp = net.server("corp", "business", "the employer's ssh server and help desk", people=[account])
    home = net.lan(
        "home", {"laptop": ("laptop", "company laptop, its owner in front of it")}, people={"laptop": [account]}
    )
    laptop, sites = home["laptop"], web.Sites(scene, largest_part=5_000)
    ssh = shell.SshServer(scene, corp, account)
    desktop.XrdpServer(scene, laptop, account, desktop.terminal("while sleep 7; do date; done"))
    net.forward(home, 3389, laptop)
    help_desk, own = desktop.start_xvfb(corp), desktop.start_xvfb(laptop, 2, user=account.user)
    command = ssh.command(laptop, user=account.user)
    scene.record_lan(home)
    background = web.Background(scene, laptop, sites, "laptop", polls=(8, 18))
    client = desktop.start_xfreerdp(scene, corp, help_desk, home.public, account, options=["/bpp:16"])
    laptop.spawn(["xterm", "-maximized", "-e", *command], "xterm", env={"DISPLAY": f":{own}"}, user=account.user)
    laptop.wait_for(lambda: laptop.run("ss -tnH state established 'dport = :22'").strip(), "the ssh session", 20)
    hands = desktop.Hands(scene, laptop, own, "local")
    hands.click(300, 300)
    hands.play(scene.person("local", mouse=0.3).work(75, people.shell_lines(scene.rng("lines"), 60)))
    background.stop()
    corp.stop(client)
    scene.expect_flow("rdp", "rdp", server=laptop.address, port=3389, controlled="server", note="idle")
    scene.expect_flow(
        "ssh", "ssh", server=corp.address, port=22, controlled="server", note="typed at the laptop itself"
    )
    scene.expect_silence("remote_control_suspicious_origin", "relay", "operator_distance", "laptop_farm")


@scenario("negative_video_stream", ["curl", "nginx-light"])
def negative_video_stream(scene):
    """Video-like streaming at home: one small request every few seconds, a burst of data for each. Nobody operates
    anything. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    pc, rng = home["pc"], scene.rng("segments")
    web.Sites(scene, groups=("cdn",))
    for i in range(14):
        (scene.directory / "www" / f"segment{i}.ts").write_bytes(rng.randbytes(rng.randrange(14_000, 26_000)))
    seconds = scene.choose("seconds a segment", 4)
    scene.record_lan(home)
    # One connection for the whole film, the next segment when the player's buffer has room.
    pc.run(
        [
            "curl",
            "-sS",
            "--cacert",
            scene.authority.root,
            "--rate",
            f"{60 // seconds}/m",
            "-o",
            "/tmp/segment_#1",
            "https://cdn.jsdelivr.net/segment[0-13].ts",
        ],
        timeout=120,
    )
    scene.expect_silence(*MUST_NOT, "remote_control_unknown_tool", "tunnel_unknown", "egress_vpn", "egress_proxy")
