//! Sizes of SSH's encrypted packets: what a message of known length takes on the wire.
//!
//! In: the algorithms that both sides offered in clear. Out: bytes on the wire for a payload (RFC 4253 section 6: length, padding
//! length, payload and at least four bytes of padding up to whole blocks, then the MAC).

/// How one direction packs its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    /// Padding fills up to multiples of this many bytes.
    block: usize,
    /// Bytes of MAC or tag behind each packet.
    mac: usize,
    /// The length field is not part of what is padded (AEAD ciphers, encrypt-then-MAC).
    length_apart: bool,
}

/// Bytes of the length field and of the padding length.
const LENGTH: usize = 4;
const PADDING_LENGTH: usize = 1;
/// Least padding (RFC 4253 section 6).
const PADDING_MIN: usize = 4;

/// MACs by name without `-etm@openssh.com`, and their bytes (RFC 4253 section 6.4, RFC 6668, OpenSSH PROTOCOL).
const MACS: [(&str, usize); 11] = [
    ("hmac-sha2-256", 32),
    ("hmac-sha2-512", 64),
    ("hmac-sha1", 20),
    ("hmac-sha1-96", 12),
    ("hmac-md5", 16),
    ("hmac-md5-96", 12),
    ("hmac-ripemd160", 20),
    ("hmac-ripemd160@openssh.com", 20),
    ("umac-64", 8),
    ("umac-64@openssh.com", 8),
    ("umac-128@openssh.com", 16),
];
const ENCRYPT_THEN_MAC: &str = "-etm@openssh.com";

impl Packing {
    /// Of a direction, from the name-lists of the client and the server: the first of the client's that the server has too counts
    /// (RFC 4253 section 7.1). `None` where they agree on nothing that is known here.
    pub(super) fn agreed(client: &Lists<'_>, server: &Lists<'_>) -> Option<Self> {
        if first_common(client.compression, server.compression)? != "none" {
            return None; // sizes tell nothing then
        }
        let cipher = first_common(client.encryption, server.encryption)?;
        let aead = |block| Some(Self { block, mac: 16, length_apart: true });
        match cipher {
            "chacha20-poly1305@openssh.com" => return aead(8),
            "aes128-gcm@openssh.com" | "aes256-gcm@openssh.com" | "AEAD_AES_128_GCM" | "AEAD_AES_256_GCM" => {
                return aead(16);
            }
            _ => {}
        }
        let block = match cipher.split_once('-')?.0 {
            "aes128" | "aes192" | "aes256" | "rijndael" => 16,
            "3des" | "blowfish" | "cast128" => 8,
            _ => return None,
        };
        let mac = first_common(client.mac, server.mac)?;
        let (name, length_apart) = match mac.strip_suffix(ENCRYPT_THEN_MAC) {
            Some("umac-128") => ("umac-128@openssh.com", true),
            Some(name) => (name, true),
            None => (mac, false),
        };
        let (_, mac) = MACS.iter().find(|(known, _)| *known == name)?;
        Some(Self { block, mac: *mac, length_apart })
    }

    /// Bytes on the wire of a message of `payload` bytes.
    pub(super) fn size(self, payload: usize) -> usize {
        let apart = if self.length_apart { LENGTH } else { 0 };
        let padded = payload
            .saturating_add(LENGTH.saturating_sub(apart))
            .saturating_add(PADDING_LENGTH.saturating_add(PADDING_MIN))
            .checked_next_multiple_of(self.block)
            .unwrap_or(usize::MAX);
        padded.saturating_add(apart).saturating_add(self.mac)
    }

    /// Whether one packet may have `size` bytes.
    pub(super) fn is_packet(self, size: usize) -> bool {
        size.checked_sub(self.size(0)).is_some_and(|more| more.is_multiple_of(self.block))
    }

    /// Whether the size of one packet is never that of two together.
    pub(super) fn tells_packets_apart(self) -> bool {
        let beside_blocks = self.size(0).checked_rem(self.block);
        beside_blocks != Some(0)
    }
}

/// Name-lists of one side for one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    pub(super) encryption: &'a str,
    pub(super) mac: &'a str,
    pub(super) compression: &'a str,
}

impl<'a> Lists<'a> {
    /// Out of a HASSH string, which is key exchange, encryption, MAC and compression methods of the direction in question.
    pub(super) fn of_hassh(string: &'a str) -> Option<Self> {
        let mut lists = string.split(';').skip(1);
        Some(Self { encryption: lists.next()?, mac: lists.next()?, compression: lists.next()? })
    }
}

fn first_common<'a>(client: &'a str, server: &str) -> Option<&'a str> {
    client.split(',').find(|name| server.split(',').any(|other| other == *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(encryption: &str, mac: &str) -> Option<Packing> {
        let lists = Lists { encryption, mac, compression: "none,zlib@openssh.com" };
        Packing::agreed(&lists, &lists)
    }

    #[test]
    fn sizes_of_messages_are_those_that_openssh_sends() {
        // Service request (17 bytes), success (1), opening of a session (24) and its confirmation (17), as OpenSSH 9.2 sent them.
        let sizes = |p: Option<Packing>| [17, 1, 24, 34].map(|n| p.unwrap().size(n));
        assert_eq!(sizes(packing("chacha20-poly1305@openssh.com", "x")), [44, 28, 52, 60]);
        assert_eq!(sizes(packing("aes128-ctr", "hmac-md5")), [48, 32, 64, 64]);
        assert_eq!(sizes(packing("aes128-ctr", "umac-64-etm@openssh.com")), [44, 28, 44, 60]);
        assert_eq!(sizes(packing("aes256-gcm@openssh.com", "x")), [52, 36, 52, 68]);
    }

    #[test]
    fn the_first_of_the_clients_names_that_the_server_has_counts() {
        let client =
            Lists { encryption: "x,aes128-ctr,3des-cbc", mac: "hmac-sha1,hmac-md5", compression: "none" };
        let server =
            Lists { encryption: "3des-cbc,aes128-ctr", mac: "hmac-md5,hmac-sha1", compression: "none" };
        assert_eq!(Packing::agreed(&client, &server), packing("aes128-ctr", "hmac-sha1"));
        assert_eq!(
            Packing::agreed(
                &Lists { compression: "zlib,none", ..client },
                &Lists { compression: "zlib", ..server }
            ),
            None
        );
        assert_eq!(packing("none", "hmac-md5"), None);
        assert_eq!(packing("aes128-ctr", "unheard-of"), None);
    }

    #[test]
    fn a_hassh_string_holds_the_lists_of_its_direction() {
        let lists = Lists::of_hassh("kex;aes128-ctr,aes256-ctr;hmac-sha1;none").unwrap();
        assert_eq!(
            (lists.encryption, lists.mac, lists.compression),
            ("aes128-ctr,aes256-ctr", "hmac-sha1", "none")
        );
        assert!(Lists::of_hassh("kex;aes128-ctr").is_none());
    }
}
