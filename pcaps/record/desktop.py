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
BACKGROUNDS = ["#205080", "#503060", "#204030", "#404048", "#603820"]
CONNECT_SECONDS = 25


def start_xvfb(node, display=OPERATOR_DISPLAY, size=SCREEN, user=None, window_manager=True):
    """A headless X display on a node."""
    screen = f"-screen 0 {size[0]}x{size[1]}x24"
    process = node.spawn(f"exec Xvfb :{display} {screen} -nolisten tcp -ac", f"xvfb-{display}", user=user)
    socket_there = f"test -S /tmp/.X11-unix/X{display} && echo yes"
    node.wait_for(lambda: "yes" in node.run(socket_there, check=False), "Xvfb's socket", 15, process)
    if window_manager:
        node.spawn(["openbox"], f"openbox-{display}", env={"DISPLAY": f":{display}"}, user=user)
        time.sleep(0.5)
    return display


class Hands:
    """A person at an X display of a node."""

    def __init__(self, scene, node, display, kind):
        self.scene, self.node, self.kind = scene, node, kind
        log, program = f"keyboard-{display}", ["/usr/bin/python3", scene.tool("keyboard.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = node.spawn(program, log, env={"DISPLAY": f":{display}"}, **pipes)
        if self._process.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{node.name}: no hands on :{display}: {node.log(log)}")

    def _send(self, line):
        self._process.stdin.write(f"{line}\n".encode())
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
                self._send(f"pointer {event.value[0]} {event.value[1]}")
            else:
                self._send(f"{event.action} {event.value}")

    def click(self, x, y):
        """Moves to a point and clicks there, to give a window the keyboard."""
        for line in (f"pointer {x} {y}", "button_down 1", "button_up 1"):
            self._send(line)
            time.sleep(0.15)


def screenshot(node, display, path, user=None):
    """A PNG of a display, to look at after a run."""
    node.run(f"DISPLAY=:{display} import -window root {path}", check=False, user=user)


def _session_script(scene, node, body):
    """What a remote session runs: a plain desktop with one program."""
    colour = scene.rng(f"desktop-{node.name}").choice(BACKGROUNDS)
    path = node.configure("session.sh", colour=colour, body=body)
    path.chmod(0o755)
    return path


def terminal(command=None):
    """A shell line that starts a full-screen terminal, with a shell or with a command."""
    return "exec xterm -maximized" + (f" -e sh -c {shlex.quote(command)}" if command else "")


class XrdpServer:
    """xrdp with a session of `body` for one account."""

    def __init__(self, scene, node, account, body, port=3389, security="tls"):
        self.node, self.account, self.port = node, account, port
        shell.furnish_workplace(scene, node, account)
        directory = node.directory / "xrdp"
        node.run(f"cp -r /etc/xrdp {directory}")
        certificate, key = certificates.self_signed(directory, "desktop", node.hostname)
        key.chmod(0o644)
        values = {"port": port, "security": security, "certificate": certificate, "key": key}
        node.configure("xrdp.ini", "xrdp/xrdp.ini", log=directory / "xrdp.log", **values)
        session = _session_script(scene, node, body)
        node.configure("sesman.ini", "xrdp/sesman.ini", log=directory / "sesman.log", session=session)
        # xrdp reads rsakeys.ini and key maps from its own directory, whatever -c says.
        node.run(f"mount --bind {directory} /etc/xrdp")
        node.wait_port(3350, node.spawn("exec /usr/sbin/xrdp-sesman -n", "sesman"))
        node.wait_port(port, node.spawn("exec /usr/sbin/xrdp -n", "xrdp"))


def _wait_window(scene, node, display, title, process):
    """Waits for a client's window, and then as long as a person looks at it before doing something."""
    search, environment = f"xdotool search --name '{title}'", {"DISPLAY": f":{display}"}
    window = lambda: node.run(search, check=False, env=environment).strip()  # noqa: E731
    node.wait_for(window, f"a {title} window", CONNECT_SECONDS, process)
    time.sleep(scene.rng("settle").uniform(3.5, 5.5))
    node.must_live(process)
    return process


def start_xfreerdp(scene, node, display, host, account, port=3389, security="tls", options=()):
    """FreeRDP's client on a display; returns once the session's window is up and settled."""
    command = ["xfreerdp", f"/v:{host}:{port}", f"/u:{account.user}", f"/p:{account.password}", "/cert:ignore"]
    command += [f"/size:{SCREEN[0]}x{SCREEN[1]}", f"/sec:{security}", "/log-level:INFO", *options]
    process = node.spawn(command, "xfreerdp", env={"DISPLAY": f":{display}"})
    return _wait_window(scene, node, display, "FreeRDP", process)


def start_rdesktop(scene, node, display, host, account, port=3389, size=(1000, 700)):
    """rdesktop on a display."""
    command = ["rdesktop", "-u", account.user, "-p", account.password, "-g", f"{size[0]}x{size[1]}", "-a", "16"]
    process = node.spawn([*command, f"{host}:{port}"], "rdesktop", env={"DISPLAY": f":{display}"})
    return _wait_window(scene, node, display, "rdesktop", process)


class VncServer:
    """Xtigervnc on a node, its desktop running `body`."""

    DISPLAY = 5

    def __init__(self, scene, node, account, body, port=5900, security="VncAuth", options=()):
        self.node, self.port = node, port
        shell.furnish_workplace(scene, node, account)
        self.password_file = node.directory / "vnc.passwd"
        node.run(f"vncpasswd -f > {self.password_file}", input=account.password[:8] + "\n")
        self.password_file.chmod(0o644)
        command = ["Xtigervnc", f":{self.DISPLAY}", "-geometry", f"{SCREEN[0]}x{SCREEN[1]}", "-depth", "24"]
        command += ["-rfbport", port, "-SecurityTypes", security, "-PasswordFile", self.password_file]
        command += ["-desktop", f"{account.user}'s desktop ({node.hostname})", "-AlwaysShared", "-localhost=0", "-ac"]
        node.wait_port(port, node.spawn([*command, *options], "xtigervnc", user=account.user))
        environment = {"DISPLAY": f":{self.DISPLAY}"}
        node.spawn([_session_script(scene, node, body)], "session", env=environment, user=account.user)
        time.sleep(2)


def start_vncviewer(scene, node, display, host, port, password_file=None, security=None, options=()):
    """TigerVNC's viewer on a display; returns once its window is up and settled."""
    command = ["vncviewer", f"{host}::{port}", "-Shared", *options]
    if password_file:
        command += ["-passwd", password_file]
    if security:
        command += ["-SecurityTypes", security]
    process = node.spawn(command, "vncviewer", env={"DISPLAY": f":{display}"})
    return _wait_window(scene, node, display, "TigerVNC", process)


# No calls home, no questions, and a certificate of the scene is as good as any.
CHROMIUM_OPTIONS = """
    --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update
    --disable-sync --disable-default-apps --disable-dev-shm-usage --password-store=basic --disable-quic
    --ignore-certificate-errors --test-type --user-data-dir=/tmp/chromium""".split()


def start_chromium(node, display, url):
    """Chromium in a window of its own, on one page."""
    command = ["chromium", *CHROMIUM_OPTIONS, f"--window-size={SCREEN[0]},{SCREEN[1]}", "--window-position=0,0"]
    environment = {"DISPLAY": f":{display}", "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    return node.spawn([*command, f"--app={url}"], "chromium", env=environment)


def read_in_chromium(node, url):
    """Headless Chromium loads a page once; returns its document."""
    command = ["timeout", "30", "chromium", "--headless", *CHROMIUM_OPTIONS, "--timeout=6000", "--dump-dom", url]
    return node.run(command, check=False, timeout=60)
