"""Mesh VPNs between two nodes: fastd, Nebula, Yggdrasil, tinc, n2n.

In: a server and a client, nodes of a `Scene`. Out: a tunnel that is up; the server's address inside.
"""

import json
import subprocess

SERVER, CLIENT = "10.88.0.1", "10.88.0.2"


def _output(*argv, cwd=None):
    pipe, silent = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.run(argv, stdout=pipe, stderr=silent, text=True, check=True, cwd=cwd).stdout


def _write(node, name, text):
    path = node.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _wait_device(node, device):
    """Waits until a program has made its device; before, what is meant for the tunnel would leave beside it."""
    there = f"ip -o addr show dev {device} 2>/dev/null | grep -q inet && echo yes"
    node.wait_for(lambda: "yes" in node.run(there, check=False), device, 20)


def _number(node, device, address):
    """Gives a node its address inside, once the device is there."""
    there = f"ip link show dev {device} >/dev/null 2>&1 && echo yes"
    node.wait_for(lambda: "yes" in node.run(there, check=False), device, 20)
    node.run(f"ip addr add {address}/24 dev {device}; ip link set {device} up mtu 1280")


def _wait_inside(client, device, address=SERVER):
    """Waits until the server answers inside."""
    _wait_device(client, device)
    answered = f"ping -c 1 -W 1 {address} >/dev/null 2>&1 && echo yes"
    client.wait_for(lambda: "yes" in client.run(answered, check=False), "the tunnel", 40)
    return address


def start_fastd(server, client, port):
    """fastd in its usual mode (Ethernet), salsa2012+umac."""
    keys = {}
    for node in (server, client):
        said = _output("fastd", "--generate-key")
        keys[node] = [line.split()[-1] for line in said.splitlines() if line.startswith(("Secret", "Public"))]
    for node, other, remote in ((server, client, ""), (client, server, f"remote {server.address} port {port};")):
        text = (
            f'bind any:{port}; mode tap; interface "fast0"; method "salsa2012+umac"; secret "{keys[node][0]}";\n'
            f'peer "other" {{ key "{keys[other][1]}"; {remote} }}\n'
        )
        path = _write(node, "fastd.conf", text)
        node.spawn(f"exec fastd -c {path}", "fastd")
        _number(node, "fast0", SERVER if node is server else CLIENT)
    return _wait_inside(client, "fast0")


def start_nebula(server, client, port):
    """Nebula: the server is the lighthouse."""
    folder = server.directory / "nebula"
    folder.mkdir()
    _output("nebula-cert", "ca", "-name", "lab", cwd=folder)
    for name, address in (("server", SERVER), ("client", CLIENT)):
        _output("nebula-cert", "sign", "-name", name, "-ip", f"{address}/24", cwd=folder)
    for node, name in ((server, "server"), (client, "client")):
        settings = {
            "pki": {"ca": f"{folder}/ca.crt", "cert": f"{folder}/{name}.crt", "key": f"{folder}/{name}.key"},
            "static_host_map": {SERVER: [f"{server.address}:{port}"]},
            "lighthouse": {
                "am_lighthouse": node is server,
                "interval": 10,
                "hosts": [SERVER] if node is client else [],
            },
            "listen": {"host": "0.0.0.0", "port": port if node is server else 0},
            "punchy": {"punch": True},
            "tun": {"dev": "neb0", "mtu": 1300},
            "firewall": {way: [{"port": "any", "proto": "any", "host": "any"}] for way in ("inbound", "outbound")},
        }
        node.spawn(f"exec nebula -config {_write(node, 'nebula.yml', json.dumps(settings))}", "nebula")
    return _wait_inside(client, "neb0")


def start_yggdrasil(server, client, port, scheme):
    """Yggdrasil: one link over `scheme` (tls, tcp)."""
    for node in (server, client):
        settings = json.loads(_output("yggdrasil", "-genconf", "-json"))
        link = f"{scheme}://{server.address}:{port}"
        settings |= {
            "Listen": [link] if node is server else [],
            "Peers": [link] if node is client else [],
            "MulticastInterfaces": [],
            "AdminListen": "none",
            "IfName": "ygg0",
        }
        path = _write(node, "yggdrasil.conf", json.dumps(settings))
        # Devices made from now on have IPv6; those there are do not.
        node.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=0", check=False)
        process = node.spawn(f"exec yggdrasil -useconffile {path}", "yggdrasil")
        if node is server:
            node.wait_port(port, process)
    inside = _output("yggdrasil", "-useconffile", str(server.directory / "yggdrasil.conf"), "-address").strip()
    return _wait_inside(client, "ygg0", inside)


def start_tinc(server, client, port, cipher):
    """tinc 1.0 in router mode."""
    hosts = {}
    for node, name, address in ((server, "server", SERVER), (client, "client", CLIENT)):
        folder = node.directory / "tinc"
        (folder / "hosts").mkdir(parents=True)
        public = f"Port = {port}\n" if node is server else ""
        where = f"Address = {server.address}\n" if node is server else ""
        hosts[name] = f"{where}{public}Subnet = {address}/32\nCipher = {cipher}\n"
        key = folder / "rsa_key.priv"
        _output("openssl", "genrsa", "-traditional", "-out", str(key), "2048")
        key.chmod(0o600)
        hosts[name] += _output("openssl", "rsa", "-in", str(key), "-RSAPublicKey_out")
    for node, name in ((server, "server"), (client, "client")):
        folder = node.directory / "tinc"
        for other, text in hosts.items():
            (folder / "hosts" / other).write_text(text)
        connect = "ConnectTo = server\n" if node is client else ""
        (folder / "tinc.conf").write_text(f"Name = {name}\nInterface = tinc0\nAddressFamily = ipv4\n{connect}")
        node.spawn(f"exec tincd -D -c {folder} --pidfile={folder}/pid", "tincd")
        _number(node, "tinc0", SERVER if node is server else CLIENT)
    return _wait_inside(client, "tinc0")


def start_n2n(server, client, port):
    """n2n: supernode and one edge on the server, the other edge on the client."""
    server.spawn(f"exec supernode -f -l {port}", "supernode")
    for node, address, mac in ((server, SERVER, "02:00:00:00:00:01"), (client, CLIENT, "02:00:00:00:00:02")):
        supernode = f"{server.address}:{port}"
        node.spawn(f"exec edge -f -d n2n0 -a {address} -c office -k word -m {mac} -l {supernode}", "edge")
    return _wait_inside(client, "n2n0")
