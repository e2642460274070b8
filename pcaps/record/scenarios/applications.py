"""Ordinary applications: HTTP/3, mail, a video call, chat, messages between machines, file copies. None deserves a label."""

import time

import mail
import people
import shell
import web
from scene import scenario
from scenarios.ordinary_web import ALL_FINDINGS

CALL_SECONDS = 14


@scenario("quic_http3", ["caddy", "dnsmasq"])
def quic_http3(scene):
    """Web pages over HTTP/3 (QUIC on UDP 443). Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    pc, rng = home["pc"], scene.rng("browsing")
    node, name = scene.network.web_node("cdn"), "en.wikipedia.org"
    chain, key = scene.authority.leaf("caddy", [name])
    www = scene.directory / "www"
    web.write_pages(www, scene.rng("sites"), 9_000)
    configuration = node.configure("Caddyfile", name=name, chain=chain, key=key, root=www)
    caddy = node.spawn(f"exec caddy run --config {configuration} --adapter caddyfile", "caddy")
    node.wait_port(443, caddy, "udp")
    fetch = scene.python_program("h3_fetch.py", "aioquic")
    scene.record_lan(home)
    for _ in range(5):
        page = rng.randrange(web.PAGES)
        pc.run([*fetch, name, scene.authority.root, f"/p{page}.html", f"/p{page}_0.bin", f"/p{page}_1.bin", "/s.css"])
        time.sleep(rng.uniform(1, 4))
    scene.expect_silence(*ALL_FINDINGS)


@scenario("mail_tls", ["dovecot-imapd", "isync", "postfix", "msmtp"])
def mail_tls(scene):
    """Mail: IMAP over TLS (993), IMAP with STARTTLS (143), submission with STARTTLS (587). Captured at home."""
    account = scene.account()
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    node = scene.network.server("mail", "business", "mail server", hostname="mail", people=[account])
    pc, rng, name = home["pc"], scene.rng("pauses"), "mail.brightfield.example"
    scene.network.name(name, node)
    server = mail.MailServer(scene, node, name, account)
    scene.record_lan(home)
    server.synchronise(pc, mail.IMAPS_PORT)
    time.sleep(rng.uniform(2, 4))
    server.synchronise(pc, mail.IMAP_PORT)
    time.sleep(rng.uniform(2, 4))
    server.send(pc)
    time.sleep(rng.uniform(2, 4))
    server.synchronise(pc, mail.IMAPS_PORT)
    scene.expect_flow("imap", server=node.address, port=mail.IMAPS_PORT, note="in TLS")
    scene.expect_flow("imap", server=node.address, port=mail.IMAP_PORT, note="STARTTLS")
    scene.expect_flow("smtp", server=node.address, port=mail.SUBMISSION_PORT, note="STARTTLS")
    scene.expect_silence(*ALL_FINDINGS)


@scenario("webrtc_call", [])
def webrtc_call(scene):
    """A video call from home to a media server: STUN, DTLS, SRTP and a data channel on one UDP flow. Captured at
    home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    media = scene.network.server("media", "hosting", "media server of a call")
    pc = home["pc"]
    call = scene.python_program("call.py", "aiortc")
    meeting = scene.directory / "meeting"
    meeting.mkdir()
    scene.record_lan(home)
    answer = media.spawn([*call, "answer", meeting, CALL_SECONDS + 4, scene.seed], "call")
    offer = pc.spawn([*call, "offer", meeting, CALL_SECONDS, scene.seed], "call")
    pc.wait_log(offer, "connected", CALL_SECONDS + 25)
    media.stop(answer)
    scene.expect_flow("webrtc", proto="udp", client=pc.address, server=media.address)
    scene.expect_flow("webrtc", proto="udp", client=media.address)
    scene.expect_silence(*ALL_FINDINGS)


@scenario("mqtt_sensors", ["mosquitto", "mosquitto-clients"])
def mqtt_sensors(scene):
    """Sensors publish readings to a broker over MQTT, in the clear (1883) and in TLS (8883); a program subscribes.
    Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home automation PC")})
    broker = scene.network.server("broker", "hosting", "MQTT broker")
    pc, rng, name = home["pc"], scene.rng("readings"), "mq.sensorhub.example"
    scene.network.name(name, broker)
    chain, key = scene.authority.leaf("mqtt", [name])
    configuration = broker.configure("mosquitto.conf", chain=chain, key=key)
    broker.wait_port(8883, broker.spawn(f"exec mosquitto -c {configuration}", "mosquitto"))
    scene.record_lan(home)
    subscriber = pc.spawn(f"exec mosquitto_sub -h {name} -t 'home/#' -k 15", "mosquitto-sub")
    for i in range(16):
        secure = ["-p", "8883", "--cafile", scene.authority.root] if i % 3 == 0 else []
        room, heat, damp = rng.choice(["hall", "attic"]), rng.uniform(15, 26), rng.uniform(30, 70)
        message = f'{{"t":{heat:.1f},"h":{damp:.0f}}}'
        pc.run(["mosquitto_pub", "-h", name, "-t", f"home/{room}/climate", "-m", message, *secure])
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
    configuration = server.configure("ngircd.conf")
    server.wait_port(6667, server.spawn(f"exec ngircd -n -f {configuration}", "ngircd"))
    scene.record_lan(home)
    talkers = []
    for i, lan in enumerate((home, friend)):
        nick = scene.rng(f"nick{i}").choice(people.FIRST_NAMES).lower() + str(i)
        terminal = shell.Terminal(scene, lan["pc"], f"exec irssi -c {server.address} -p 6667 -n {nick}", "irssi")
        terminal.wait_prompt(b"hello")
        person = scene.person(f"talker{i}")
        terminal.play(person.type_only(12, ["/join #garden"]), f"talker{i}")
        talkers.append((terminal, person))
    for turn in range(8):
        terminal, person = talkers[turn % 2]
        terminal.play(person.type_only(20, people.prose_lines(scene.rng(f"talk{turn}"), 2)), f"talker{turn % 2}")
    for i, (terminal, person) in enumerate(talkers):
        terminal.play(person.type_only(9, ["/quit"]), f"talker{i}")
    scene.expect_flow("irc", server=server.address, port=6667)
    scene.expect_silence(*ALL_FINDINGS)


@scenario("rsync_files", ["rsync"])
def rsync_files(scene):
    """A mirror is copied from an rsync daemon, twice. Captured at home."""
    home = scene.network.lan("home", {"pc": ("pc", "home PC")})
    server = scene.network.server("mirror", "hosting", "rsync mirror")
    pc, rng = home["pc"], scene.rng("files")
    published = scene.directory / "published"
    published.mkdir()
    for i in range(9):
        (published / f"part{i}.bin").write_bytes(rng.randbytes(rng.randrange(2_000, 30_000)))
    configuration = server.configure("rsyncd.conf", path=published)
    server.wait_port(873, server.spawn(f"exec rsync --daemon --no-detach --config={configuration}", "rsyncd"))
    scene.record_lan(home)
    for _ in range(2):
        pc.run(f"rsync -a rsync://{server.address}/pub/ /tmp/copy/")
        time.sleep(rng.uniform(2, 4))
    scene.expect_flow("rsync", server=server.address, port=873)
    scene.expect_silence(*ALL_FINDINGS)
