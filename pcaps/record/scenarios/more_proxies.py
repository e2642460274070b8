"""Proxies that pretend to be something else, or whose own TLS somebody took off: Shadowsocks behind simple-obfs, V2Ray's protocols."""

import json

import proxy
from scenarios.proxies import PROXY_PACKAGES, SILENT, browse, home_and_proxy
from scene import scenario

CIPHER = "chacha20-ietf-poly1305"


def simple_obfs(scene, name, obfs, port):
    """Browsing through Shadowsocks whose plugin dresses the stream up."""
    home, server, sites = home_and_proxy(scene)
    password = f"pw{scene.rng('password').randrange(10**9)}"
    shared = f"-p {port} -k {password} -m {CIPHER}"
    plugin = f"--plugin obfs-server --plugin-opts obfs={obfs}"
    server.wait_port(port, server.spawn(f"exec ss-server -s {server.address} {shared} {plugin}", "ss-server"))
    client = home["pc"]
    plugin = f"--plugin obfs-local --plugin-opts 'obfs={obfs};obfs-host=www.example.com'"
    here = f"-b 127.0.0.1 -l {proxy.LOCAL_SOCKS_PORT}"
    local = client.spawn(f"exec ss-local -s {server.address} {shared} {here} {plugin}", "ss-local")
    client.wait_port(proxy.LOCAL_SOCKS_PORT, local)
    scene.record_lan(home)
    browse(scene, client, sites, 3, f"socks5h://127.0.0.1:{proxy.LOCAL_SOCKS_PORT}")
    scene.expect_flow(name, "shadowsocks", server=server.address, port=port, inner="https")
    scene.expect_silence(*SILENT)


@scenario("shadowsocks_obfs_http", PROXY_PACKAGES + ["shadowsocks-libev", "simple-obfs"])
def shadowsocks_obfs_http(scene):
    """Browsing through Shadowsocks behind simple-obfs, which pretends a WebSocket on port 80. Captured at home."""
    simple_obfs(scene, "shadowsocks", "http", 80)


@scenario("shadowsocks_obfs_tls", PROXY_PACKAGES + ["shadowsocks-libev", "simple-obfs"])
def shadowsocks_obfs_tls(scene):
    """Browsing through Shadowsocks behind simple-obfs, which pretends TLS on port 443. Captured at home."""
    simple_obfs(scene, "shadowsocks", "tls", 443)


def through_v2ray(scene, label, protocol, user, transport, port, proto="tcp"):
    """Browsing through a V2Ray server with one of its protocols."""
    home, server, sites = home_and_proxy(scene)
    listening = {"port": port, "listen": server.address, "protocol": protocol, "streamSettings": transport}
    known = {key: value for key, value in user.items() if key != "encryption"}
    listening["settings"] = {"clients": [known], "decryption": "none"}
    calling = {"protocol": protocol, "streamSettings": transport}
    calling["settings"] = {"vnext": [{"address": server.address, "port": port, "users": [user]}]}
    socks = {"port": proxy.LOCAL_SOCKS_PORT, "listen": "127.0.0.1", "protocol": "socks", "settings": {}}
    server_side = start_v2ray(server, {"inbounds": [listening], "outbounds": [{"protocol": "freedom"}]})
    if proto == "tcp":
        server.wait_port(port, server_side)
    client = home["pc"]
    client.wait_port(proxy.LOCAL_SOCKS_PORT, start_v2ray(client, {"inbounds": [socks], "outbounds": [calling]}))
    scene.record_lan(home)
    browse(scene, client, sites, 3, f"socks5h://127.0.0.1:{proxy.LOCAL_SOCKS_PORT}")
    scene.expect_flow(protocol, label, proto=proto, server=server.address, port=port, inner="https")
    scene.expect_silence(*SILENT)


def start_v2ray(node, configuration):
    """V2Ray on a node, with this configuration."""
    path = node.directory / "v2ray.json"
    path.write_text(json.dumps({"log": {"loglevel": "warning"}, **configuration}))
    return node.spawn(f"exec v2ray -config {path}", "v2ray")


def user_id(scene):
    """A random UUID of the seed's choice (version 4)."""
    digits = f"{scene.rng('user').getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@scenario("vless_plain", PROXY_PACKAGES + ["v2ray"])
def vless_plain(scene):
    """Browsing through VLESS on plain TCP, without the TLS that should be around it. Captured at home."""
    user = {"id": user_id(scene), "encryption": "none"}
    through_v2ray(scene, "vless", "vless", user, {"network": "tcp"}, 8443)


@scenario("vmess_mkcp", PROXY_PACKAGES + ["v2ray"])
def vmess_mkcp(scene):
    """Browsing through VMess over mKCP, V2Ray's UDP transport, disguised as uTP. Captured at home."""
    transport = {"network": "kcp", "kcpSettings": {"header": {"type": "utp"}}}
    through_v2ray(scene, "vmess", "vmess", {"id": user_id(scene), "alterId": 0}, transport, 20_000, proto="udp")
