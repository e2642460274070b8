"""Mail: an IMAP server with a few messages, a submission server, and a person's mail programs.

In: nodes of a `Scene`. Out: dovecot and postfix on the server; synchronising (mbsync) and sending (msmtp) on the client.
"""

import people

IMAPS_PORT, IMAP_PORT, SUBMISSION_PORT = 993, 143, 587
MESSAGES = 6


class MailServer:
    """dovecot and postfix on a node, for one account."""

    def __init__(self, scene, node, name, account):
        self.node, self.name, self.account = node, name, account
        self._root, self._rng = scene.authority.root, scene.rng("mail")
        chain, key = scene.authority.leaf("mail", [name], key="rsa")
        self._fill_inbox()
        dovecot = node.configure("dovecot.conf", chain=chain, key=key)
        node.wait_port(IMAPS_PORT, node.spawn(f"exec dovecot -F -c {dovecot}", "dovecot"))
        node.configure("postfix-main.cf", "postfix/main.cf", name=name, chain=chain, key=key)
        postfix = node.configure("postfix-master.cf", "postfix/master.cf").parent
        node.run("mkdir -p /tmp/spool /tmp/postfix && chown postfix /tmp/postfix")
        node.wait_port(SUBMISSION_PORT, node.spawn(f"exec postfix -c {postfix} start-fg", "postfix"))

    def _fill_inbox(self):
        rng, user, inbox = self._rng, self.account.user, self.node.directory / "inbox"
        for folder in ("cur", "new", "tmp"):
            (inbox / folder).mkdir(parents=True)
        for i in range(MESSAGES):
            head = f"From: {rng.choice(people.FIRST_NAMES)} <team@example.net>\nTo: {user}\n"
            head += f"Subject: {rng.choice(people.WORDS)} {i}\nMessage-ID: <{rng.randrange(10**9)}@example.net>\n"
            body = "\n".join(people.prose_lines(rng, rng.randrange(5, 60)))
            (inbox / "cur" / f"17{i}.M{i}.mail:2,S").write_text(f"{head}\n{body}\n")
        self.node.run(f"cp -r {inbox} /home/{user}/Maildir && chown -R {user}:{user} /home/{user}")

    def synchronise(self, node, port):
        """Fetches what is new: TLS from the start on port 993, STARTTLS on 143."""
        security, folder = ("IMAPS", "mail-tls") if port == IMAPS_PORT else ("STARTTLS", "mail-starttls")
        values = {"host": self.name, "port": port, "security": security, "folder": folder, "root": self._root}
        values |= {"user": self.account.user, "password": self.account.password}
        configuration = node.configure("mbsyncrc", f"mbsyncrc-{port}", **values)
        configuration.chmod(0o600)
        node.run(f"mkdir -p {folder} && mbsync -c {configuration} {folder}")

    def send(self, node):
        """Submits a message with STARTTLS."""
        text = "\n".join(people.prose_lines(self._rng, 25))
        options = (
            f"--host={self.name} --port={SUBMISSION_PORT} --tls=on --tls-starttls=on --tls-trust-file={self._root}"
        )
        sender = f"--from={self.account.user}@{self.name.split('.', 1)[1]}"
        message = f"Subject: {self._rng.choice(people.WORDS)}\n\n{text}\n"
        node.run(f"msmtp {options} {sender} orders@example.net", input=message)
