"""Web: servers for the sites of the scene, and people's programs that fetch pages from them.

In: nodes of a `Scene`. Out: nginx with one certificate for each site, pages with sub-resources of seeded sizes; page loads
with curl as a person spaces them.
"""

import threading

import addresses

PAGES = 4
PARTS_A_PAGE = 4


def write_pages(directory, rng, largest):
    """Pages with parts of at most `largest` bytes, a style sheet and a poll answer."""
    directory.mkdir(parents=True, exist_ok=True)
    words = "network engineers read packets while the quick brown fox walks along copper and fibre near a quiet river".split()
    for page in range(PAGES):
        text = " ".join(rng.choice(words) for _ in range(rng.randrange(300, 1400)))
        (directory / f"p{page}.html").write_text(
            f"<!doctype html><title>{page}</title><link rel=stylesheet href=/s.css><p>{text}</p>"
        )
        for part in range(PARTS_A_PAGE):
            (directory / f"p{page}_{part}.bin").write_bytes(
                rng.randbytes(int(min(largest, rng.lognormvariate(8.6, 1.1))))
            )
    (directory / "index.html").write_text((directory / "p0.html").read_text())
    (directory / "s.css").write_text("body{font-family:sans-serif}\n" * rng.randrange(20, 90))
    (directory / "poll").write_text('{"unread":%d,"next":30}' % rng.randrange(9))


class Sites:
    """The web sites of the scene, on their two nodes."""

    def __init__(self, scene, groups=("cdn", "origin"), largest_part=40_000):
        self.scene = scene
        rng = scene.rng("sites")
        self.names = [site for site, (_, group) in addresses.SITES.items() if group in groups]
        www = scene.directory / "www"
        write_pages(www, rng, largest_part)
        for group in groups:
            node = scene.network.web_node(group)
            servers = []
            for i, site in enumerate(s for s, (_, g) in addresses.SITES.items() if g == group):
                kind, owner = rng.choice(["ec", "rsa"]), site.split(".")[-2].capitalize()
                chain, key = scene.authority.leaf(f"{group}{i}", [site, "www." + site], kind, organisation=owner)
                listen6 = "listen [::]:443 ssl; listen [::]:80;" if scene.network.ipv6 else ""
                values = {"listen6": listen6, "name": site, "chain": chain, "key": key, "root": www}
                servers.append(node.configure("nginx-site.conf", **values).read_text())
            configuration = node.configure("nginx.conf", servers="".join(servers))
            process = node.spawn(f"exec nginx -e stderr -c {configuration}", "nginx")
            node.wait_port(443, process)

    def pick(self, rng):
        """One site."""
        return rng.choice(self.names)


def fetch(scene, node, urls, options=(), user=None):
    """One curl run over several URLs of one site (one connection with HTTP/2); returns the status codes."""
    command = ["curl", "-sS", "--cacert", scene.authority.root, "--max-time", "25", "-w", "%{http_code} ", *options]
    if len(urls) > 1:
        command += ["-Z", "--parallel-max", "6"]
    for url in urls:
        command += ["-o", "/dev/null", url]
    return node.run(command, check=False, user=user, timeout=60).split()


def load_page(scene, node, site, page, scheme="https", options=()):
    """A page, then its parts; returns whether the page came."""
    status = fetch(scene, node, [f"{scheme}://{site}/p{page}.html"], options)
    parts = [f"p{page}_{part}.bin" for part in range(PARTS_A_PAGE)] + ["s.css"]
    fetch(scene, node, [f"{scheme}://{site}/{part}" for part in parts], options)
    return bool(status) and status[-1] == "200"


class Background:
    """A machine's own chatter and a person's page loads, in a thread, until `stop`."""

    def __init__(self, scene, node, sites, name, polls=(7, 18), pages=None):
        self._scene, self._node, self._sites, self._rng = scene, node, sites, scene.rng(f"background-{name}")
        self._polls, self._pages, self._over = polls, pages, threading.Event()
        self._threads = [threading.Thread(target=self._poll, daemon=True)]
        if pages:
            self._threads.append(threading.Thread(target=self._browse, daemon=True))
        for thread in self._threads:
            thread.start()

    def _poll(self):
        favourites = self._rng.sample(self._sites.names, min(3, len(self._sites.names)))
        while not self._over.wait(self._rng.uniform(*self._polls)):
            fetch(self._scene, self._node, [f"https://{self._rng.choice(favourites)}/poll"])

    def _browse(self):
        rng = self._scene.rng("browse-" + self._node.name)
        while not self._over.wait(rng.uniform(*self._pages)):
            load_page(self._scene, self._node, self._sites.pick(rng), rng.randrange(PAGES))

    def stop(self):
        """Lets the current fetch finish."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def require(loaded, at_least):
    """Raises when fewer pages came than a recording needs."""
    if loaded < at_least:
        raise RuntimeError(f"only {loaded} pages loaded, {at_least} wanted")
