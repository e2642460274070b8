"""Proxies: a person at home browses through a server at a hosting company."""

import time

import proxy
import web
from scene import scenario

PROXY_PACKAGES = ["curl", "nginx-light"]
# CONNECT to port 443 of 0.0.0.1, which means that a name follows.
SOCKS4A_REQUEST = b"\x04\x01\x01\xbb\x00\x00\x00\x01"
SILENT = ["remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm"]


def home_and_proxy(scene, role="proxy server"):
    """A home PC, a server that resolves names, and web sites."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("proxy", "hosting", role)
    sites = web.Sites(scene, largest_part=9_000)
    scene.network.use_public_resolver(server)
    return home, server, sites


def browse(scene, node, sites, pages, through, scheme="https"):
    """A person reads pages through a proxy."""
    rng = scene.rng("browsing")
    loaded = 0
    for _ in range(pages):
        loaded += web.load_page(
            scene, node, sites.pick(rng), rng.randrange(web.PAGES), scheme=scheme, options=["-x", through]
        )
        time.sleep(rng.uniform(1, 4))
    web.require(loaded, pages - 1)


@scenario("socks5", PROXY_PACKAGES + ["microsocks"])
def socks5(scene):
    """Browsing through a SOCKS5 server on port 1080; names are resolved there. Captured at home."""
    home, server, sites = home_and_proxy(scene)
    proxy.start_microsocks(server)
    scene.record_lan(home)
    browse(scene, home["pc"], sites, 5, f"socks5h://{server.address}:1080")
    scene.expect_flow("socks5", "socks", server=server.address, port=1080, inner="https")
    scene.expect_finding("egress_proxy", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("socks4", PROXY_PACKAGES + ["dante-server"])
def socks4(scene):
    """Browsing through a SOCKS server on an odd port with SOCKS4, names resolved at home; a SOCKS4a request is refused.
    Captured at home."""
    home, server, sites = home_and_proxy(scene)
    port = scene.choose("socks port", scene.rng("port").randrange(30_000, 50_000))
    proxy.start_dante(server, port)
    scene.record_lan(home)
    browse(scene, home["pc"], sites, 4, f"socks4://{server.address}:{port}")
    web.fetch(scene, home["pc"], ["https://github.com/poll"], ["-x", f"socks4a://{server.address}:{port}"])
    scene.expect_flow("socks4a", server=server.address, port=port, opening=SOCKS4A_REQUEST, note="request refused (91)")
    scene.expect_flow("socks4", "socks", server=server.address, port=port, inner="https")
    scene.expect_finding("egress_proxy", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("http_connect", PROXY_PACKAGES + ["tinyproxy"])
def http_connect(scene):
    """Browsing https through an HTTP proxy with CONNECT on port 8888; one CONNECT to a mail port is refused. Captured
    at home."""
    home, server, sites = home_and_proxy(scene)
    proxy.start_tinyproxy(server)
    scene.record_lan(home)
    browse(scene, home["pc"], sites, 5, f"http://{server.address}:8888")
    web.fetch(scene, home["pc"], ["https://github.com:25/"], ["-x", f"http://{server.address}:8888"])
    scene.expect_flow(
        "http", server=server.address, port=8888, opening=b"CONNECT github.com:25 ", note="CONNECT answered 403"
    )
    scene.expect_flow("http_connect", "http_connect", server=server.address, port=8888, inner="https")
    scene.expect_finding("egress_proxy", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("http_proxy", PROXY_PACKAGES + ["tinyproxy"])
def http_proxy(scene):
    """Browsing http through an HTTP proxy on port 3128: requests with absolute URLs. Captured at home."""
    home, server, sites = home_and_proxy(scene)
    proxy.start_tinyproxy(server, 3128)
    scene.record_lan(home)
    browse(scene, home["pc"], sites, 5, f"http://{server.address}:3128", scheme="http")
    scene.expect_flow("http_proxy", "http_proxy", server=server.address, port=3128)
    scene.expect_finding("egress_proxy", home["pc"].address, server.address)
    scene.expect_silence(*SILENT)


@scenario("shadowsocks", PROXY_PACKAGES + ["shadowsocks-libev"])
def shadowsocks(scene):
    """Browsing through Shadowsocks (AEAD, chacha20-ietf-poly1305) on port 8388. Captured at home."""
    home, server, sites = home_and_proxy(scene)
    proxy.start_shadowsocks(
        server, home["pc"], 8388, "chacha20-ietf-poly1305", f"pw{scene.rng('password').randrange(10**9)}"
    )
    scene.record_lan(home)
    browse(scene, home["pc"], sites, 5, f"socks5h://127.0.0.1:{proxy.LOCAL_SOCKS_PORT}")
    scene.expect_flow("shadowsocks", "shadowsocks", server=server.address, port=8388, inner="https")
    scene.expect_finding("egress_proxy", home["pc"].address, server.address, deep=True)
    scene.expect_silence(*SILENT)


@scenario("tor_browse", PROXY_PACKAGES + ["tor"])
def tor_browse(scene):
    """A Tor client starts and browses through a private Tor network of three relays at hosting companies. Captured at
    home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    relays = [
        (scene.network.server(f"relay{i}", "hosting", "Tor relay"), or_port, 7000 + i)
        for i, or_port in enumerate((9001, 443, 9001))
    ]
    sites = web.Sites(scene, largest_part=9_000)
    for node, _, _ in relays:
        scene.network.use_public_resolver(node)
    scene.network.start_dns()
    tor = proxy.TorNetwork(scene, relays)
    scene.record_lan(home)
    tor.connect(home["pc"])
    browse(scene, home["pc"], sites, 3, "socks5h://127.0.0.1:9050")
    for node, or_port, directory_port in relays:
        scene.expect_flow(
            "tor directory", server=node.address, port=directory_port, note="directory documents over http"
        )
        scene.expect_flow("tor", "tor", server=node.address, port=or_port, inner="https")
    scene.expect_finding("egress_tor", home["pc"].address, deep=True)
    scene.expect_silence(*SILENT)
