//! Conversations of real protocols, byte by byte, to be sent from any address to any port.

use std::net::{IpAddr, SocketAddr};

use super::capture::Capture;
use super::tcp::{Client, Server, Side, Tcp};

/// What carries a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// A conversation and the label that its content deserves.
#[derive(Clone, Debug)]
pub struct Session {
    pub label: &'static str,
    pub transport: Transport,
    /// The port that everybody runs it on.
    pub usual_port: u16,
    pub payloads: Vec<(Side, Vec<u8>)>,
}

impl Session {
    /// Plays it; TCP with handshake and goodbye.
    pub fn play(&self, client: SocketAddr, server: SocketAddr, c: &mut Capture) {
        match self.transport {
            Transport::Tcp => {
                let mut t = Tcp::open(client, server, c);
                for (side, bytes) in &self.payloads {
                    t.send(*side, bytes, c);
                    t.ack(if *side == Client { Server } else { Client }, c);
                }
                t.close(c);
            }
            Transport::Udp => {
                for (side, bytes) in &self.payloads {
                    match side {
                        Client => c.datagram(client, server, bytes),
                        Server => c.datagram(server, client, bytes),
                    }
                }
            }
        }
    }
}

/// Every conversation here that deserves a label.
pub fn sessions() -> Vec<Session> {
    vec![
        Session { label: "rdp", transport: Transport::Tcp, usual_port: 3389, payloads: rdp(4) },
        Session { label: "wireguard", transport: Transport::Udp, usual_port: 51_820, payloads: wireguard(4) },
        Session { label: "vnc", transport: Transport::Tcp, usual_port: 5900, payloads: vnc() },
        Session { label: "ssh", transport: Transport::Tcp, usual_port: 22, payloads: ssh() },
    ]
}

/// RDP's negotiation ([MS-RDPBCGR] 2.2.1.1, 2.2.1.2) agreeing on TLS, then TLS, then `records` encrypted records a side.
pub fn rdp(records: usize) -> Vec<(Side, Vec<u8>)> {
    let mut request = b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=anna\r\n".to_vec();
    request.extend(b"\x01\x00\x08\x00\x03\x00\x00\x00");
    let confirm = b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x02\x00\x00\x00".to_vec();
    let mut all = vec![(Client, request), (Server, confirm), (Client, client_hello("laptop.example"))];
    all.push((Server, server_hello()));
    all.extend(encrypted(records));
    all
}

/// TLS application data in both directions.
pub fn encrypted(records: usize) -> Vec<(Side, Vec<u8>)> {
    let record = |n: usize, len: usize| {
        let mut r = vec![0x17, 3, 3, 0, len as u8];
        r.extend(noise(n as u64, len));
        r
    };
    (0..records).flat_map(|n| [(Client, record(n, 60)), (Server, record(n + 1_000, 200))]).collect()
}

