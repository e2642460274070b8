"""Certificates and SSH keys of a scene.

In: a directory and names. Out: a root, an intermediate and leaves signed by it, as a public web server would present them;
SSH host and user keys. Keys are fresh for every run: they are the part of a recording that a seed does not repeat.
"""

import pathlib
import subprocess

KEY_OPTIONS = {"rsa": "-newkey rsa:2048", "ec": "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"}
CA_EXTENSIONS = """\
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
LEAF_EXTENSIONS = """\
subjectAltName={names}
extendedKeyUsage={usage}
basicConstraints=CA:FALSE
keyUsage=digitalSignature,keyEncipherment
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def _openssl(directory, command, *arguments):
    """Runs openssl; `command` is split at blanks, `arguments` (subjects) are not."""
    subprocess.run(["openssl", *command.split(), *arguments], cwd=directory, check=True, capture_output=True)


class Authority:
    """A certificate authority with an intermediate. `root` is what clients trust."""

    def __init__(self, directory, organisation="Northgate Trust Services"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.root = self.directory / "root.crt"
        subject = f"/C=US/O={organisation}/CN={organisation}"
        new = f"req {KEY_OPTIONS['rsa']} -nodes"
        _openssl(directory, f"{new} -x509 -keyout root.key -out root.crt -days 7300 -subj", f"{subject} Root R1")
        _openssl(directory, f"{new} -keyout intermediate.key -out intermediate.csr -subj", f"{subject} TLS CA 3")
        self._sign("intermediate", "root", CA_EXTENSIONS, 3000, "intermediate.crt")

    def _sign(self, stem, signer, extensions, days, out):
        (self.directory / f"{stem}.ext").write_text(extensions)
        by = f"-CA {signer}.crt -CAkey {signer}.key -CAcreateserial"
        _openssl(self.directory, f"x509 -req -in {stem}.csr {by} -days {days} -out {out} -extfile {stem}.ext")

    def leaf(self, stem, names, key="ec", client=False, organisation=None):
        """(certificate chain, key) files for DNS names or addresses; the first name is the subject."""
        kinds = ["IP" if n.replace(".", "").isdigit() or ":" in n else "DNS" for n in names]
        alternative = ",".join(f"{kind}:{name}" for kind, name in zip(kinds, names))
        subject = (f"/O={organisation}" if organisation else "") + f"/CN={names[0]}"
        request = f"req {KEY_OPTIONS[key]} -nodes -keyout {stem}.key -out {stem}.csr -subj"
        _openssl(self.directory, request, subject)
        usage = "clientAuth" if client else "serverAuth"
        extensions = LEAF_EXTENSIONS.format(names=alternative, usage=usage)
        self._sign(stem, "intermediate", extensions, 390, f"{stem}.leaf")
        chain = self.directory / f"{stem}.crt"
        chain.write_text("".join((self.directory / part).read_text() for part in (f"{stem}.leaf", "intermediate.crt")))
        return chain, self.directory / f"{stem}.key"


def self_signed(directory, stem, name, key="rsa"):
    """(certificate, key) as a desktop makes it for itself."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = f"-keyout {stem}.key -out {stem}.crt"
    _openssl(directory, f"req -x509 {KEY_OPTIONS[key]} -nodes {files} -days 182 -subj", f"/CN={name}")
    return directory / f"{stem}.crt", directory / f"{stem}.key"


def ssh_key(path, kind="ed25519", comment=""):
    """An SSH key pair; returns the private key's path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", path], check=True)
    return path
