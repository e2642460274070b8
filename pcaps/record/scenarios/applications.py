"""Ordinary applications: HTTP/3, mail, a video call, chat, messages between machines, file copies. None of them deserves a label."""
import time

import people
import shell
import web
from scene import scenario

from scenarios.ordinary_web import ALL_FINDINGS


@scenario("quic_http3", ["caddy", "dnsmasq"])
def quic_http3(scene):
    """Web pages over HTTP/3 (QUIC on UDP 443). Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    pc, rng = home["pc"], scene.rng("browsing")
    node = scene.network.web_node("cdn")
    name = "en.wikipedia.org"
    chain, key = scene.authority.leaf("caddy", [name])
    www = scene.directory / "www"
    web.write_pages(www, scene.rng("sites"), 9_000)
    configuration = scene.directory / "Caddyfile"
    configuration.write_text("{\n admin off\n auto_https disable_redirects\n}\n" + f"https://{name} {{\n tls {chain} {key}\n root * {www}\n file_server\n}}\n")
    node.wait_port(443, node.spawn(["caddy", "run", "--config", configuration, "--adapter", "caddyfile"], "caddy"), "udp")
    fetch = scene.python_program("h3_fetch.py", "aioquic")
    scene.record_lan(home)
    for _ in range(5):
        page = rng.randrange(web.PAGES)
        pc.run([*fetch, name, scene.authority.root, f"/p{page}.html", f"/p{page}_0.bin", f"/p{page}_1.bin", "/s.css"])
        time.sleep(rng.uniform(1, 4))
    scene.expect_silence(*ALL_FINDINGS)


@scenario("mail_tls", ["dovecot-imapd", "isync", "postfix", "msmtp"])
def mail_tls(scene):
    """Mail: IMAP over TLS (993), IMAP with STARTTLS (143) and submission with STARTTLS (587). Captured at home."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("mail", "business", "mail server", hostname="mail", people=[account])
    pc, rng = home["pc"], scene.rng("mail")
    name = "mail.brightfield.example"
    scene.network.name(name, server)
    chain, key = scene.authority.leaf("mail", [name], key="rsa")
    start_dovecot(server, account, chain, key, rng)
    start_postfix(server, name, chain, key)
    sync = pc.directory / "mbsyncrc"
    accounts = "".join(f"IMAPAccount {kind}\nHost {name}\nPort {port}\nUser {account.user}\nPass {account.password}\nSSLType {kind}\nCertificateFile {scene.authority.root}\n\n"
                       f"IMAPStore {kind}-remote\nAccount {kind}\n\nMaildirStore {kind}-local\nPath /root/mail-{kind}/\nInbox /root/mail-{kind}/INBOX\n\nChannel {kind}\nFar :{kind}-remote:\nNear :{kind}-local:\nCreate Near\n\n"
                       for kind, port in (("IMAPS", 993), ("STARTTLS", 143)))
    sync.write_text(accounts)
    sync.chmod(0o600)
    pc.run("mkdir -p mail-IMAPS mail-STARTTLS")
    scene.record_lan(home)
    for kind in ("IMAPS", "STARTTLS"):
        pc.run(["mbsync", "-c", sync, kind])
        time.sleep(rng.uniform(2, 4))
    text = "\n".join(people.prose_lines(rng, 25))
    pc.run(["msmtp", f"--host={name}", "--port=587", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={scene.authority.root}", f"--from={account.user}@brightfield.example", "orders@example.net"], input=f"Subject: {rng.choice(people.WORDS)}\n\n{text}\n")
    time.sleep(rng.uniform(2, 4))
    pc.run(["mbsync", "-c", sync, "IMAPS"])
    scene.expect_flow("imap", server=server.address, port=993)
    scene.expect_flow("imap", server=server.address, port=143)
    scene.expect_flow("smtp", server=server.address, port=587)
    scene.expect_silence(*ALL_FINDINGS)


def start_dovecot(node, account, chain, key, rng):
    """An IMAP server with a few messages for one account."""
    box = node.directory / "inbox"
    for folder in ("cur", "new", "tmp"):
        (box / folder).mkdir(parents=True)
    for i in range(6):
        body = "\n".join(people.prose_lines(rng, rng.randrange(5, 60)))
        (box / "cur" / f"17{i}.M{i}.mail:2,S").write_text(f"From: {rng.choice(people.FIRST_NAMES)} <team@example.net>\nTo: {account.user}\nSubject: {rng.choice(people.WORDS)} {i}\nMessage-ID: <{rng.randrange(10**9)}@example.net>\n\n{body}\n")
    node.run(f"cp -r {box} /home/{account.user}/Maildir && chown -R {account.user}:{account.user} /home/{account.user}")
    configuration = node.directory / "dovecot.conf"
    configuration.write_text(f"protocols = imap\nbase_dir = /run/dovecot\nlog_path = /dev/stderr\nssl = required\nssl_cert = <{chain}\nssl_key = <{key}\nmail_location = maildir:~/Maildir\n"
                             "passdb {\n driver = shadow\n}\nuserdb {\n driver = passwd\n}\nservice imap-login {\n inet_listener imap {\n  port = 143\n }\n inet_listener imaps {\n  port = 993\n  ssl = yes\n }\n}\n")
    node.wait_port(993, node.spawn(["dovecot", "-F", "-c", configuration], "dovecot"))


def start_postfix(node, name, chain, key):
    """A submission server that accepts mail and drops it."""
    configuration = node.directory / "postfix"
    configuration.mkdir()
    (configuration / "main.cf").write_text(f"compatibility_level = 3.6\nmyhostname = {name}\nqueue_directory = /tmp/spool\ndata_directory = /tmp/postfix\nmaillog_file = /var/log/mail.log\ninet_protocols = ipv4\nmynetworks = 0.0.0.0/0\n"
                                           f"smtpd_tls_cert_file = {chain}\nsmtpd_tls_key_file = {key}\nsmtpd_tls_security_level = may\nlocal_transport = discard:\ndefault_transport = discard:\nsmtpd_peername_lookup = no\n")
    (configuration / "master.cf").write_text("submission inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n"
                                             "bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\nanvil unix - - n - 1 anvil\ndiscard unix - - n - - discard\nproxymap unix - - n - - proxymap\npostlog unix-dgram n - n - 1 postlogd\n")
    node.run("mkdir -p /tmp/spool /tmp/postfix && chown postfix /tmp/postfix")
    node.wait_port(587, node.spawn(["postfix", "-c", configuration, "start-fg"], "postfix"))


@scenario("webrtc_call", [])
def webrtc_call(scene):
    """A video call from home to a media server: STUN, DTLS, SRTP and a data channel on one UDP flow. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    media = scene.network.server("media", "hosting", "media server of a call")
    pc, seconds = home["pc"], 14
    call = scene.python_program("call.py", "aiortc")
    meeting = scene.directory / "meeting"
    meeting.mkdir()
    scene.record_lan(home)
    answer = media.spawn([*call, "answer", meeting, seconds + 4, scene.seed], "call")
    offer = pc.spawn([*call, "offer", meeting, seconds, scene.seed], "call")
    pc.wait_log(offer, "connected", seconds + 25)
    media.stop(answer)
    scene.expect_flow("webrtc", proto="udp", client=pc.address, server=media.address)
    scene.expect_flow("webrtc", proto="udp", client=media.address)
    scene.expect_silence(*ALL_FINDINGS)


@scenario("mqtt_sensors", ["mosquitto", "mosquitto-clients"])
def mqtt_sensors(scene):
    """Two sensors publish readings to a broker over MQTT, in the clear (1883) and over TLS (8883); a program subscribes. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home automation PC")})
    broker = scene.network.server("broker", "hosting", "MQTT broker")
    pc, rng = home["pc"], scene.rng("readings")
    name = "mq.sensorhub.example"
    scene.network.name(name, broker)
    chain, key = scene.authority.leaf("mqtt", [name])
    configuration = broker.directory / "mosquitto.conf"
    configuration.write_text(f"user root\nlistener 1883 0.0.0.0\nallow_anonymous true\nlistener 8883 0.0.0.0\ncertfile {chain}\nkeyfile {key}\n")
    broker.wait_port(8883, broker.spawn(["mosquitto", "-c", configuration], "mosquitto"))
    scene.record_lan(home)
    subscriber = pc.spawn(["mosquitto_sub", "-h", name, "-t", "home/#", "-k", "15"], "mosquitto-sub")
    for i in range(16):
        secure = ["-p", "8883", "--cafile", scene.authority.root] if i % 3 == 0 else []
        pc.run(["mosquitto_pub", "-h", name, "-t", f"home/{rng.choice(['hall', 'attic'])}/climate", "-m", f'{{"t":{rng.uniform(15, 26):.1f},"h":{rng.uniform(30, 70):.0f}}}', *secure])
        time.sleep(rng.uniform(1, 4))
    pc.stop(subscriber)
    scene.expect_flow("mqtt", server=broker.address, port=1883)
    scene.expect_flow("mqtt", server=broker.address, port=8883, note="in TLS")
    scene.expect_silence(*ALL_FINDINGS)


@scenario("irc_chat", ["ngircd", "irssi"])
def irc_chat(scene):
    """Two people talk on an IRC server, a line at a time. Captured at the home of one of them."""
    home, friend = (scene.network.lan(n, {"pc": ("pc", f"PC at {n}")}) for n in ("home", "friend"))
    server = scene.network.server("irc", "hosting", "IRC server")
    configuration = server.directory / "ngircd.conf"
    configuration.write_text("[Global]\nName = irc.openchat.example\nInfo = chat\nListen = 0.0.0.0\nPorts = 6667\nMotdPhrase = hello\n[Limits]\nConnectRetry = 60\n[Options]\nIdent = no\nPAM = no\nDNS = no\n")
    server.wait_port(6667, server.spawn(["ngircd", "-n", "-f", configuration], "ngircd"))
    scene.record_lan(home)
    terminals = []
    for i, lan in enumerate((home, friend)):
        terminal = shell.Terminal(scene, lan["pc"], ["irssi", "-c", server.address, "-p", "6667", "-n", f"{scene.rng(f'nick{i}').choice(people.FIRST_NAMES).lower()}{i}"], "irssi")
        terminal.wait_prompt(b"hello")
        terminal.play(scene.person(f"talker{i}").type_only(12, ["/join #garden"]), f"talker{i}")
        terminals.append(terminal)
    for turn in range(8):
        who = turn % 2
        terminals[who].play(scene.person(f"talker{who}").type_only(20, people.prose_lines(scene.rng(f"talk{turn}"), 2)), f"talker{who}")
    for i, terminal in enumerate(terminals):
        terminal.play(scene.person(f"talker{i}").type_only(9, ["/quit"]), f"talker{i}")
    scene.expect_flow("irc", server=server.address, port=6667)
    scene.expect_silence(*ALL_FINDINGS)


@scenario("rsync_files", ["rsync"])
def rsync_files(scene):
    """A mirror is copied from an rsync daemon, twice. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("mirror", "hosting", "rsync mirror")
    pc, rng = home["pc"], scene.rng("files")
    mirror = scene.directory / "published"
    mirror.mkdir()
    for i in range(9):
        (mirror / f"part{i}.bin").write_bytes(rng.randbytes(rng.randrange(2_000, 30_000)))
    configuration = server.directory / "rsyncd.conf"
    configuration.write_text(f"use chroot = no\nuid = root\ngid = root\n[pub]\npath = {mirror}\nread only = yes\n")
    server.wait_port(873, server.spawn(["rsync", "--daemon", "--no-detach", f"--config={configuration}"], "rsyncd"))
    scene.record_lan(home)
    for _ in range(2):
        pc.run(["rsync", "-a", f"rsync://{server.address}/pub/", "/tmp/copy/"])
        time.sleep(rng.uniform(2, 4))
    scene.expect_flow("rsync", server=server.address, port=873)
    scene.expect_silence(*ALL_FINDINGS)