/// A ClientHello (RFC 8446 4.1.2) that asks for `name`.
pub fn client_hello(name: &str) -> Vec<u8> {
    let mut sni = ((name.len() + 3) as u16).to_be_bytes().to_vec();
    sni.push(0);
    sni.extend((name.len() as u16).to_be_bytes());
    sni.extend(name.as_bytes());
    let mut extensions = vec![0, 0];
    extensions.extend((sni.len() as u16).to_be_bytes());
    extensions.extend(sni);
    extensions.extend([0, 43, 0, 3, 2, 3, 4]); // supported_versions: TLS 1.3
    let mut body = vec![3, 3];
    body.extend(noise(7, 32));
    body.push(0);
    body.extend([0, 4, 0x13, 0x01, 0x13, 0x02, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    handshake(1, &body)
}

/// A ServerHello (RFC 8446 4.1.3).
pub fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(noise(8, 32));
    body.extend([0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
    handshake(2, &body)
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.extend(((body.len() + 4) as u16).to_be_bytes());
    record.extend([kind, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

/// WireGuard's handshake and `packets` data packets a side (WireGuard paper, 5.4).
pub fn wireguard(packets: u64) -> Vec<(Side, Vec<u8>)> {
    let (a, b) = (0x1122_3344_u32, 0x5566_7788_u32);
    let message = |kind: u8, words: &[u32], len: usize| {
        let mut m = vec![kind, 0, 0, 0];
        words.iter().for_each(|w| m.extend(w.to_le_bytes()));
        let left = len - m.len();
        m.extend(noise(u64::from(kind), left));
        m
    };
    let data = |receiver: u32, counter: u64| {
        let mut m = vec![4, 0, 0, 0];
        m.extend(receiver.to_le_bytes());
        m.extend(counter.to_le_bytes());
        m.extend(noise(counter, 112));
        m
    };
    let mut all = vec![(Client, message(1, &[a], 148)), (Server, message(2, &[b, a], 92))];
    for n in 0..packets {
        all.extend([(Client, data(b, n)), (Server, data(a, n))]);
    }
    all
}

/// RFB 3.8 with password (RFC 6143 section 7.1 to 7.3), then a request and a screen.
pub fn vnc() -> Vec<(Side, Vec<u8>)> {
    let version = b"RFB 003.008\n".to_vec();
    let mut init = vec![4, 0, 3, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
    init.extend([0, 0, 0, 5]);
    init.extend(b"desk1");
    let mut screen = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0];
    screen.extend(noise(5, 256));
    vec![
        (Server, version.clone()),
        (Client, version),
        (Server, vec![1, 2]),
        (Client, vec![2]),
        (Server, noise(3, 16)),
        (Client, noise(4, 16)),
        (Server, vec![0; 4]),
        (Client, vec![1]),
        (Server, init),
        (Client, vec![2, 0, 0, 1, 0, 0, 0, 0]),
        (Client, vec![3, 0, 0, 0, 0, 0, 4, 0, 3, 0]),
        (Server, screen),
        (Client, vec![4, 1, 0, 0, 0, 0, 0, 0x61]),
    ]
}

/// SSH's banners and key exchange (RFC 4253 section 4.2, 7.1), then encrypted packets.
pub fn ssh() -> Vec<(Side, Vec<u8>)> {
    let kexinit = |n: u64| {
        let mut body = vec![20];
        body.extend(noise(n, 16));
        for list in [
            "curve25519-sha256",
            "ssh-ed25519",
            "chacha20-poly1305@openssh.com",
            "chacha20-poly1305@openssh.com",
            "hmac-sha2-256",
            "hmac-sha2-256",
            "none",
            "none",
            "",
            "",
        ] {
            body.extend((list.len() as u32).to_be_bytes());
            body.extend(list.as_bytes());
        }
        body.extend([0; 5]);
        let padding = 8 - (body.len() + 5) % 8 + 8;
        let mut packet = ((body.len() + padding + 1) as u32).to_be_bytes().to_vec();
        packet.push(padding as u8);
        packet.extend(body);
        packet.extend(vec![0; padding]);
        packet
    };
    let mut all = vec![
        (Client, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
        (Server, b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        (Client, kexinit(1)),
        (Server, kexinit(2)),
    ];
    for n in 0..8 {
        all.extend([(Client, noise(100 + n, 36)), (Server, noise(200 + n, 52))]);
    }
    all
}

/// A DNS question for the address of `name` (RFC 1035 section 4).
pub fn dns_question(id: u16, name: &str) -> Vec<u8> {
    let mut m = id.to_be_bytes().to_vec();
    m.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    m.extend(dns_name(name));
    m.extend([0, 1, 0, 1]);
    m
}

/// The answer: `name` has `addr`.
pub fn dns_answer(id: u16, name: &str, addr: IpAddr) -> Vec<u8> {
    let mut m = id.to_be_bytes().to_vec();
    m.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    m.extend(dns_name(name));
    let (kind, bytes) = match addr {
        IpAddr::V4(a) => (1, a.octets().to_vec()),
        IpAddr::V6(a) => (28, a.octets().to_vec()),
    };
    m.extend([0, kind, 0, 1, 0xc0, 12, 0, kind, 0, 1, 0, 0, 1, 0]);
    m.extend((bytes.len() as u16).to_be_bytes());
    m.extend(bytes);
    m
}

fn dns_name(name: &str) -> Vec<u8> {
    let mut n = Vec::new();
    for part in name.split('.') {
        n.push(part.len() as u8);
        n.extend(part.as_bytes());
    }
    n.push(0);
    n
}

/// Bytes without a pattern, the same for the same seed (SplitMix64).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(dice.roll().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Numbers without a pattern, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

/// Whether this build has an analyzer that gives `label`.
pub fn recognised(label: &str) -> bool {
    farend_analyzers::metas().iter().any(|m| m.label == Some(label))
}
