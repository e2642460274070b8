"""SSH: servers, clients, and a workplace on the server to work in.

In: nodes of a `Scene`. Out: a running sshd with one authorised key, the client's command line, files that make the
commands of `people.shell_lines` print something.
"""

import fcntl
import os
import pty
import struct
import termios
import threading
import time

import certificates
import people

# An interactive session must not wait for a question that nobody answers.
CLIENT_OPTIONS = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
HOST_KEYS = ("ed25519", "ecdsa", "rsa")


class SshServer:
    """An sshd on a node, for one account."""

    def __init__(self, scene, node, account, port=22, address="0.0.0.0"):
        self.node, self.account, self.port = node, account, port
        keys = scene.directory / f"ssh-{node.name}-{port}"
        self.user_key = certificates.ssh_key(keys / "user", "ed25519", account.user)
        public = self.user_key.with_suffix(".pub")
        public.chmod(0o644)
        configuration = node.configure("sshd_config", f"sshd_config-{port}", port=port, public_key=public)
        with configuration.open("a") as more:
            for kind in HOST_KEYS:
                more.write(f"HostKey {certificates.ssh_key(keys / f'host_{kind}', kind)}\n")
            more.write(f"ListenAddress {address}\n")
            if scene.network.ipv6:
                more.write("ListenAddress ::\n")
        node.wait_port(port, node.spawn(f"exec /usr/sbin/sshd -D -e -f {configuration}", f"sshd-{port}"))
        furnish_workplace(scene, node, account)

    def key_for(self, node, user=None):
        """A copy of the user's private key that a user of another node may read; returns its path there."""
        home = f"/home/{user}" if user else "/root"
        path = f"{home}/.ssh/id_ed25519"
        node.run(f"mkdir -p -m 0700 {home}/.ssh && cp {self.user_key} {path} && chmod 0600 {path}")
        if user:
            node.run(f"chown -R {user}:{user} {home}")
        return path

    def command(self, node, *options, host=None, port=None, user=None):
        """The client's command line on `node`, as a list."""
        key = self.key_for(node, user)
        login = f"{self.account.user}@{host or self.node.address}"
        return ["ssh", *CLIENT_OPTIONS.split(), "-i", key, "-p", str(port or self.port), *options, login]


def furnish_workplace(scene, node, account):
    """A project directory with sources, notes and logs in the account's home."""
    rng = scene.rng(f"workplace-{node.name}")
    files = {
        ".bashrc": "PS1='\\u@\\h:\\w\\$ '\nexport HISTFILE=\n",
        ".bash_profile": ". ~/.bashrc\n",
        "notes.txt": "\n".join(people.prose_lines(rng, 6)) + "\n",
    }
    for word in people.WORDS:
        functions = "\n\n".join(_function(rng) for _ in range(rng.randrange(3, 7)))
        files[f"src/{word}.py"] = f'"""{word}"""\n{functions}\n'
        files[f"logs/{word}.log"] = "".join(_log_line(rng, word) for _ in range(rng.randrange(30, 80)))
    staging = scene.directory / f"home-{node.name}"
    for name, text in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    home = f"/home/{account.user}"
    node.run(f"cp -r {staging}/. {home}/ && chown -R {account.user}:{account.user} {home}")


def _function(rng):
    verb, noun = rng.choice(people.VERBS), rng.choice(people.WORDS)
    todo = f"{rng.choice(people.VERBS)} the {rng.choice(people.WORDS)}"
    condition = f"r.{rng.choice(people.WORDS)} > {rng.randrange(90)}"
    return f"def {verb}_{noun}(rows):\n    # TODO {todo}\n    return [r for r in rows if {condition}]"


def _log_line(rng, word):
    level, verb = rng.choice(["INFO", "INFO", "WARN", "ERROR"]), rng.choice(people.VERBS)
    return f"{level} {word} {verb} id={rng.randrange(10**6)} took {rng.randrange(2, 900)} ms\n"


class Terminal:
    """A program in a terminal of 100 by 30 characters at which a person types."""

    ROWS, COLUMNS = 30, 100
    SENT_FOR = {"\n": "\r", "\b": "\x7f"}

    def __init__(self, scene, node, command, log, user=None):
        self.scene, self.node = scene, node
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.ROWS, self.COLUMNS, 0, 0))
        self.process = node.spawn(command, log, stdin=slave, stdout=slave, user=user)
        os.close(slave)
        self.screen = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while data := os.read(self._master, 4096):
                self.screen += data
        except OSError:
            pass

    def wait_prompt(self, prompt=b"$ "):
        """Waits until the prompt is on the screen."""
        self.node.wait_for(lambda: prompt in self.screen, "a prompt", 20, self.process)

    def play(self, events, kind):
        """Types the characters of `people.Person` events in real time."""
        start = time.time()
        for event in events:
            if not event.character:
                continue
            wait = start + event.at - time.time()
            if wait > 0:
                time.sleep(wait)
            self.scene.note_event(f"{kind}-key")
            os.write(self._master, self.SENT_FOR.get(event.character, event.character).encode())

    def close(self):
        """Logs out as a person does, and waits for the program."""
        os.write(self._master, b"\x04")
        try:
            self.process.wait(5)
        except Exception:
            self.node.stop(self.process)
        os.close(self._master)
