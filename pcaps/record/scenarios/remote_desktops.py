"""Remote desktops from both sides: machines operated from outside, and people who operate machines outside."""

import time

import desktop
import people
import shell
from scene import scenario

RDP_PACKAGES = ["xrdp", "tigervnc-standalone-server", "freerdp2-x11"]
VNC_PACKAGES = ["tigervnc-standalone-server", "tigervnc-viewer"]


def work(scene, node, display, seconds, mouse=0.4, kind="operator"):
    """Somebody types commands into the remote terminal and uses the mouse."""
    hands = desktop.Hands(scene, node, display, kind)
    hands.click(420, 330)
    hands.play(scene.person(kind, mouse=mouse).work(seconds, people.shell_lines(scene.rng("lines"), 60)))
    desktop.screenshot(node, display, scene.directory / f"{kind}.png")


def one_office_machine(scene, account, pool="business"):
    """An office LAN with one workstation."""
    return scene.network.lan(
        "office", {"workstation": ("pc", "office workstation")}, pool=pool, people={"workstation": [account]}
    )


def one_home_pc(scene):
    """A home LAN with one PC."""
    return scene.network.lan("home", {"pc": ("pc", "home PC")})


@scenario("rdp_tls", RDP_PACKAGES)
def rdp_tls(scene):
    """An office workstation is operated over RDP with TLS from an employee's home. Captured on the office LAN."""
    account = scene.account()
    office, home = one_office_machine(scene, account), one_home_pc(scene)
    workstation = office["workstation"]
    desktop.XrdpServer(scene, workstation, account, desktop.terminal())
    scene.network.forward(office, 3389, workstation)
    display = desktop.start_xvfb(home["pc"])
    scene.record_lan(office)
    client = desktop.start_xfreerdp(scene, home["pc"], display, office.public, account, options=["/bpp:16"])
    work(scene, home["pc"], display, 50)
    home["pc"].stop(client)
    scene.expect_flow("rdp", "rdp", server=workstation.address, port=3389, controlled="server")
    scene.expect_finding("remote_control", workstation.address, home.public)
    scene.expect_silence("remote_control_suspicious_origin", "relay", "laptop_farm")


@scenario("rdp_nonstandard_port", RDP_PACKAGES)
def rdp_nonstandard_port(scene):
    """A person at home operates a rented desktop at a hosting company over RDP on port 33890. Captured at home: nothing
    in here is operated."""
    account = scene.account()
    home = one_home_pc(scene)
    rented = scene.network.server("rented", "hosting", "rented desktop", people=[account])
    desktop.XrdpServer(scene, rented, account, desktop.terminal(), port=33890)
    display = desktop.start_xvfb(home["pc"])
    scene.record_lan(home)
    client = desktop.start_xfreerdp(
        scene, home["pc"], display, rented.address, account, port=33890, options=["/bpp:16"]
    )
    work(scene, home["pc"], display, 40)
    home["pc"].stop(client)
    scene.expect_flow("rdp", "rdp", server=rented.address, port=33890, controlled="server")
    scene.expect_silence("remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm")


@scenario("rdp_native_security", ["xrdp", "tigervnc-standalone-server", "rdesktop"])
def rdp_native_security(scene):
    """A home PC is operated from a rented server with rdesktop and RDP's own security layer (RC4, no TLS). Captured on
    the home LAN."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")}, people={"pc": [account]})
    rented = scene.network.server("rented", "hosting", "rented server of the operator")
    desktop.XrdpServer(scene, home["pc"], account, desktop.terminal(), security="rdp")
    scene.network.forward(home, 3389, home["pc"])
    display = desktop.start_xvfb(rented)
    scene.record_lan(home)
    client = desktop.start_rdesktop(scene, rented, display, home.public, account)
    work(scene, rented, display, 45)
    rented.stop(client)
    scene.expect_flow("rdp", "rdp", server=home["pc"].address, port=3389, controlled="server")
    scene.expect_finding("remote_control", home["pc"].address, rented.address)
    scene.expect_finding("remote_control_suspicious_origin", home["pc"].address, rented.address)


@scenario("vnc_vncauth", VNC_PACKAGES)
def vnc_vncauth(scene):
    """A home PC is operated over VNC with VncAuth on port 5900 from a rented server. Captured on the home LAN."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")}, people={"pc": [account]})
    rented = scene.network.server("rented", "hosting", "rented server of the operator")
    server = desktop.VncServer(scene, home["pc"], account, desktop.terminal())
    scene.network.forward(home, 5900, home["pc"])
    display = desktop.start_xvfb(rented)
    scene.record_lan(home)
    client = desktop.start_vncviewer(scene, rented, display, home.public, 5900, server.password_file)
    work(scene, rented, display, 45)
    rented.stop(client)
    scene.expect_flow("vnc", "vnc", server=home["pc"].address, port=5900, controlled="server")
    scene.expect_finding("remote_control", home["pc"].address, rented.address)
    scene.expect_finding("remote_control_suspicious_origin", home["pc"].address, rented.address)


