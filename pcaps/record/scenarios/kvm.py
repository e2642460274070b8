"""IP-KVMs on a home network: a device that is one, and a Raspberry Pi that is none.

The hardware is missing and so is PiKVM's own daemon. What is real: the programs, which are those that PiKVM's system runs
(ISC's DHCP client stands in for systemd-networkd), and what they put on the wire. What is arranged: the MAC address of a
Raspberry Pi, PiKVM's host name, the certificate as kvmd-gencert makes it, the DNS-SD service as kvmd-avahi writes it, and a page with
the title of PiKVM's log-in page and nothing else on it. The picture is uStreamer's own, which says that there is no signal.
"""

import subprocess
import time

import web
from scene import scenario

RASPBERRY_PI = "b8:27:eb"
PACKAGES = ["avahi-daemon", "isc-dhcp-client", "dnsmasq", "nginx-light", "ustreamer", "curl"]
MUST_NOT = ["ip_kvm", "remote_control", "remote_control_suspicious_origin", "laptop_farm"]
STREAM_PORT = 8080
MDNS = "224.0.0.251"

DHCP_SCRIPT = """#!/bin/sh
case "$reason" in
BOUND|RENEW|REBIND|REBOOT)
    ip addr flush dev "$interface"
    ip addr add "$new_ip_address/24" dev "$interface"
    ip route replace default via "$new_routers" ;;
esac
"""
AVAHI = "[server]\nuse-ipv6=no\nenable-dbus=no\nallow-interfaces=eth0\n[publish]\npublish-workstation=no\n[rlimits]\n"
SERVICE = """<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name replace-wildcards="yes">{name}</name>
<service><type>{kind}</type><port>{port}</port></service></service-group>
"""


