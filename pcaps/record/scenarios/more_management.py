"""More of remote management: the operator's end, and servers whose TLS ends in front of them."""

import time

import meshcentral
import people
import shell
from scene import scenario

PLAIN_PORT = 8086
PROXY = """\
    server {{
        listen 443 ssl;
        server_name {name};
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://{server}:{port};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 330s;
        }}
    }}
"""


class Site:
    """An operator, a laptop with the agent, a server; with `proxied` a web server that ends TLS in front of it."""

    def __init__(self, scene, name, proxied):
        net = scene.network
        self.account = scene.account()
        self.operator = net.lan("operator", {"desk": ("pc", "the operator's machine")})
        self.server = net.server("mesh", "hosting", "MeshCentral server", hostname="mesh")
        self.home = net.lan("home", {"laptop": ("laptop", "laptop with the agent")}, people={"laptop": [self.account]})
        self.laptop = self.home["laptop"]
        shell.furnish_workplace(scene, self.laptop, self.account)
        self.front = net.server("front", "hosting", "web server", hostname="front") if proxied else self.server
        net.name(name, self.front)
        net.use_public_resolver(self.server)
        net.start_dns()
        if proxied:
            chain, key = scene.authority.leaf("front", [name], "ec")
            servers = PROXY.format(name=name, chain=chain, key=key, server=self.server.address, port=PLAIN_PORT)
            configuration = self.front.configure("nginx.conf", servers=servers)
            process = self.front.spawn(f"exec nginx -e stderr -c {configuration}", "nginx")
            self.front.wait_port(443, process)
        plain_port = PLAIN_PORT if proxied else None
        self.mesh = meshcentral.MeshCentral(scene, self.server, name, plain_port=plain_port)
        self.mesh.install_agent(self.laptop, self.account)

    def type_in_terminal(self, scene, device, seconds):
        """The operator opens a terminal on the laptop and works in it."""
        accept = ["env", "NODE_TLS_REJECT_UNAUTHORIZED=0"]
        terminal = shell.Terminal(
            scene, self.operator["desk"], [*accept, *self.mesh.console("shell", "--id", device)], "meshctrl"
        )
        terminal.wait_prompt()
        lines = ["cd", *people.shell_lines(scene.rng("lines"), 20)]
        terminal.play(scene.person("operator").type_only(seconds, lines), "operator")
        terminal.close()


@scenario("meshcentral_operator", ["nodejs", "curl"], point="lan")
def meshcentral_operator(scene):
    """An operator opens a terminal on somebody's machine through a MeshCentral server and types. Captured on the operator's LAN."""
    site = Site(scene, "help.northdesk.example", proxied=False)
    _, device = site.mesh.start_agent()
    time.sleep(3)
    scene.record_lan(site.operator)
    site.type_in_terminal(scene, device, 25)
    scene.expect_flow(
        "meshcentral",
        "meshcentral",
        client=site.operator["desk"].address,
        server=site.server.address,
        port=443,
        note="the operator's command line: its control connection, or the terminal's relay",
    )


@scenario("meshcentral_reverse_proxy", ["nodejs", "curl", "nginx-light"], point="farm")
def meshcentral_reverse_proxy(scene):
    """A laptop at home runs a MeshCentral agent whose server is behind an nginx that ends TLS; an operator elsewhere opens a terminal on
    it and types. Captured on the laptop's LAN."""
    site = Site(scene, "care.eastfield.example", proxied=True)
    scene.record_lan(site.home)
    _, device = site.mesh.start_agent()
    time.sleep(5)
    site.type_in_terminal(scene, device, 25)
    scene.expect_flow(
        "meshcentral",
        "meshcentral",
        client=site.laptop.address,
        server=site.front.address,
        port=443,
        controlled="client",
        note="agent: control connection, or the terminal's relay",
    )


@scenario("meshcentral_plain", ["nodejs", "curl", "nginx-light"], point="server")
def meshcentral_plain(scene):
    """A MeshCentral agent comes to its server through an nginx that ends TLS. Captured in front of the server, where it is plain HTTP."""
    site = Site(scene, "desk.westvale.example", proxied=True)
    scene.record(site.server, "wan0")
    site.mesh.spawn_agent()
    time.sleep(15)
    scene.expect_flow(
        "meshcentral",
        "meshcentral",
        client=site.front.address,
        server=site.server.address,
        port=PLAIN_PORT,
        controlled="client",
        note="agent's control connection, as the web server hands it on",
    )
