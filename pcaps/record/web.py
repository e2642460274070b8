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
        (directory / f"p{page}.html").write_text(f"<!doctype html><title>{page}</title><link rel=stylesheet href=/s.css><p>{text}</p>")
        for part in range(PARTS_A_PAGE):
            (directory / f"p{page}_{part}.bin").write_bytes(rng.randbytes(int(min(largest, rng.lognormvariate(8.6, 1.1)))))
    (directory / "index.html").write_text((directory / "p0.html").read_text())
    (directory / "s.css").write_text("body{font-family:sans-serif}\n" * rng.randrange(20, 90))
    (directory / "poll").write_text('{"unread":%d,"next":30}' % rng.randrange(9))


class Sites:
    """The web sites of the scene, on their two nodes."""

    def __init__(self, scene, groups=("cdn", "origin"), largest_part=40_000, protocols="TLSv1.2 TLSv1.3", http2=True):
        self.scene = scene
        rng = scene.rng("sites")
        self.names = [site for site, (_, group) in addresses.SITES.items() if group in groups]
        www = scene.directory / "www"
        write_pages(www, rng, largest_part)
        for group in groups:
            node = scene.network.web_node(group)
            servers = []
            for i, site in enumerate(s for s, (_, g) in addresses.SITES.items() if g == group):
                chain, key = scene.authority.leaf(f"{group}{i}", [site, "www." + site], key=rng.choice(["ec", "rsa"]), organisation=site.split(".")[-2].capitalize())
                six = "listen [::]:443 ssl; listen [::]:80;" if scene.network.ipv6 else ""
                servers.append(f"server {{ listen 443 ssl{' http2' if http2 else ''}; listen 80; {six} server_name {site}; ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols {protocols}; root {www}; }}")
            start_nginx(node, servers)

    def pick(self, rng):
        """One site."""
        return rng.choice(self.names)


def start_nginx(node, servers, log="nginx"):
    """nginx on a node with the given server blocks."""
    configuration = node.directory / f"{log}.conf"
    temporary = "".join(f"{kind}_temp_path /tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text("daemon off; user root; worker_processes 1; pid /run/nginx.pid; error_log stderr;\n"
                             "events { worker_connections 256; }\n"
                             f"http {{ access_log off; server_tokens off; default_type application/octet-stream; types {{ text/html html; text/css css; application/json json; }} {temporary}\n" + "\n".join(servers) + "\n}\n")
    process = node.spawn(["nginx", "-e", "stderr", "-c", configuration], log)
    node.wait_for(lambda: node.run(["ss", "-ltnH"]).strip(), "nginx listening", 10, process)
    return process


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
    fetch(scene, node, [f"{scheme}://{site}/p{page}_{part}.bin" for part in range(PARTS_A_PAGE)] + [f"{scheme}://{site}/s.css"], options)
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
