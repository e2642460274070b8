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
