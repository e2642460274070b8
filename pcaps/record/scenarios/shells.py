"""SSH as a shell, for transfers and as a tunnel."""

import time

import people
import shell
import web
from scene import scenario

SSH_PACKAGES = ["openssh-client", "openssh-server"]


def home_and_server(scene, pool="hosting", role="ssh server"):
    """A home PC and an ssh server with one account each way."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("server", pool, role, people=[account])
    return home, server, account


@scenario("ssh_interactive", SSH_PACKAGES)
def ssh_interactive(scene):
    """A person at home works in a shell on the employer's server. Captured at home."""
    home, server, account = home_and_server(scene, "business", "the employer's server")
    ssh = shell.SshServer(scene, server, account)
    scene.record_lan(home)
    terminal = shell.Terminal(scene, home["pc"], ssh.command(home["pc"]), "ssh")
    terminal.wait_prompt()
    terminal.play(scene.person("user").type_only(75, people.shell_lines(scene.rng("lines"), 60)), "user")
    terminal.close()
    scene.expect_flow("ssh", "ssh", server=server.address, port=22, controlled="server")
    scene.expect_silence("remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm")


@scenario("ssh_transfer", SSH_PACKAGES + ["rsync"])
def ssh_transfer(scene):
    """Files go to and from a rented server with scp, sftp and rsync over ssh. Captured at home."""
    home, server, account = home_and_server(scene)
    pc, rng = home["pc"], scene.rng("files")
    ssh = shell.SshServer(scene, server, account, port=2222)
    key = ssh.key_for(pc)
    for name in ("report.bin", "photo.bin", "table.bin"):
        (scene.directory / name).write_bytes(rng.randbytes(rng.randrange(20_000, 60_000)))
    scene.record_lan(home)
    options = f"{shell.CLIENT_OPTIONS} -i {key}"
    remote = f"{account.user}@{server.address}"
    pc.run(f"scp -q {options} -P 2222 {scene.directory}/report.bin {scene.directory}/photo.bin {remote}:")
    time.sleep(rng.uniform(2, 4))
    pc.run(f"mkdir -p project && rsync -a -e 'ssh {options} -p 2222' {remote}:src {remote}:logs project/")
    time.sleep(rng.uniform(2, 4))
    pc.run(
        f"sftp -q {options} -P 2222 -b - {remote}",
        input=f"put {scene.directory}/table.bin\nls -l\nget photo.bin /tmp/photo.bin\nrm table.bin\n",
    )
    scene.expect_flow("ssh", "ssh", server=server.address, port=2222, note="scp, rsync, sftp in this order")
    scene.expect_silence("remote_control", "relay", "laptop_farm")


@scenario("ssh_tunnel_socks", SSH_PACKAGES + ["curl", "nginx-light"])
def ssh_tunnel_socks(scene):
    """A person at home browses through ssh -D at a rented server; names are resolved there too. Captured at home."""
    home, server, account = home_and_server(scene)
    pc, rng = home["pc"], scene.rng("browsing")
    sites = web.Sites(scene, largest_part=15_000)
    scene.network.use_public_resolver(server)
    ssh = shell.SshServer(scene, server, account)
    scene.record_lan(home)
    client = pc.spawn(ssh.command(pc, "-N", "-D", "127.0.0.1:1080"), "ssh")
    pc.wait_port(1080, client)
    loaded = 0
    for _ in range(7):
        loaded += web.load_page(
            scene, pc, sites.pick(rng), rng.randrange(web.PAGES), options=["-x", "socks5h://127.0.0.1:1080"]
        )
        time.sleep(rng.uniform(2, 6))
    web.require(loaded, 6)
    pc.stop(client)
    scene.expect_flow("ssh", "ssh_tunnel", server=server.address, port=22, inner="https of a person browsing")
    scene.expect_silence("remote_control", "relay", "laptop_farm")


@scenario("ssh_forwards", SSH_PACKAGES + ["curl", "nginx-light"])
def ssh_forwards(scene):
    """Three ssh connections to a rented server carry others: -J to the server itself and a command there, -R from the server to a
    web server at home, and a shell with -L to a web server behind. A fourth runs a command and forwards nothing. Captured at home."""
    home, server, account = home_and_server(scene)
    pc, rng = home["pc"], scene.rng("forwards")
    carrying = shell.SshServer(scene, server, account, port=2222)
    plain = shell.SshServer(scene, server, account, port=22)
    for node in (pc, server):
        pages = scene.directory / f"pages-{node.name}"
        web.write_pages(pages, rng, 9_000)
        program = f"exec python3 -m http.server 8000 --bind 127.0.0.1 --directory {pages}"
        node.wait_port(8000, node.spawn(program, "pages"))
    scene.record_lan(home)
    pc.run(plain.command(pc) + ["ls -l src; cat notes.txt"])
    time.sleep(rng.uniform(1, 3))
    # -J is this ProxyCommand; spelled out because the options must reach both.
    jump = " ".join(carrying.command(pc, "-W", "127.0.0.1:2222"))
    pc.run(carrying.command(pc, "-o", f"ProxyCommand={jump}", host="127.0.0.1") + ["ls -l logs"])
    time.sleep(rng.uniform(1, 3))
    back = pc.spawn(carrying.command(pc, "-N", "-R", "127.0.0.1:9000:127.0.0.1:8000"), "back")
    server.wait_port(9000, back)
    fetch_pages(server, 9000, rng)
    pc.stop(back)
    time.sleep(rng.uniform(1, 3))
    terminal = shell.Terminal(scene, pc, carrying.command(pc, "-L", "127.0.0.1:9001:127.0.0.1:8000"), "shell")
    terminal.wait_prompt()
    terminal.play(scene.person("user").type_only(12, people.shell_lines(scene.rng("lines"), 10)), "user")
    fetch_pages(pc, 9001, rng)
    terminal.close()
    scene.expect_flow("ssh", "ssh", server=server.address, port=22, controlled="server")
    scene.expect_flow("ssh", "ssh_tunnel", server=server.address, port=2222, note="-W, -R, a shell with -L in this order")
    scene.expect_silence("remote_control", "relay", "laptop_farm")


def fetch_pages(node, port, rng):
    """A few pages through a forwarded port, each over its own connection."""
    for _ in range(5):
        node.run(f"curl -sS -o /dev/null http://127.0.0.1:{port}/p{rng.randrange(web.PAGES)}.html")
        time.sleep(rng.uniform(0.3, 1.5))
