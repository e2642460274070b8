"""Ordinary traffic: web pages, names, IPv6. Nothing in these captures deserves a label, except the ssh session that says so."""

import time

import desktop
import people
import shell
import web
from scene import scenario

WEB_PACKAGES = ["curl", "nginx-light", "dnsmasq"]
# Names of remote-access tools: a look-up alone is not a session.
TOOL_NAMES = {
    "relay-4f1a2c.net.anydesk.com": "57.128.101.74",
    "router7.teamviewer.com": "188.172.198.133",
    "rs-ny.rustdesk.com": "209.250.254.15",
}
PLAIN_NAMES = ["en.wikipedia.org", "github.com", "www.nytimes.com", "cdn.jsdelivr.net"]
PLAIN_NAMES += ["outlook.office365.com", "www.kernel.org"]
ALL_FINDINGS = """
    remote_control remote_control_suspicious_origin remote_control_unknown_tool relay operator_distance ip_kvm
    egress_vpn egress_proxy egress_tor egress_vps tunnel_covert tunnel_unknown inbound_suspicious_origin
    inbound_proxied laptop_farm""".split()


@scenario("web_tls", WEB_PACKAGES + ["chromium"])
def web_tls(scene):
    """Web pages over TLS 1.3 and 1.2, HTTP/2 and HTTP/1.1, fetched by curl and by a headless Chromium. Captured at
    home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    pc, rng = home["pc"], scene.rng("browsing")
    sites = web.Sites(scene, largest_part=10_000)
    scene.record_lan(home)
    loaded = 0
    for options in (["--tlsv1.3"], ["--tls-max", "1.2"], ["--http1.1"], []):
        loaded += web.load_page(scene, pc, sites.pick(rng), rng.randrange(web.PAGES), options=options)
        time.sleep(rng.uniform(1, 4))
    web.require(loaded, 4)
    for site in rng.sample(sites.names, 2):
        shown = desktop.read_in_chromium(pc, f"https://{site}/p{rng.randrange(web.PAGES)}.html")
        web.require("<p>" in shown, 1)
        time.sleep(rng.uniform(1, 3))
    scene.expect_silence(*ALL_FINDINGS)


@scenario("web_http", WEB_PACKAGES)
def web_http(scene):
    """Web pages over plain HTTP/1.1. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    rng, sites = scene.rng("browsing"), web.Sites(scene, largest_part=10_000)
    scene.record_lan(home)
    loaded = 0
    for _ in range(6):
        loaded += web.load_page(scene, home["pc"], sites.pick(rng), rng.randrange(web.PAGES), scheme="http")
        time.sleep(rng.uniform(1, 5))
    web.require(loaded, 6)
    scene.expect_silence(*ALL_FINDINGS)


@scenario("dns_lookups", ["dnsmasq", "bind9-dnsutils"])
def dns_lookups(scene):
    """Look-ups of many kinds, over UDP and TCP, answered and refused, among them names of remote-access tools that are
    never contacted. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    for name, address in TOOL_NAMES.items():
        scene.network.names[name] = address
    scene.network.dns_records += [
        "mx-host=github.com,aspmx.l.google.com,1",
        "txt-record=github.com,v=spf1 include:_netblocks.github.com ~all",
        "ptr-record=4.112.82.140.in-addr.arpa,lb-140-82-112-4-iad.github.com",
        "srv-host=_ldap._tcp.corp-internal.net,dc1.corp-internal.net,389,10,100",
        "cname=m.nytimes.com,www.nytimes.com",
    ]
    rng = scene.rng("names")
    queries = [[name, kind] for name in PLAIN_NAMES for kind in ("A", "AAAA")] + [[name, "A"] for name in TOOL_NAMES]
    queries += [
        ["github.com", "MX"],
        ["github.com", "TXT"],
        ["no-such-host.example.org", "A"],
        ["-x", "140.82.112.4"],
        ["en.wikipedia.org", "HTTPS"],
        ["www.kernel.org", "A", "+tcp"],
        ["www.nytimes.com", "A", "+noedns"],
        ["en.wikipedia.org", "A", "+dnssec"],
        ["m.nytimes.com", "A"],
        ["_ldap._tcp.corp-internal.net", "SRV"],
    ]
    rng.shuffle(queries)
    scene.record_lan(home)
    for query in queries:
        home["pc"].run(["dig", "+tries=1", "+time=3", *query], check=False)
        time.sleep(rng.uniform(0.2, 2.5))
    scene.expect_silence(*ALL_FINDINGS)


@scenario("ipv6_web_and_ssh", WEB_PACKAGES + ["openssh-client"], ipv6=True)
def ipv6_web_and_ssh(scene):
    """A home with IPv6: web pages over IPv6 and IPv4, and a shell on a rented server over IPv6. Captured at home."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("server", "hosting", "ssh server", people=[account])
    pc, rng = home["pc"], scene.rng("browsing")
    sites = web.Sites(scene, largest_part=9_000)
    ssh = shell.SshServer(scene, server, account)
    scene.record_lan(home)
    terminal = shell.Terminal(scene, pc, ssh.command(pc, host=server.address6), "ssh")
    terminal.wait_prompt()
    background = web.Background(scene, pc, sites, "pc", polls=(5, 9), pages=(8, 14))
    terminal.play(scene.person("user").type_only(45, people.shell_lines(scene.rng("lines"), 40)), "user")
    background.stop()
    web.require(web.load_page(scene, pc, "en.wikipedia.org", rng.randrange(web.PAGES), options=["-6"]), 1)
    terminal.close()
    scene.expect_flow("ssh", "ssh", server=server.address6, port=22, controlled="server")
    scene.expect_silence("remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm")