@scenario("vnc_vencrypt_tls", VNC_PACKAGES)
def vnc_vencrypt_tls(scene):
    """A person at home operates a rented desktop over VNC with VeNCrypt (X509Vnc: TLS inside RFB) on port 5901.
    Captured at home."""
    account = scene.account()
    home = one_home_pc(scene)
    rented = scene.network.server("rented", "hosting", "rented desktop", people=[account])
    chain, key = scene.authority.leaf("vnc", ["desk3.rentedhost.example", rented.address])
    key.chmod(0o644)
    tls = {"security": "X509Vnc", "options": ["-X509Cert", chain, "-X509Key", key]}
    server = desktop.VncServer(scene, rented, account, desktop.terminal(), port=5901, **tls)
    display = desktop.start_xvfb(home["pc"])
    scene.record_lan(home)
    trust = {"security": "X509Vnc", "options": ["-X509CA", scene.authority.root]}
    client = desktop.start_vncviewer(scene, home["pc"], display, rented.address, 5901, server.password_file, **trust)
    work(scene, home["pc"], display, 40)
    home["pc"].stop(client)
    scene.expect_flow("vnc", "vnc", server=rented.address, port=5901, controlled="server")
    scene.expect_silence("remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm")


@scenario("vnc_reverse", ["x11vnc", "tigervnc-viewer"])
def vnc_reverse(scene):
    """A laptop at home connects out to a viewer that listens on a rented server (reverse VNC, port 5500) and is
    operated from there. Captured on the home LAN."""
    account = scene.account()
    home = scene.network.lan("home", {"laptop": ("laptop", "laptop at home")}, people={"laptop": [account]})
    laptop = home["laptop"]
    rented = scene.network.server("rented", "hosting", "rented server of the operator")
    shell.furnish_workplace(scene, laptop, account)
    screen = desktop.start_xvfb(laptop, 3, user=account.user)
    laptop.spawn(["xterm", "-maximized"], "xterm", env={"DISPLAY": f":{screen}"}, user=account.user)
    display = desktop.start_xvfb(rented)
    viewer = rented.spawn(["vncviewer", "-listen", "5500"], "vncviewer", env={"DISPLAY": f":{display}"})
    rented.wait_port(5500, viewer)
    scene.record_lan(home)
    target = f"-connect {rented.address}:5500 -rfbport 0"
    command = f"exec x11vnc -display :{screen} {target} -nopw -forever -noxdamage -q"
    server = laptop.spawn(command, "x11vnc", user=account.user)
    time.sleep(6)
    laptop.must_live(server)
    work(scene, rented, display, 45)
    scene.expect_flow(
        "vnc",
        "vnc",
        client=laptop.address,
        server=rented.address,
        port=5500,
        controlled="client",
        note="reverse connection",
    )
    scene.expect_finding("remote_control", laptop.address, rented.address)
    scene.expect_finding("remote_control_suspicious_origin", laptop.address, rented.address)


