"""VPNs: a person's whole traffic goes through a server at a hosting company."""

import time

import anyconnect
import ipsec
import vpn
import web
from scene import scenario

WIREGUARD_PACKAGES = ["wireguard-go", "curl", "nginx-light"]
OPENVPN_PACKAGES = ["openvpn", "curl", "nginx-light"]


def home_and_exit(scene):
    """A home PC, a VPN exit and web sites."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    exit_node = scene.network.server("exit", "hosting", "VPN exit")
    return home, exit_node, web.Sites(scene, largest_part=11_000)


def browse(scene, node, sites, pages):
    """A person reads pages through whatever the default route is."""
    rng = scene.rng("browsing")
    loaded = 0
    for _ in range(pages):
        loaded += web.load_page(scene, node, sites.pick(rng), rng.randrange(web.PAGES))
        time.sleep(rng.uniform(1.5, 6))
    web.require(loaded, pages - 1)


def expect_vpn(scene, home, exit_node, label, port, protocol="udp"):
    """One labelled flow, and a finding that the PC's traffic leaves through it."""
    scene.expect_flow(
        label, label, proto=protocol, server=exit_node.address, port=port, inner="https and dns of a person browsing"
    )
    scene.expect_finding("egress_vpn", home["pc"].address, exit_node.address)
    scene.expect_silence("remote_control", "relay", "laptop_farm")


@scenario("wireguard_browse", WIREGUARD_PACKAGES)
def wireguard_browse(scene):
    """All traffic of a home PC goes through WireGuard on its usual port; web pages inside. Captured at home."""
    home, exit_node, sites = home_and_exit(scene)
    tunnel = vpn.WireGuard(scene, exit_node, home["pc"])
    scene.record_lan(home)
    tunnel.connect(f"{home.prefix}.1")
    browse(scene, home["pc"], sites, 7)
    expect_vpn(scene, home, exit_node, "wireguard", 51820)


@scenario("wireguard_rekey", WIREGUARD_PACKAGES)
def wireguard_rekey(scene):
    """WireGuard on an odd port, kept alive every 25 s, little traffic, long enough for new keys (two minutes) to be
    agreed. Captured at home."""
    home, exit_node, sites = home_and_exit(scene)
    port = scene.choose("wireguard port", scene.rng("port").randrange(20_000, 60_000))
    tunnel = vpn.WireGuard(scene, exit_node, home["pc"], port)
    rng = scene.rng("polls")
    scene.record_lan(home)
    tunnel.connect(f"{home.prefix}.1", keepalive=25)
    until = time.monotonic() + 150
    while time.monotonic() < until:
        web.fetch(scene, home["pc"], [f"https://{sites.pick(rng)}/poll"])
        time.sleep(rng.uniform(8, 30))
    expect_vpn(scene, home, exit_node, "wireguard", port)


def openvpn(scene, **options):
    """Browsing through OpenVPN set up with the given options."""
    home, exit_node, sites = home_and_exit(scene)
    tunnel = vpn.OpenVpn(scene, exit_node, home["pc"], **options)
    scene.record_lan(home)
    client = tunnel.connect(f"{home.prefix}.1")
    browse(scene, home["pc"], sites, 6)
    home["pc"].stop(client)
    expect_vpn(scene, home, exit_node, "openvpn", options.get("port", 1194), options.get("protocol", "udp"))


@scenario("openvpn_udp", OPENVPN_PACKAGES)
def openvpn_udp(scene):
    """OpenVPN over UDP 1194 with the TLS handshake of its control channel in the clear. Captured at home."""
    openvpn(scene)


@scenario("openvpn_tcp", OPENVPN_PACKAGES)
def openvpn_tcp(scene):
    """OpenVPN over TCP 443. Captured at home."""
    openvpn(scene, port=443, protocol="tcp")


@scenario("openvpn_tls_auth", OPENVPN_PACKAGES)
def openvpn_tls_auth(scene):
    """OpenVPN over UDP 1194 with tls-auth: an HMAC on every control packet. Captured at home."""
    openvpn(scene, control="tls-auth")


@scenario("openvpn_tls_crypt", OPENVPN_PACKAGES)
def openvpn_tls_crypt(scene):
    """OpenVPN over UDP 1195 with tls-crypt: the control channel is encrypted. Captured at home."""
    openvpn(scene, port=1195, control="tls-crypt", cipher="CHACHA20-POLY1305")


@scenario("openvpn_tls_crypt_v2", OPENVPN_PACKAGES)
def openvpn_tls_crypt_v2(scene):
    """OpenVPN over UDP on a high port with tls-crypt-v2: a wrapped client key in the first packet. Captured at home."""
    openvpn(scene, port=28911, control="tls-crypt-v2")


@scenario("openvpn_static_key", OPENVPN_PACKAGES)
def openvpn_static_key(scene):
    """OpenVPN with one shared key and no handshake at all, AES-256-CBC, UDP 1194. Captured at home."""
    openvpn(scene, control="static")


@scenario("ipsec_ikev2", ["strongswan", "libcharon-extra-plugins", "curl", "nginx-light"])
def ipsec_ikev2(scene):
    """IKEv2 with a server certificate and EAP-MSCHAPv2 from behind NAT: UDP 500, then 4500, ESP in UDP. Captured at
    home."""
    home, exit_node, sites = home_and_exit(scene)
    connection = ipsec.IkeV2(scene, exit_node, home["pc"], "ike.privatenet.example", scene.account())
    scene.record_lan(home)
    connection.connect()
    browse(scene, home["pc"], sites, 5)
    connection.disconnect()
    scene.expect_flow("ike", "ipsec", proto="udp", server=exit_node.address, port=500)
    expect_vpn(scene, home, exit_node, "ipsec", 4500)


@scenario("anyconnect_dtls", ["ocserv", "openconnect", "curl", "nginx-light"])
def anyconnect_dtls(scene):
    """AnyConnect protocol: TLS on TCP 443 for control, DTLS on UDP 443 for data. Captured at home."""
    home, exit_node, sites = home_and_exit(scene)
    scene.network.name("access.privatenet.example", exit_node)
    connection = anyconnect.AnyConnect(
        scene, exit_node, home["pc"], "access.privatenet.example", scene.account(), home["pc"].resolver
    )
    scene.record_lan(home)
    client = connection.connect(f"{home.prefix}.1")
    browse(scene, home["pc"], sites, 5)
    home["pc"].stop(client)
    scene.expect_flow("anyconnect", "anyconnect", proto="tcp", server=exit_node.address, port=443, note="control")
    expect_vpn(scene, home, exit_node, "anyconnect", 443)
