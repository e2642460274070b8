//! The grammars of programs that tunnel through DNS.

use super::Question;
use crate::dns_message::{Data, Name, rrtype};

/// iodine's version question: `v` and base32 of 0x00000502, two more bits of it in the seventh character. 0.5 has 0x00000500.
const IODINE_VERSION: &[u8] = b"vaaaaka";
/// The accepted version's answer, as it is (NULL, private use) and in base32 behind the codec's letter (TXT: `t`, names: `h`).
const IODINE_ACCEPTED: &[u8] = b"VACK";
const IODINE_ACCEPTED_TEXT: &[u8] = b"tkzaugs";
const IODINE_ACCEPTED_NAME: &[u8] = b"hkzaugs";
/// The beginning of what the server sends so that the client can test the way down (`DOWNCODECCHECK1`, iodine's common.h).
const IODINE_CODEC_DOWN: &[u8] =
    b"\0\0\0\0\xFF\xFF\xFF\xFF\x55\x55\x55\x55\xAA\xAA\xAA\xAA\x81\x63\xC8\xD2\xC7\x7C\xB2\x17";
/// What the client sends to test the way up, behind `z` and three characters (`handshake_upenc_autodetect`, iodine's client.c); in
/// lower case, since resolvers may change it.
const IODINE_CODEC_UP: [&[u8]; 2] =
    [b"aa-aaahhh-drink-mal-ein-j", b"aabbccddeeffgghhiijjkkllmmnnooppqqrrssttuuvvwwxxyyzz"];

/// Whether a label of a name is how a short question of iodine or dns2tcp is known.
pub(super) fn is_opening(label: &[u8]) -> bool {
    begins_with(label, IODINE_VERSION) || DNS2TCP_WORDS.contains(&label)
}

fn begins_with(bytes: &[u8], head: &[u8]) -> bool {
    bytes.get(..head.len()).is_some_and(|b| b.eq_ignore_ascii_case(head))
}

/// The step of iodine's handshake that this question and answer are.
pub(super) fn iodine(q: Question<'_>, data: &[(u16, Data<'_>)]) -> Option<&'static str> {
    let first = q.name.labels().next()?;
    let answer = data.first()?.1;
    if begins_with(first, IODINE_VERSION) {
        let accepted = match answer {
            Data::Opaque(raw) => raw.starts_with(IODINE_ACCEPTED),
            Data::Text([_, text @ ..]) => begins_with(text, IODINE_ACCEPTED_TEXT),
            Data::Name(name) => name.labels().next().is_some_and(|l| begins_with(l, IODINE_ACCEPTED_NAME)),
            _ => false,
        };
        return accepted.then_some("version accepted");
    }
    if begins_with(first, b"y") && matches!(answer, Data::Opaque(raw) if raw.starts_with(IODINE_CODEC_DOWN)) {
        return Some("codec test");
    }
    let upward = first.get(4..).filter(|_| begins_with(first, b"z"));
    upward.is_some_and(|test| IODINE_CODEC_UP.iter().any(|c| begins_with(test, c))).then_some("codec test")
}

/// A conversation that is believed once several of its packets were seen.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: u16,
    /// The packet seen last.
    packet: u16,
    packets: u32,
}

/// Packets that make a session of dnscat2 or of dns2tcp.
pub(super) const DNSCAT2_PACKETS: u32 = 2;
pub(super) const DNS2TCP_PACKETS: u32 = 3;

impl Session {
    /// Takes a packet; whether so many different ones of one session have come in a row.
    pub(super) fn repeats(&mut self, id: u16, packet: u16, enough: u32) -> bool {
        if self.packets > 0 && self.id == id {
            self.packets = self.packets.saturating_add(u32::from(self.packet != packet));
            self.packet = packet;
        } else {
            *self = Self { id, packet, packets: 1 };
        }
        self.packets >= enough
    }
}

/// dnscat2's packets begin with a number, a type and the session (doc/protocol.md).
struct Dnscat2 {
    packet: u16,
    kind: u8,
    session: u16,
}

/// SYN, MSG, FIN, ENC.
const DNSCAT2_TYPES: std::ops::RangeInclusive<u8> = 0..=3;
/// The word before data that goes without a domain.
const DNSCAT2_WORD: &[u8] = b"dnscat";

impl Dnscat2 {
    fn parse<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut head = [0_u8; 5];
        let mut digits = 0_usize;
        for label in labels {
            if digits == 0 && label.eq_ignore_ascii_case(DNSCAT2_WORD) {
                continue;
            }
            // One label holds whole bytes; all of it is hexadecimal.
            if !label.len().is_multiple_of(2) || !label.iter().all(u8::is_ascii_hexdigit) {
                break;
            }
            for digit in label {
                let value = char::from(*digit).to_digit(16).and_then(|v| u8::try_from(v).ok())?;
                if let Some(byte) = head.get_mut(digits.checked_div(2)?) {
                    *byte = (*byte << 4) | value;
                }
                digits = digits.saturating_add(1);
            }
        }
        let [a, b, kind, c, d] = head;
        let known = digits >= 10 && DNSCAT2_TYPES.contains(&kind);
        known.then_some(Self {
            packet: u16::from_be_bytes([a, b]),
            kind,
            session: u16::from_be_bytes([c, d]),
        })
    }
}

