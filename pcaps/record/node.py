"""A machine of the scene: a set of Linux namespaces and the processes in it.

In: a name, a host name and the people with an account. Out: a `Node` in which commands run with their own network,
mounts (/tmp, /run, /home, /root, account files), host name and process ids. The first process of a node waits on a pipe
that the recorder holds: when the pipe closes, by `close` or because the recorder is gone, the kernel ends every process
of that node and nothing else.
"""

import os
import pathlib
import signal
import string
import subprocess
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATIONS = pathlib.Path(__file__).parent / "configurations"
FIRST_UID = 2001
OWN_DIRECTORIES = ["/tmp", "/run", "/home", "/root", "/var/log"]
SYSCTL_IPV4 = {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}


class SceneError(RuntimeError):
    """A scene did not come about as written; the message names the node and the program."""


class Node:
    """One machine. `spawn` starts a program that stays, `run` waits for one, `stop` ends one that was spawned."""

    def __init__(self, name, directory, hostname, people=(), ipv6=False, congestion_control="cubic", forwards=False):
        self.congestion_control = congestion_control
        self.name, self.hostname, self.people = name, hostname, list(people)
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.address = None
        self.address6 = None
        self.mac = None
        self.resolver = None
        self.wan = None
        self._spawned = []
        self._init = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-c",
                "echo ready; exec cat",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if self._init.stdout.readline().strip() != "ready":
            raise SceneError(f"{name}: no namespaces: {self._init.stderr.read().strip()} (is this root?)")
        children = pathlib.Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self.pid = int(children[0])
        self._furnish(ipv6, forwards)

    def _furnish(self, ipv6, forwards):
        script = [f"hostname {self.hostname}", "ip link set lo up"]
        script += [f"mount -t tmpfs -o mode=0755 tmpfs {d}" for d in OWN_DIRECTORIES]
        script += [
            "chmod 1777 /tmp",
            "mkdir -p -m 1777 /tmp/.X11-unix",
            "mkdir -p /run/sshd /run/wireguard /run/lock",
            "mkdir -p -m 0755 /run/xrdp",
            "mkdir -p -m 3777 /run/xrdp/sockdir",
            "mkdir -p /var/log/nginx",
        ]
        etc = self.directory / "etc"
        etc.mkdir(exist_ok=True)
        files = {
            "hostname": self.hostname + "\n",
            "resolv.conf": "",
            "hosts": f"127.0.0.1 localhost\n127.0.1.1 {self.hostname}\n::1 localhost\n",
        }
        for account_file in ("passwd", "group", "shadow"):
            files[account_file] = pathlib.Path("/etc", account_file).read_text()
        for i, person in enumerate(self.people):
            uid = FIRST_UID + i
            files["passwd"] += f"{person.user}:x:{uid}:{uid}:{person.full_name}:/home/{person.user}:/bin/bash\n"
            files["group"] += f"{person.user}:x:{uid}:\n"
            files["shadow"] += f"{person.user}:{person.password_hash()}:20000:0:99999:7:::\n"
            script += [f"mkdir -p -m 0700 /home/{person.user}", f"chown {uid}:{uid} /home/{person.user}"]
        for name, text in files.items():
            path = etc / name
            path.write_text(text)
            path.chmod(0o640 if name == "shadow" else 0o644)
            script.append(f"mount --bind {path} /etc/{name}")
        disable6 = "0" if ipv6 else "1"
        sysctl = dict(
            SYSCTL_IPV4,
            **{
                "net.ipv6.conf.all.disable_ipv6": disable6,
                "net.ipv6.conf.default.disable_ipv6": disable6,
                "net.ipv4.ip_forward": "1" if forwards else "0",
            },
        )
        if ipv6:
            sysctl |= {
                "net.ipv6.conf.all.forwarding": "1" if forwards else "0",
                "net.ipv6.conf.default.accept_dad": "0",
                "net.ipv6.conf.all.accept_dad": "0",
            }
        script += [f"sysctl -q -w {key}={value}" for key, value in sysctl.items()]
        self.run("set -e\n" + "\n".join(script))

    def configure(self, template, target=None, /, **values):
        """Fills in a file of configurations/ and writes it to this node's directory; returns its path."""
        path = self.directory / (target or template)
        path.parent.mkdir(exist_ok=True)
        path.write_text(string.Template((CONFIGURATIONS / template).read_text()).substitute(values))
        return path

    def route(self, destination, hop, family=4):
        """Adds a route. It carries the congestion control for TCP: a host may forbid the sysctl, not the route's own."""
        self.run(f"ip -{family} route replace {destination} {hop} congctl {self.congestion_control}")

    def write_etc(self, name, text):
        """Replaces one of this node's own /etc files (resolv.conf, hosts)."""
        (self.directory / "etc" / name).write_text(text)

    def _argv(self, command, user):
        home = f"/home/{user}" if user else "/root"
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-i", "-p", f"--wdns={home}"]
        become = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"] if user else []
        return enter + become + (["sh", "-c", command] if isinstance(command, str) else [str(c) for c in command])

    def _environment(self, extra, user):
        home = f"/home/{user}" if user else "/root"
        # LIBGL: no attempt at the host's graphics. DBUS: no session bus of the host.
        return {
            "PATH": PATH,
            "HOME": home,
            "USER": user or "root",
            "LOGNAME": user or "root",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "NO_AT_BRIDGE": "1",
            **(extra or {}),
        }

    def spawn(self, command, log, env=None, user=None, stdin=subprocess.DEVNULL, stdout=None):
        """Starts a program; its output goes to LOG.log of this node unless `stdout` is given."""
        sink = open(self.directory / f"{log}.log", "ab")
        process = subprocess.Popen(
            self._argv(command, user),
            stdin=stdin,
            stdout=stdout or sink,
            stderr=sink,
            env=self._environment(env, user),
            start_new_session=True,
        )
        sink.close()
        process.log_name = log
        self._spawned.append(process)
        return process

    def run(self, command, check=True, timeout=60, env=None, user=None, input=None):
        """Runs a command to its end and returns what it printed; `check` makes a failure a SceneError."""
        done = subprocess.run(
            self._argv(command, user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment(env, user),
            timeout=timeout,
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}),
        )
        if check and done.returncode:
            raise SceneError(f"{self.name}: {command!r} ended with {done.returncode}: {done.stdout[-600:]}")
        return done.stdout

    def log(self, name):
        """What a spawned program has printed so far."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def must_live(self, process):
        """Raises when a program that should still run has ended."""
        if process.poll() is not None:
            raise SceneError(f"{self.name}: {process.log_name} ended early: {self.log(process.log_name)[-800:]}")

    def wait_for(self, condition, what, seconds=20, process=None):
        """Polls `condition` until it is true."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if process is not None:
                self.must_live(process)
            if time.monotonic() > deadline:
                log = self.log(process.log_name)[-800:] if process is not None else ""
                raise SceneError(f"{self.name}: {what} did not happen in {seconds} s: {log}")
            time.sleep(0.1)
        return value

    def wait_port(self, port, process=None, protocol="tcp", seconds=20):
        """Waits until something listens on a port of this node."""
        flags = "-ltnH" if protocol == "tcp" else "-lunH"
        self.wait_for(
            lambda: self.run(["ss", flags, f"sport = :{port}"]).strip(), f"{protocol} port {port}", seconds, process
        )

    def wait_log(self, process, text, seconds=30):
        """Waits until a spawned program has printed `text`."""
        self.wait_for(
            lambda: text in self.log(process.log_name), f"{process.log_name} saying {text!r}", seconds, process
        )

    def stop(self, process, sig=signal.SIGTERM, seconds=5):
        """Ends a spawned program, by its process group, the hard way after `seconds`."""
        for attempt in (sig, signal.SIGKILL):
            try:
                os.killpg(process.pid, attempt)
            except ProcessLookupError:
                pass
            try:
                process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue

    def close(self):
        """Ends the node with everything that runs in it."""
        self._init.stdin.close()
        self._init.wait(10)
        for process in self._spawned:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
