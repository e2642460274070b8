//! TLS 1.3 handshake messages as records (RFC 8446 4.1.2, 4.1.3): well-formed, with fixed stand-ins for keys.

fn vec16(body: &[u8]) -> Vec<u8> {
    let mut v = (body.len() as u16).to_be_bytes().to_vec();
    v.extend_from_slice(body);
    v
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut v = kind.to_be_bytes().to_vec();
    v.extend(vec16(body));
    v
}

fn record(handshake: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![handshake, 0];
    message.extend(vec16(body));
    let mut v = vec![22, 3, 1];
    v.extend(vec16(&message));
    v
}

/// The ClientHello of connection `number`, asking for `host<number>.bench.invalid`.
pub(super) fn client(number: u32) -> Vec<u8> {
    let name = format!("host{number}.bench.invalid");
    let mut sni = vec![0];
    sni.extend(vec16(name.as_bytes()));
    let mut extensions = extension(0, &vec16(&sni));
    extensions.extend(extension(10, &vec16(&[0, 29, 0, 23])));
    extensions.extend(extension(13, &vec16(&[4, 3, 8, 4, 4, 1])));
    extensions
        .extend(extension(16, &vec16(&[2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1'])));
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    let mut share = vec![0, 29];
    share.extend(vec16(&[0x5A; 32]));
    extensions.extend(extension(51, &vec16(&share)));
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0xC1; 32]);
    body.push(32);
    body.extend_from_slice(&[0x5E; 32]);
    body.extend(vec16(&[0x13, 1, 0x13, 2, 0x13, 3, 0xC0, 0x2B, 0xC0, 0x2F]));
    body.extend_from_slice(&[1, 0]);
    body.extend(vec16(&extensions));
    record(1, &body)
}

/// ServerHello, change-cipher-spec and an encrypted record.
pub(super) fn server_flight() -> Vec<u8> {
    let mut extensions = extension(43, &[3, 4]);
    let mut share = vec![0, 29];
    share.extend(vec16(&[0xA5; 32]));
    extensions.extend(extension(51, &share));
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0x5C; 32]);
    body.push(32);
    body.extend_from_slice(&[0x5E; 32]);
    body.extend_from_slice(&[0x13, 1, 0]);
    body.extend(vec16(&extensions));
    let mut flight = record(2, &body);
    flight.extend_from_slice(&[20, 3, 3, 0, 1, 1, 23, 3, 3, 4, 0]);
    flight.extend((0..1024u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8));
    flight
}