class Pi:
    """A small computer that asks for an address, answers mDNS and serves pages and pictures."""

    def __init__(self, scene, lan, node, name):
        self.scene, self.lan, self.node, self.name = scene, lan, node, name
        scene.network.roles |= {"0.0.0.0": "who has no address yet", "255.255.255.255": "broadcast"}
        tail = ":".join(f"{scene.rng('mac').randrange(256):02x}" for _ in range(3))
        self.mac = f"{RASPBERRY_PI}:{tail}"
        node.run(f"hostname {name}")
        node.run(f"ip link set eth0 down && ip link set eth0 address {self.mac} && ip link set eth0 up")

    def ask_for_an_address(self):
        """dhclient against dnsmasq on the gateway, which gives out the address that the scene has planned."""
        lan, node = self.lan, self.node
        options = f"--dhcp-range={lan.prefix}.2,{lan.prefix}.250,12h --dhcp-host={self.mac},{node.address} --dhcp-authoritative"
        leases = lan.gateway.directory / "leases"
        server = f"exec dnsmasq -k --conf-file=/dev/null --port=0 --interface=lan0 {options} --dhcp-leasefile={leases}"
        lan.gateway.wait_port(67, lan.gateway.spawn(server, "dhcp"), "udp")
        script = node.directory / "dhclient-script"
        script.write_text(DHCP_SCRIPT)
        script.chmod(0o755)
        configuration = node.directory / "dhclient.conf"
        configuration.write_text("send host-name = gethostname();\nrequest subnet-mask, routers, domain-name-servers, host-name;\n")
        node.run("ip addr flush dev eth0")
        files = f"-cf {configuration} -sf {script} -lf /tmp/leases -pf /run/dhclient.pid"
        node.spawn(f"exec dhclient -d -4 {files} eth0", "dhclient")
        node.wait_for(lambda: node.address in node.run("ip -4 addr show eth0"), "an address", 30)

    def announce(self, name, kind, port):
        """avahi-daemon with one service."""
        node = self.node
        node.run("mount -t tmpfs tmpfs /etc/avahi/services && mkdir -p /run/avahi-daemon")
        service = SERVICE.format(name=name, kind=kind, port=port)
        node.run("cat > /etc/avahi/services/own.service", input=service)
        configuration = node.directory / "avahi.conf"
        configuration.write_text(AVAHI)
        node.spawn(f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {configuration}", "avahi")

    def stream(self, address):
        """uStreamer, which has no camera and says so in its pictures."""
        command = ["ustreamer", "--host", address, "--port", str(STREAM_PORT), "--device", "/dev/video0"]
        self.node.wait_port(STREAM_PORT, self.node.spawn(command, "ustreamer"))

    def serve(self, server, title):
        """nginx with one page."""
        root = self.node.directory / "www"
        root.mkdir()
        (root / "index.html").write_text(f"<!DOCTYPE html>\n<html lang=\"en\"><head><title>{title}</title></head><body></body></html>\n")
        configuration = self.node.configure("nginx.conf", servers=server.replace("ROOT", str(root)))
        self.node.wait_port(80, self.node.spawn(f"exec nginx -e stderr -c {configuration}", "nginx"))


@scenario("ip_kvm_pikvm", PACKAGES, point="farm", seed=5)
def ip_kvm_pikvm(scene):
    """A machine on a facilitator's home network behaves as a PiKVM does: it asks for an address as pikvm, announces
    itself by mDNS, and serves its page and its pictures over TLS with the certificate that kvmd-gencert makes. Its owner
    looks at the page at home; somebody outside watches the picture through a forwarded port with TLS 1.2, so that the
    certificate shows. The device and its daemon are missing; the programs are those it runs. Captured on the home LAN."""
    net = scene.network
    operator = net.server("operator", "hosting", "the operator's rented server")
    farm = net.lan(
        "farm",
        {
            "kvm": ("server", "what behaves as a PiKVM"),
            "laptop": ("laptop", "company laptop"),
            "pc": ("pc", "the facilitator's own PC"),
        },
    )
    sites = web.Sites(scene, largest_part=4_000)
    kvm = Pi(scene, farm, farm["kvm"], "pikvm")
    files = kvm.node.directory
    subject = "/C=US/O=PiKVM/OU=PiKVM/CN=localhost"
    made = f"openssl req -new -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -keyout {files}/server.key -out {files}/server.crt -subj"
    subprocess.run([*made.split(), subject], check=True, capture_output=True)
    net.forward(farm, 443, kvm.node)

    scene.record_lan(farm)
    kvm.ask_for_an_address()
    kvm.announce("pikvm-0000000000000000.local", "_pikvm._tcp", 443)
    kvm.stream("127.0.0.1")
    kvm.serve(
        "server { listen 80; return 301 https://$host$request_uri; }\n"
        f"server {{ listen 443 ssl; ssl_certificate {files}/server.crt; ssl_certificate_key {files}/server.key;\n"
        "ssl_protocols TLSv1.2 TLSv1.3; root ROOT; index index.html;\n"
        f"location /streamer/ {{ proxy_pass http://127.0.0.1:{STREAM_PORT}/; proxy_buffering off; }} }}",
        "PiKVM Login",
    )
    background = [
        web.Background(scene, farm["laptop"], sites, "laptop", polls=(6, 12)),
        web.Background(scene, farm["pc"], sites, "pc", polls=(8, 14)),
    ]
    for _ in range(2):
        farm["pc"].run(f"curl -sk -o /dev/null https://{kvm.node.address}/")
        time.sleep(2)
    operator.run(
        f"curl -sk --tls-max 1.2 -o /dev/null --max-time 12 https://{farm.public}/streamer/stream", check=False, timeout=60
    )
    for b in background:
        b.stop()

    device = kvm.node.address
    scene.expect_flow("dhcp", proto="udp", port=67)
    scene.expect_flow("dhcp", proto="udp", port=68)
    scene.expect_flow("mdns", proto="udp", server=MDNS)
    scene.expect_flow("pikvm", "pikvm", client=operator.address, server=device, port=443, controlled="server")
    scene.expect_flow("https", server=device, port=443, note="TLS 1.3, which hides the certificate")
    scene.expect_finding("ip_kvm", device, device)
    scene.expect_finding("ip_kvm", farm["laptop"].address, must=False)
    scene.expect_finding("ip_kvm", farm["pc"].address, must=False)


@scenario("negative_raspberry_pi", PACKAGES, point="lan", seed=5)
def negative_raspberry_pi(scene):
    """A Raspberry Pi watches a garden: its MAC address and its name are a Raspberry Pi's, it announces a web page by mDNS, and
    its owner looks at the page and at its pictures (multipart, by uStreamer, which PiKVM uses, too). No KVM. Captured on
    the home LAN."""
    net = scene.network
    home = net.lan("home", {"pi": ("server", "a Raspberry Pi with a camera"), "pc": ("pc", "home PC")})
    sites = web.Sites(scene, largest_part=4_000)
    pi = Pi(scene, home, home["pi"], "raspberrypi")
    scene.record_lan(home)
    pi.ask_for_an_address()
    pi.announce("Garden on %h", "_http._tcp", 80)
    pi.stream("0.0.0.0")
    pi.serve("server { listen 80; root ROOT; index index.html; }", "Garden camera")
    background = [web.Background(scene, home["pc"], sites, "pc", polls=(8, 14))]
    home["pc"].run(f"curl -s -o /dev/null http://{pi.node.address}/")
    home["pc"].run(
        f"curl -s -o /dev/null --max-time 10 http://{pi.node.address}:{STREAM_PORT}/stream", check=False, timeout=60
    )
    for b in background:
        b.stop()

    scene.expect_flow("dhcp", proto="udp", port=67)
    scene.expect_flow("dhcp", proto="udp", port=68)
    scene.expect_flow("mdns", proto="udp", server=MDNS)
    scene.expect_flow("http", server=pi.node.address, port=80)
    scene.expect_flow("http", server=pi.node.address, port=STREAM_PORT, note="pictures one after the other")
    scene.expect_silence(*MUST_NOT)
