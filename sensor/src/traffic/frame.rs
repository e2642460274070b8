//! Ethernet, IPv4 and TCP headers with right checksums.

/// TCP flags (RFC 9293 3.1).
pub(super) mod flag {
    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const ACK: u8 = 0x10;
}

/// Client and server of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
}

impl Ends {
    /// The ends of flow `number`: clients in 10/8, servers in 198.18/15.
    pub(super) fn of(number: u32) -> Self {
        let mixed = number.wrapping_mul(2_654_435_761);
        let client = 0x0A00_0000 | (number % 50_021 + 2);
        let server = 0xC612_0000 | (mixed >> 15 & 0x1FFFF);
        let port = 1_024 + ((number / 50_021).wrapping_mul(40_503) ^ mixed >> 3) % 64_000;
        Self { client: (client.to_be_bytes(), port as u16), server: (server.to_be_bytes(), 443) }
    }
}

/// One TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) ends: Ends,
    /// From client to server.
    pub(super) up: bool,
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) id: u16,
    pub(super) payload: &'a [u8],
    /// Bytes of a TLS application-data record instead of `payload`.
    pub(super) fill: u32,
}

impl Segment<'_> {
    /// Writes the frame, padded to Ethernet's 60 bytes.
    pub(super) fn frame(&self, out: &mut Vec<u8>) {
        out.clear();
        let (client_mac, server_mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (src, dst, smac, dmac) = if self.up {
            (self.ends.client, self.ends.server, client_mac, server_mac)
        } else {
            (self.ends.server, self.ends.client, server_mac, client_mac)
        };
        out.extend_from_slice(&dmac);
        out.extend_from_slice(&smac);
        out.extend_from_slice(&[0x08, 0x00]);
        let body = if self.fill > 0 { self.fill as usize } else { self.payload.len() };
        let total = (40 + body) as u16;
        let ip = out.len();
        out.extend_from_slice(&[0x45, 0]);
        out.extend_from_slice(&total.to_be_bytes());
        out.extend_from_slice(&self.id.max(1).to_be_bytes());
        out.extend_from_slice(&[0x40, 0, 64, 6, 0, 0]);
        out.extend_from_slice(&src.0);
        out.extend_from_slice(&dst.0);
        let check = checksum(&out[ip..], 0);
        out[ip + 10..ip + 12].copy_from_slice(&check.to_be_bytes());
        let tcp = out.len();
        out.extend_from_slice(&src.1.to_be_bytes());
        out.extend_from_slice(&dst.1.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.to_be_bytes());
        out.extend_from_slice(&[0x50, self.flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        if self.fill > 0 {
            // TLS application data (RFC 8446 5.2): type 23, version 3.3, length; the ciphertext is a fixed pattern.
            let length = self.fill - 5;
            out.extend_from_slice(&[23, 3, 3, (length >> 8) as u8, length as u8]);
            out.extend((0..length).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8));
        } else {
            out.extend_from_slice(self.payload);
        }
        let pseudo = [&src.0[..], &dst.0[..]].concat();
        let start = sum(&pseudo, 6 + u32::from(total) - 20);
        let check = checksum(&out[tcp..], start);
        out[tcp + 16..tcp + 18].copy_from_slice(&check.to_be_bytes());
        if out.len() < 60 {
            out.resize(60, 0);
        }
    }
}

fn sum(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |s, w| s + (u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0))))
}

/// Internet checksum (RFC 1071).
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut s = sum(bytes, start);
    while s > 0xFFFF {
        s = (s & 0xFFFF) + (s >> 16);
    }
    !(s as u16)
}
