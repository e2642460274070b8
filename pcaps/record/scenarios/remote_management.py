"""Remote-management agents: tools that an operator or a help desk installs on a machine and then uses from anywhere."""

import time

import meshcentral
import people
import shell
import web
from scene import scenario


@scenario("meshcentral_terminal", ["nodejs", "curl", "nginx-light"], point="farm")
def meshcentral_terminal(scene):
    """A laptop at home runs a MeshCentral agent; an operator elsewhere opens a terminal on it through the server at a
    hosting company and types. Captured on the laptop's LAN."""
    account = scene.account()
    net = scene.network
    operator = net.lan("operator", {"desk": ("pc", "the operator's machine")})
    server = net.server("mesh", "hosting", "MeshCentral server", hostname="mesh")
    home = net.lan("home", {"laptop": ("laptop", "laptop with the agent")}, people={"laptop": [account]})
    laptop, sites = home["laptop"], web.Sites(scene, largest_part=5_000)
    shell.furnish_workplace(scene, laptop, account)
    name = "assist.fielddesk.example"
    net.name(name, server)
    net.use_public_resolver(server)
    net.start_dns()
    mesh = meshcentral.MeshCentral(scene, server, name)
    mesh.install_agent(laptop, account)
    scene.record_lan(home)
    background = web.Background(scene, laptop, sites, "laptop", polls=(9, 18))
    _, device = mesh.start_agent()
    time.sleep(5)
    terminal = shell.Terminal(
        scene,
        operator["desk"],
        ["env", "NODE_TLS_REJECT_UNAUTHORIZED=0", *mesh.console("shell", "--id", device)],
        "meshctrl",
    )
    terminal.wait_prompt()
    terminal.play(
        scene.person("operator").type_only(45, ["cd", *people.shell_lines(scene.rng("lines"), 30)]), "operator"
    )
    (scene.directory / "terminal.txt").write_bytes(bytes(terminal.screen))
    terminal.close()
    background.stop()
    scene.expect_flow(
        "meshcentral",
        "meshcentral",
        client=laptop.address,
        server=server.address,
        port=443,
        controlled="client",
        note="agent: control connection, or the terminal's relay",
    )
    scene.expect_finding("remote_control", laptop.address, server.address, deep=True)