@scenario("novnc_websocket", ["novnc", "websockify", "chromium", "tigervnc-standalone-server"], point="farm")
def novnc_websocket(scene):
    """A PC in a home is operated from a rented server in a browser: noVNC, RFB in a WebSocket on port 6080. Captured on
    the home LAN."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")}, people={"pc": [account]})
    pc = home["pc"]
    rented = scene.network.server("rented", "hosting", "rented server of the operator")
    desktop.VncServer(scene, pc, account, desktop.terminal(), port=5901, security="None")
    pc.wait_port(6080, pc.spawn("exec websockify --web /usr/share/novnc 0.0.0.0:6080 127.0.0.1:5901", "websockify"))
    scene.network.forward(home, 6080, pc)
    display = desktop.start_xvfb(rented)
    page = f"http://{home.public}:6080/vnc_lite.html?autoconnect=true&scale=true&path=websockify"
    # An operator comes back every day: the scripts of the page are in the browser's cache.
    earlier = desktop.start_chromium(rented, display, page)
    time.sleep(12)
    rented.stop(earlier)
    time.sleep(6)
    scene.record_lan(home)
    desktop.start_chromium(rented, display, page)
    time.sleep(9)
    work(scene, rented, display, 45)
    websocket = {"opening": b"Upgrade: websocket", "note": "RFB in a WebSocket"}
    scene.expect_flow("novnc", "vnc", server=pc.address, port=6080, controlled="server", **websocket)
    scene.expect_flow("http", server=pc.address, port=6080, note="the noVNC page and its scripts")
    scene.expect_finding("remote_control", pc.address, rented.address)
    scene.expect_finding("remote_control_suspicious_origin", pc.address, rented.address)


@scenario("spice", ["qemu-system-x86", "spice-client-gtk"])
def spice(scene):
    """A person at home operates a virtual machine at a hosting company over SPICE on port 5930. Captured at home."""
    home = one_home_pc(scene)
    rented = scene.network.server("rented", "hosting", "host of a virtual machine")
    machine = "qemu-system-x86_64 -m 64 -nodefaults -vga qxl -machine pc,accel=tcg -boot menu=on,splash-time=60000"
    screen = "-display none -spice port=5930,addr=0.0.0.0,disable-ticketing=on"
    rented.wait_port(5930, rented.spawn(f"exec {machine} {screen}", "qemu"))
    display = desktop.start_xvfb(home["pc"])
    scene.record_lan(home)
    client = home["pc"].spawn(f"exec spicy -h {rented.address} -p 5930", "spicy", env={"DISPLAY": f":{display}"})
    time.sleep(7)
    home["pc"].must_live(client)
    work(scene, home["pc"], display, 25, mouse=0.8)
    home["pc"].stop(client)
    note = "one flow for each SPICE channel"
    scene.expect_flow("spice", "spice", server=rented.address, port=5930, controlled="server", note=note)
    scene.expect_silence("remote_control", "remote_control_suspicious_origin", "relay", "laptop_farm")


@scenario("x11_plain", ["xterm", "xvfb"])
def x11_plain(scene):
    """A terminal of a home laptop is shown on an X server at a hosting company, unencrypted on port 6000, and used
    there. Captured at home."""
    account = scene.account()
    home = scene.network.lan("home", {"laptop": ("laptop", "laptop at home")}, people={"laptop": [account]})
    laptop = home["laptop"]
    shell.furnish_workplace(scene, laptop, account)
    rented = scene.network.server("rented", "hosting", "rented server of the operator")
    server = rented.spawn("exec Xvfb :0 -screen 0 1024x768x24 -listen tcp -ac", "xvfb-0")
    rented.wait_port(6000, server)
    scene.record_lan(home)
    # Server-side fonts: the terminal sends text, not pictures of it.
    shown = f"exec xterm +u8 -lc -fn fixed -fb fixed -display {rented.address}:0 -geometry 168x58+0+0"
    laptop.spawn(shown, "xterm", env={"LC_ALL": "C"}, user=account.user)
    time.sleep(5)
    work(scene, rented, 0, 40, mouse=0.2)
    scene.expect_flow("x11", "x11", client=laptop.address, server=rented.address, port=6000, controlled="client")
    scene.expect_finding("remote_control", laptop.address, rented.address)
    scene.expect_finding("remote_control_suspicious_origin", laptop.address, rented.address)
