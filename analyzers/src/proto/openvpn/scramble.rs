//! OpenVPN's XOR patch ("scramble"), which several services and distributions carry.
//!
//! In: the first message of each side. Out: whether they are a client's reset and its answer under one unknown key.
//!
//! The patch XORs each packet with a repeated key, optionally after turning round all but the first byte and mixing in positions
//! (`xormask`, `reverse`, `xorptrpos`, `obfuscate`). Sizes stay, and so do the places at which client and server both have known
//! bytes: there the key cancels out between the two.

use super::wire::{ANSWER_EXTRA, CLIENT_RESET_LEN, CRYPT_RESET_LEN, HMACS, STAMP};

/// First bytes differ as the opcodes do: 7 or 10 from the client, 8 from the server, key id 0.
const OPCODES: [u8; 2] = [(7 << 3) ^ (8 << 3), (10 << 3) ^ (8 << 3)];
/// Where the acknowledgement array begins in the clear, behind opcode and session id.
const ACKS_AT: usize = 9;

/// Whether `len` is the size of a client's reset in any wrapping.
pub(super) fn may_be_reset(len: usize) -> bool {
    len == CLIENT_RESET_LEN || len == CRYPT_RESET_LEN || HMACS.iter().any(|hmac| len == auth_len(*hmac))
}

const fn auth_len(hmac: usize) -> usize {
    CLIENT_RESET_LEN.saturating_add(hmac).saturating_add(STAMP)
}

/// The patch's mode, if `client` and `server` are a scrambled reset and its answer.
pub(super) fn mode(client: &[u8], server: &[u8]) -> Option<&'static str> {
    let sizes = may_be_reset(client.len()) && server.len() == client.len().saturating_add(ANSWER_EXTRA);
    let differs = |i: usize| Some(client.get(i)? ^ server.get(i)?);
    if !sizes || !OPCODES.contains(&differs(0)?) {
        return None;
    }
    let all = |from: usize, n: usize, want: &dyn Fn(usize) -> u8| {
        (from..from.saturating_add(n)).all(|i| differs(i) == Some(want(i)))
    };
    // In order: the array is empty at the client and has one entry at the server; both go on with a packet id of zero.
    let in_order = |acks_at: usize| differs(acks_at) == Some(1) && all(acks_at.saturating_add(1), 4, &|_| 0);
    // tls-auth has the stamp before it: packet id 1 on both sides, and clocks that agree to a day (the upper 15 bits).
    let stamped = |at: usize| all(at, 4, &|_| 0) && differs(at.saturating_add(4)) == Some(0);
    let auth = HMACS.iter().find(|hmac| client.len() == auth_len(**hmac)).map(|h| ACKS_AT.saturating_add(*h));
    if client.len() == CLIENT_RESET_LEN && in_order(ACKS_AT) {
        return Some("xormask");
    }
    if auth.is_some_and(|at| stamped(at) && in_order(at.saturating_add(STAMP))) {
        return Some("xormask");
    }
    if client.len() == CRYPT_RESET_LEN && stamped(ACKS_AT) {
        return Some("xormask");
    }
    // Turned round, the packet id of zero comes first on both sides; tls-crypt has ciphertext there.
    if all(1, 4, &|_| 0) {
        return Some("reverse");
    }
    // `obfuscate` mixes in each byte's position before and after turning round; the two lengths differ.
    let from_end = |len: usize, i: usize| u8::try_from(len.saturating_sub(i).saturating_add(1)).unwrap_or(0);
    if all(1, 4, &|i| from_end(client.len(), i) ^ from_end(server.len(), i)) {
        return Some("obfuscate");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tls-auth reset (HMAC of 20 bytes) and its answer; the HMACs are placeholders.
    fn pair() -> [Vec<u8>; 2] {
        let client = [b"\x38CCCCCCCC".as_slice(), &[0x11; 20], b"\0\0\0\x01\x66\x55\x44\x33", b"\0\0\0\0\0"];
        let server = [
            b"\x40SSSSSSSS".as_slice(),
            &[0x22; 20],
            b"\0\0\0\x01\x66\x55\x44\x35",
            b"\x01\0\0\0\0CCCCCCCC\0\0\0\0",
        ];
        [client.concat(), server.concat()]
    }

    fn mask(packet: &[u8], key: &[u8]) -> Vec<u8> {
        packet.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect()
    }

    fn positions(packet: &[u8]) -> Vec<u8> {
        packet.iter().enumerate().map(|(i, b)| b ^ (i + 1) as u8).collect()
    }

    fn reverse(packet: &[u8]) -> Vec<u8> {
        packet[..1].iter().chain(packet[1..].iter().rev()).copied().collect()
    }

    #[test]
    fn each_mode_is_recognised_under_a_key_that_is_not_known() {
        let obfuscate = |p: &[u8]| mask(&positions(&reverse(&positions(p))), b"tiger");
        let [client, server] = pair();
        assert_eq!(mode(&mask(&client, b"secret"), &mask(&server, b"secret")), Some("xormask"));
        assert_eq!(mode(&reverse(&client), &reverse(&server)), Some("reverse"));
        assert_eq!(mode(&obfuscate(&client), &obfuscate(&server)), Some("obfuscate"));
    }

    #[test]
    fn other_sizes_or_one_wrong_byte_are_not_openvpn() {
        let [client, server] = pair();
        assert_eq!(mode(&client, &server[..53]), None);
        let mut wrong = server.clone();
        wrong[29] ^= 0x80;
        assert_eq!(mode(&client, &wrong), None);
        assert_eq!(mode(&server, &client), None);
    }
}
