"""Mesh VPNs: a home PC and a rented server in one network of their own."""

import time

import mesh
from scene import scenario

# Both ends are in the tunnel; only the server's page and pings go through it.
PAGE_BYTES = 9_000


def home_and_server(scene):
    """A home PC and a rented server that has a page."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("server", "hosting", "mesh node")
    (server.directory / "page").write_bytes(bytes(scene.rng("page").randrange(256) for _ in range(PAGE_BYTES)))
    return home, server


def visit(scene, node, server, inside, visits=5):
    """Somebody looks at the page inside, and at whether the server is there."""
    host = f"[{inside}]" if ":" in inside else inside
    family = "::" if ":" in inside else "0.0.0.0"
    server.spawn(f"cd {server.directory} && exec python3 -m http.server --bind {family} 8080", "page")
    server.wait_port(8080)
    rng = scene.rng("visits")
    for _ in range(visits):
        node.run(f"curl -s -o /dev/null --max-time 20 http://{host}:8080/page")
        node.run(f"ping -c 2 -i 0.3 {inside}", check=False)
        time.sleep(rng.uniform(0.5, 3))


def expect(scene, server, label, port, *protocols):
    """Flows with the label, and no finding that needs an operator."""
    for protocol in protocols:
        scene.expect_flow(label, label, proto=protocol, server=server.address, port=port, inner="http and ping")
    scene.expect_silence("remote_control", "relay", "laptop_farm")


def odd_port(scene):
    """A port that nobody would guess."""
    return scene.choose("port", scene.rng("port").randrange(20_000, 60_000))


@scenario("mesh_fastd", ["fastd", "curl"])
def mesh_fastd(scene):
    """fastd on an odd port; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_fastd(server, home["pc"], port))
    expect(scene, server, "fastd", port, "udp")


@scenario("mesh_nebula", ["nebula", "curl"])
def mesh_nebula(scene):
    """Nebula with the server as lighthouse on an odd port; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_nebula(server, home["pc"], port))
    expect(scene, server, "nebula", port, "udp")


@scenario("mesh_yggdrasil_tls", ["yggdrasil", "curl"])
def mesh_yggdrasil_tls(scene):
    """Yggdrasil with a link over TLS; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_yggdrasil(server, home["pc"], port, "tls"))
    expect(scene, server, "yggdrasil", port, "tcp")


@scenario("mesh_yggdrasil_tcp", ["yggdrasil", "curl"])
def mesh_yggdrasil_tcp(scene):
    """Yggdrasil with a link over plain TCP; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_yggdrasil(server, home["pc"], port, "tcp"))
    expect(scene, server, "yggdrasil", port, "tcp")


@scenario("mesh_tinc", ["tinc", "curl"])
def mesh_tinc(scene):
    """tinc 1.0 on an odd port, AES; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_tinc(server, home["pc"], port, "aes-256-cbc"))
    expect(scene, server, "tinc", port, "tcp", "udp")


@scenario("mesh_tinc_3des", ["tinc", "curl"])
def mesh_tinc_3des(scene):
    """tinc 1.0 on an odd port, Triple DES (blocks of eight bytes); a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_tinc(server, home["pc"], port, "des-ede3-cbc"))
    expect(scene, server, "tinc", port, "tcp", "udp")


@scenario("mesh_n2n", ["n2n", "curl"])
def mesh_n2n(scene):
    """n2n 1: an edge at home, supernode and the other edge on a server; a page and pings inside. Captured at home."""
    home, server = home_and_server(scene)
    port = odd_port(scene)
    scene.record_lan(home)
    visit(scene, home["pc"], server, mesh.start_n2n(server, home["pc"], port))
    scene.expect_flow("n2n", "n2n", proto="udp", inner="http and ping")
    scene.expect_silence("remote_control", "relay", "laptop_farm")
