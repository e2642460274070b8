"""Certificates and SSH keys of a scene.

In: a directory and names. Out: a root, an intermediate and leaves signed by it, as a public web server would present them;
SSH host and user keys. Keys are fresh for every run: they are the part of a recording that a seed does not repeat.
"""
import pathlib
import subprocess


def _openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority with an intermediate. `root` is what clients trust."""

    def __init__(self, directory, organisation="Northgate Trust Services"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.root = self.directory / "root.crt"
        _openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.crt", "-days", "7300", "-subj", f"/C=US/O={organisation}/CN={organisation} Root R1")
        (self.directory / "ca.ext").write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        _openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "intermediate.key", "-out", "intermediate.csr", "-subj", f"/C=US/O={organisation}/CN={organisation} TLS CA 3")
        _openssl(directory, "x509", "-req", "-in", "intermediate.csr", "-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial", "-days", "3000", "-out", "intermediate.crt", "-extfile", "ca.ext")

    def leaf(self, stem, names, key="ec", client=False, organisation=None):
        """(certificate chain, key) files for DNS names or addresses; the first name is the subject."""
        alternative = ",".join(("IP:" if n.replace(".", "").isdigit() or ":" in n else "DNS:") + n for n in names)
        usage = "clientAuth" if client else "serverAuth"
        (self.directory / f"{stem}.ext").write_text(f"subjectAltName={alternative}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if key == "ec" else ["-newkey", "rsa:2048"]
        subject = (f"/O={organisation}" if organisation else "") + f"/CN={names[0]}"
        _openssl(self.directory, "req", *kind, "-nodes", "-keyout", f"{stem}.key", "-out", f"{stem}.csr", "-subj", subject)
        _openssl(self.directory, "x509", "-req", "-in", f"{stem}.csr", "-CA", "intermediate.crt", "-CAkey", "intermediate.key", "-CAcreateserial", "-days", "390", "-out", f"{stem}.leaf", "-extfile", f"{stem}.ext")
        chain = self.directory / f"{stem}.crt"
        chain.write_text((self.directory / f"{stem}.leaf").read_text() + (self.directory / "intermediate.crt").read_text())
        return chain, self.directory / f"{stem}.key"


def self_signed(directory, stem, name, key="rsa"):
    """(certificate, key) as a desktop makes it for itself."""
    pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    kind = ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _openssl(directory, "req", "-x509", *kind, "-nodes", "-keyout", f"{stem}.key", "-out", f"{stem}.crt", "-days", "182", "-subj", f"/CN={name}")
    return pathlib.Path(directory, f"{stem}.crt"), pathlib.Path(directory, f"{stem}.key")


def ssh_key(path, kind="ed25519", comment=""):
    """An SSH key pair; returns the private key's path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", path], check=True)
    return path
