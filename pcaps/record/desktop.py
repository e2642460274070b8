"""Desktops: X servers, remote-desktop servers and clients, and the hands on them.

In: nodes of a `Scene`. Out: running Xvfb, xrdp, xfreerdp, rdesktop and TigerVNC with private configuration; input events
of `people.Person` played on a display with their times written down.
"""
import shlex
import subprocess
import time

import certificates
import shell

SCREEN = (1024, 768)
OPERATOR_DISPLAY = 1
XRDP_DISPLAY_OFFSET = 10
BACKGROUNDS = ["#205080", "#503060", "#204030", "#404048", "#603820"]
CONNECT_SECONDS = 25


def start_xvfb(node, display=OPERATOR_DISPLAY, size=SCREEN, user=None, window_manager=True):
    """A headless X display on a node."""
    process = node.spawn(["Xvfb", f":{display}", "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp", "-ac"], f"xvfb-{display}", user=user)
    node.wait_for(lambda: node.run(f"test -S /tmp/.X11-unix/X{display} && echo yes", check=False).strip(), "Xvfb socket", 15, process)
    if window_manager:
        node.spawn(["openbox"], f"openbox-{display}", env={"DISPLAY": f":{display}"}, user=user)
        time.sleep(0.5)
    return display


class Hands:
    """A person at an X display of a node."""

    def __init__(self, scene, node, display, kind):
        self.scene, self.node, self.kind = scene, node, kind
        self._process = node.spawn(["/usr/bin/python3", scene.tool("keyboard.py")], f"keyboard-{display}", env={"DISPLAY": f":{display}"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{node.name}: no hands on :{display}: {node.log(f'keyboard-{display}')}")

    def _send(self, event):
        value = f"{event.value[0]} {event.value[1]}" if event.action == "pointer" else event.value
        self._process.stdin.write(f"{event.action} {value}\n".encode())
        self._process.stdin.flush()

    def play(self, events):
        """Plays events in real time and notes the time of each key and of each pointer movement."""
        start, last_pointer = time.time(), 0.0
        for event in events:
            wait = start + event.at - time.time()
            if wait > 0:
                time.sleep(wait)
            now = time.time()
            if event.character:
                self.scene.note_event(f"{self.kind}-key", now)
            elif event.action == "pointer" and now - last_pointer > 0.3:
                self.scene.note_event(f"{self.kind}-pointer", now)
            if event.action == "pointer":
                last_pointer = now
            self._send(event)

    def click(self, x, y):
        """Moves to a point and clicks there, to give a window the keyboard."""
        for line in (f"pointer {x} {y}", "button_down 1", "button_up 1"):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
            time.sleep(0.15)


def screenshot(node, display, path, user=None):
    """A PNG of a display, to look at after a run."""
    node.run(f"DISPLAY=:{display} import -window root {path}", check=False, user=user)


def _session_script(scene, node, body):
    """What a remote session runs: a plain desktop with one program. The program's words are quoted for sh."""
    colour = scene.rng(f"desktop-{node.name}").choice(BACKGROUNDS)
    path = node.directory / "session.sh"
    path.write_text(f"#!/bin/sh\nexport TERM=xterm LANG=C.UTF-8\nxsetroot -solid '{colour}'\nopenbox &\nsleep 1\n{body}\n")
    path.chmod(0o755)
    return path


def terminal(command=None):
    """A shell line that starts a full-screen terminal, with a shell or with a command."""
    return "exec xterm -maximized" + (f" -e sh -c {shlex.quote(command)}" if command else "")


class XrdpServer:
    """xrdp with a session of `body` for one account."""

    def __init__(self, scene, node, account, body, port=3389, security="tls", certificate_name=None):
        self.node, self.account, self.port = node, account, port
        shell.furnish_workplace(scene, node, account)
        directory = node.directory / "xrdp"
        node.run(f"cp -r /etc/xrdp {directory}")
        session = _session_script(scene, node, body)
        certificate, key = certificates.self_signed(directory, "desktop", certificate_name or node.hostname)
        key.chmod(0o644)
        (directory / "sesman.ini").write_text(
            "[Globals]\nListenAddress=127.0.0.1\nListenPort=3350\nEnableUserWindowManager=false\n"
            f"DefaultWindowManager={session}\nReconnectScript={directory}/reconnectwm.sh\n\n"
            "[Security]\nAllowRootLogin=false\nMaxLoginRetry=4\nAlwaysGroupCheck=false\n\n"
            f"[Sessions]\nX11DisplayOffset={XRDP_DISPLAY_OFFSET}\nMaxSessions=3\nKillDisconnected=false\nPolicy=Default\n\n"
            f"[Logging]\nLogFile={directory}/sesman.log\nLogLevel=INFO\nEnableSyslog=false\n\n"
            "[Xvnc]\nparam=Xvnc\nparam=-bs\nparam=-nolisten\nparam=tcp\nparam=-localhost\nparam=-dpi\nparam=96\n\n[SessionVariables]\n")
        (directory / "xrdp.ini").write_text(
            f"[Globals]\nini_version=1\nfork=true\nport={port}\ntcp_nodelay=true\ntcp_keepalive=true\nsecurity_layer={security}\ncrypt_level=high\n"
            f"certificate={certificate}\nkey_file={key}\nssl_protocols=TLSv1.2, TLSv1.3\nautorun=Desktop\nallow_channels=true\nbitmap_cache=true\n"
            "bitmap_compression=true\nbulk_compression=true\nmax_bpp=32\nnew_cursors=true\nuse_fastpath=both\n\n"
            f"[Logging]\nLogFile={directory}/xrdp.log\nLogLevel=INFO\nEnableSyslog=false\n\n[Channels]\nrdpdr=true\nrdpsnd=true\ndrdynvc=true\ncliprdr=true\nrail=true\nxrdpvr=true\n\n"
            "[Desktop]\nname=Desktop\nlib=libvnc.so\nusername=ask\npassword=ask\nip=127.0.0.1\nport=-1\n")
        # xrdp reads rsakeys.ini and key maps from its own directory, whatever -c says.
        node.run(f"mount --bind {directory} /etc/xrdp")
        node.wait_port(3350, node.spawn(["/usr/sbin/xrdp-sesman", "-n", "-c", directory / "sesman.ini"], "sesman"))
        node.wait_port(port, node.spawn(["/usr/sbin/xrdp", "-n", "-c", directory / "xrdp.ini"], "xrdp"))


def _wait_window(node, display, title, process):
    search = ["xdotool", "search", "--name", title]
    node.wait_for(lambda: node.run(search, check=False, env={"DISPLAY": f":{display}"}).strip(), f"a {title} window", CONNECT_SECONDS, process)


def start_xfreerdp(scene, node, display, host, account, port=3389, security="tls", size=SCREEN, options=()):
    """FreeRDP's client on a display; returns once the session's window is up and settled."""
    process = node.spawn(["xfreerdp", f"/v:{host}:{port}", f"/u:{account.user}", f"/p:{account.password}", "/cert:ignore", f"/size:{size[0]}x{size[1]}", f"/sec:{security}", "/log-level:INFO", *options],
                         "xfreerdp", env={"DISPLAY": f":{display}"})
    _wait_window(node, display, "FreeRDP", process)
    time.sleep(scene.rng("settle").uniform(3.5, 5.5))
    node.must_live(process)
    return process


def start_rdesktop(scene, node, display, host, account, port=3389, size=(1000, 700)):
    """rdesktop on a display."""
    process = node.spawn(["rdesktop", "-u", account.user, "-p", account.password, "-g", f"{size[0]}x{size[1]}", "-a", "16", f"{host}:{port}"], "rdesktop", env={"DISPLAY": f":{display}"})
    _wait_window(node, display, "rdesktop", process)
    time.sleep(scene.rng("settle").uniform(4, 6))
    node.must_live(process)
    return process


class VncServer:
    """Xtigervnc on a node, its desktop running `body`."""

    DISPLAY = 5

    def __init__(self, scene, node, account, body, port=5900, security="VncAuth", options=(), name=None):
        self.node, self.port, self.display = node, port, self.DISPLAY
        shell.furnish_workplace(scene, node, account)
        self.password_file = node.directory / "vnc.passwd"
        node.run(f"echo {account.password[:8]} | vncpasswd -f > {self.password_file}; chmod 644 {self.password_file}")
        process = node.spawn(["Xtigervnc", f":{self.DISPLAY}", "-geometry", f"{SCREEN[0]}x{SCREEN[1]}", "-depth", "24", "-rfbport", port, "-SecurityTypes", security, "-PasswordFile", self.password_file,
                              "-AlwaysShared", "-localhost=0", "-ac", "-desktop", name or f"{account.user}'s desktop ({node.hostname})", *options], "xtigervnc", user=account.user)
        node.wait_port(port, process)
        node.spawn([_session_script(scene, node, body)], "session", env={"DISPLAY": f":{self.DISPLAY}"}, user=account.user)
        time.sleep(2)


def start_vncviewer(scene, node, display, host, port, password_file=None, security=None, options=()):
    """TigerVNC's viewer on a display; returns once its window is up and settled."""
    process = node.spawn(["vncviewer", f"{host}::{port}", "-Shared", *(["-passwd", password_file] if password_file else []), *(["-SecurityTypes", security] if security else []), *options], "vncviewer", env={"DISPLAY": f":{display}"})
    _wait_window(node, display, "TigerVNC", process)
    time.sleep(scene.rng("settle").uniform(2.5, 4))
    node.must_live(process)
    return process


CHROMIUM_QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
                  "--ignore-certificate-errors", "--test-type", "--password-store=basic", "--disable-dev-shm-usage"]


def start_chromium(node, display, url, options=("--disable-quic",)):
    """Chromium in a window of its own, on one page, without its own calls home."""
    return node.spawn(["chromium", *CHROMIUM_QUIET, "--user-data-dir=/tmp/chromium", f"--window-size={SCREEN[0]},{SCREEN[1]}", "--window-position=0,0", *options, f"--app={url}"],
                      "chromium", env={"DISPLAY": f":{display}", "DBUS_SESSION_BUS_ADDRESS": "disabled:"})