/// Session and packet number of a dnscat2 exchange.
pub(super) fn dnscat2(q: Question<'_>, data: &[(u16, Data<'_>)]) -> Option<(u16, u16)> {
    let asked = Dnscat2::parse(q.name.labels())?;
    let told = match data.first()?.1 {
        Data::Name(name) => Dnscat2::parse(name.labels()),
        Data::Text([_, text @ ..]) => Dnscat2::parse([text].into_iter()),
        _ => None,
    }?;
    // A name that is repeated in its answer, as caches' hashes are, has one number for both.
    let exchange = asked.session == told.session && asked.kind == told.kind && asked.packet != told.packet;
    exchange.then_some((asked.session, asked.packet))
}

/// dns2tcp's words for what is asked before data flows.
const DNS2TCP_WORDS: [&[u8]; 3] = [b"=auth", b"=connect", b"=resource"];
/// Its header in base64: session, acknowledged and own packet number of two bytes each, and a byte of flags.
const DNS2TCP_HEADER: usize = 10;

/// Session, acknowledged number and own number.
fn dns2tcp_header(text: &[u8]) -> Option<[u16; 3]> {
    let mut bits = 0_u64;
    for byte in text.get(..8)? {
        bits = (bits << 6) | u64::from(base64_value(*byte)?);
    }
    text.get(8..DNS2TCP_HEADER)?.iter().all(|b| base64_value(*b).is_some()).then_some(())?;
    let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), u16::from_be_bytes([e, f])])
}

fn base64_value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// The header in an answer: behind a letter that numbers the records of one answer, in TXT behind its length.
fn dns2tcp_answer(data: &[(u16, Data<'_>)]) -> Option<[u16; 3]> {
    data.iter().find_map(|(_, data)| match data {
        Data::Text([_, b'A', text @ ..]) => dns2tcp_header(text),
        _ => None,
    })
}

/// The word of a dns2tcp request that was answered.
pub(super) fn dns2tcp_request(q: Question<'_>, data: &[(u16, Data<'_>)]) -> Option<&'static str> {
    let word =
        q.name.labels().skip(1).find_map(|l| DNS2TCP_WORDS.iter().find(|w| l.eq_ignore_ascii_case(w)))?;
    let [_, acknowledged, number] = dns2tcp_header(q.name.labels().next()?)?;
    let [_, same, as_well] = dns2tcp_answer(data)?;
    let repeated = same == acknowledged && as_well == number;
    repeated.then(|| str::from_utf8(word).unwrap_or_default())
}

/// Session and packet number of a dns2tcp exchange of data.
pub(super) fn dns2tcp_data(q: Question<'_>, data: &[(u16, Data<'_>)]) -> Option<(u16, u16)> {
    let [session, _, number] = dns2tcp_header(q.name.labels().next()?)?;
    let [same, _, as_well] = dns2tcp_answer(data)?;
    (matches!(q.rrtype, rrtype::TXT | rrtype::KEY) && session == same && number == as_well && session != 0)
        .then_some((session, number))
}

/// gzip's magic, method and flags (RFC 1952 section 2.3.1) in base64: a stream that stores its file's name.
const GZIP_BASE64: &[u8] = b"H4sI";
/// Bytes of a gzip header before the name.
const GZIP_HEADER: usize = 10;
/// Flag: a file name follows.
const GZIP_NAME: u8 = 8;

/// The file that DNSteal sends: its name ends the question, and stands in the gzip stream that begins it. Labels of data end in `-`.
pub(super) fn dnsteal(name: Name<'_>) -> Option<String> {
    let first = name.labels().next()?;
    if !first.starts_with(GZIP_BASE64) || !first.ends_with(b"-") {
        return None;
    }
    let mut data = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in name
        .labels()
        .take_while(|l| l.ends_with(b"-"))
        .flat_map(|l| l.split_last().map_or(&[][..], |(_, l)| l))
    {
        // The program writes `*` for `+`.
        let Some(value) = base64_value(if *byte == b'*' { b'+' } else { *byte }) else { break };
        (bits, held) = ((bits << 6) | u32::from(value), held.saturating_add(6));
        if let Some(rest) = held.checked_sub(8) {
            data.push(u8::try_from((bits >> rest) & 0xFF).unwrap_or(0));
            held = rest;
        }
    }
    let flagged = data.get(3).is_some_and(|flags| flags & GZIP_NAME != 0);
    let stored = data.get(GZIP_HEADER..)?.split(|b| *b == 0).next()?;
    let asked = name.labels().skip_while(|l| l.ends_with(b"-")).collect::<Vec<_>>().join(&b'.');
    let same = flagged && stored.len() >= 4 && stored == asked.as_slice();
    same.then(|| String::from_utf8_lossy(stored).into_owned())
}
