//! DNS messages (RFC 1035 section 4), also those of mDNS (RFC 6762) and LLMNR (RFC 4795).
//!
//! In: one message. Out: its header, questions and resource records, handed to a visitor one by one; nothing is allocated. Strict: a
//! name may only point backward, is at most 255 octets, and record data of known types must fill its length exactly.

use crate::{Reader, Short};
use std::net::IpAddr;

/// Record types that this project reads (IANA DNS Parameters).
pub mod rrtype {
    #![allow(missing_docs)] // the names are the documentation
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const NULL: u16 = 10;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const KEY: u16 = 25;
    pub const AAAA: u16 = 28;
    pub const NB: u16 = 32;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
}

/// Operation codes that are in use: QUERY, NOTIFY (RFC 1996), UPDATE (RFC 2136).
const QUERY: u16 = 0;
const OPCODES: [u16; 3] = [QUERY, 4, 5];
/// Highest response code that fits the header and is assigned: DSOTYPENI (RFC 8490).
const RCODE_MAX: u16 = 11;
/// Internet, CHAOS, Hesiod, NONE, ANY.
const CLASSES: [u16; 5] = [1, 3, 4, 254, 255];
/// In mDNS the class's top bit asks for a unicast answer or flushes a cache (RFC 6762 sections 5.4 and 10.2).
const MDNS_CLASS_FLAG: u16 = 0x8000;
/// Questions of one mDNS message: real ones have below 30.
const MDNS_QUESTIONS_MAX: u16 = 64;
/// Bytes before the first question.
pub const HEADER_LEN: usize = 12;
/// The least that a question and a record take: an empty name, then fixed fields.
const QUESTION_MIN: usize = 5;
const RECORD_MIN: usize = 11;
/// Octets of all labels with their lengths, the root's aside (RFC 1035 section 2.3.4: 255 with it).
const NAME_MAX: usize = 254;

/// Why a message cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends before it says it does.
    Short,
    /// It is no DNS message.
    Malformed,
}

impl From<Short> for Fault {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

/// The first twelve bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Identifier; 0 in mDNS.
    pub id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    /// Reads the header of a message of `len` bytes.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for values that no implementation sends, counts that cannot fit among them.
    pub fn parse(r: &mut Reader<'_>, len: usize) -> Result<Self, Fault> {
        let header = Self {
            id: r.u16()?,
            flags: r.u16()?,
            questions: r.u16()?,
            answers: r.u16()?,
            authorities: r.u16()?,
            additionals: r.u16()?,
        };
        if header.is_plausible(len) { Ok(header) } else { Err(Fault::Malformed) }
    }

    /// Whether it is an answer.
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Response code.
    #[must_use]
    pub const fn rcode(self) -> u16 {
        self.flags & 0x000F
    }

    /// Whether the message may be one of mDNS, which has no identifiers.
    const fn may_be_mdns(self) -> bool {
        self.id == 0
    }

    fn is_plausible(self, len: usize) -> bool {
        let opcode = (self.flags >> 11) & 15;
        let reserved = self.flags & 0x0040 != 0;
        let authoritative = self.flags & 0x0400 != 0 && opcode == QUERY; // RFC 1996 sets it in requests
        let questions_max = if self.may_be_mdns() { MDNS_QUESTIONS_MAX } else { 1 };
        let records = [self.answers, self.authorities, self.additionals];
        let records: usize = records.into_iter().map(usize::from).fold(0, usize::saturating_add);
        let least = usize::from(self.questions)
            .saturating_mul(QUESTION_MIN)
            .saturating_add(records.saturating_mul(RECORD_MIN))
            .saturating_add(HEADER_LEN);
        OPCODES.contains(&opcode)
            && !reserved
            && self.questions <= questions_max
            && (self.questions > 0 || (self.may_be_mdns() && self.is_response() && self.answers > 0))
            && least <= len
            && if self.is_response() {
                self.rcode() <= RCODE_MAX
            } else {
                self.rcode() == 0 && !authoritative
            }
    }

    fn class_is_plausible(self, class: u16) -> bool {
        let class = if self.may_be_mdns() { class & !MDNS_CLASS_FLAG } else { class };
        CLASSES.contains(&class)
    }
}

/// A domain name where it stands in its message, checked once, compared and printed in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    message: &'a [u8],
    /// Where its first label, or a pointer to it, is.
    at: usize,
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.labels(), other.labels());
        loop {
            match (a.next(), b.next()) {
                (Some(x), Some(y)) if x.eq_ignore_ascii_case(y) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl<'a> Name<'a> {
    /// Reads a name at `r`, which stands in `message`.
    fn parse(message: &'a [u8], r: &mut Reader<'a>) -> Result<Self, Fault> {
        let name = Self { message, at: r.taken() };
        let mut at = *r;
        let mut behind = None;
        // Every jump lands before the last landing, so there is an end.
        let mut before = r.taken();
        let mut octets = 0_usize;
        loop {
            match Part::read(&mut at)? {
                Part::Root => break,
                Part::Label(label) => {
                    octets = octets.saturating_add(label.len()).saturating_add(1);
                    if octets > NAME_MAX {
                        return Err(Fault::Malformed);
                    }
                }
                Part::Pointer(target) => {
                    if target >= before || target < HEADER_LEN {
                        return Err(Fault::Malformed);
                    }
                    behind.get_or_insert(at);
                    before = target;
                    at = Reader::new(message.get(target..).ok_or(Fault::Malformed)?);
                }
            }
        }
        *r = behind.unwrap_or(at);
        Ok(name)
    }

    /// Its labels, the leaf first; ends where the name does, or where it would have been malformed.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> {
        let message = self.message;
        let mut at = Reader::new(message.get(self.at..).unwrap_or_default());
        std::iter::from_fn(move || {
            loop {
                match Part::read(&mut at).ok()? {
                    Part::Root => return None,
                    Part::Label(label) => return Some(label),
                    Part::Pointer(target) => at = Reader::new(message.get(target..)?),
                }
            }
        })
    }

    /// Whether it is a NetBIOS name in DNS's clothes: 16 bytes as 32 letters from A to P (RFC 1001 section 14.1).
    fn is_netbios(&self) -> bool {
        self.labels().next().is_some_and(|l| l.len() == 32 && l.iter().all(|b| matches!(b, b'A'..=b'P')))
    }

    /// The name as text in lower case without a last dot; octets that are no visible ASCII, and `.` and `\` inside a label, as
    /// `\DDD`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for label in self.labels() {
            if !text.is_empty() {
                text.push('.');
            }
            for b in label {
                push_escaped(&mut text, b.to_ascii_lowercase(), b.is_ascii_graphic() && *b != b'.');
            }
        }
        text
    }
}

/// What a name goes on with (RFC 1035 section 4.1.4).
enum Part<'a> {
    Root,
    Label(&'a [u8]),
    Pointer(usize),
}

impl<'a> Part<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Fault> {
        let first = r.u8()?;
        match first >> 6 {
            0 if first == 0 => Ok(Self::Root),
            0 => Ok(Self::Label(r.take(usize::from(first))?)),
            3 => Ok(Self::Pointer(usize::from(u16::from_be_bytes([first & 0x3F, r.u8()?])))),
            _ => Err(Fault::Malformed),
        }
    }
}

/// Part of a message that a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answers.
    Answer,
    /// Authorities.
    Authority,
    /// Additionals.
    Additional,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data<'a> {
    /// A, AAAA.
    Address(IpAddr),
    /// CNAME, DNAME, NS, PTR, MX, SRV, SVCB, HTTPS: the name that they point to.
    Name(Name<'a>),
    /// TXT: its character strings, each behind its length.
    Text(&'a [u8]),
    /// Another type's data as it is, possibly none.
    Opaque(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Reads `length` bytes of data at `r`, which stands in `message`.
    fn parse(message: &'a [u8], r: &mut Reader<'a>, rrtype: u16, length: u16) -> Result<Self, Fault> {
        let start = *r;
        let raw = r.take(usize::from(length))?;
        if raw.is_empty() {
            return Ok(Self::Opaque(raw)); // deletions of RFC 2136
        }
        let prefix = match rrtype {
            rrtype::A => return fixed::<4>(raw),
            rrtype::AAAA => return fixed::<16>(raw),
            rrtype::TXT => {
                let mut strings = Reader::new(raw);
                while !strings.is_empty() {
                    strings.vec8().map_err(|_| Fault::Malformed)?;
                }
                return Ok(Self::Text(raw));
            }
            rrtype::CNAME | rrtype::DNAME | rrtype::NS | rrtype::PTR => 0,
            rrtype::MX | rrtype::SVCB | rrtype::HTTPS => 2,
            rrtype::SRV => 6,
            _ => return Ok(Self::Opaque(raw)),
        };
        let mut at = start;
        at.skip(prefix)?;
        let name = Name::parse(message, &mut at)?;
        let parameters = matches!(rrtype, rrtype::SVCB | rrtype::HTTPS);
        let whole = if parameters { at.taken() <= r.taken() } else { at.taken() == r.taken() };
        if whole { Ok(Self::Name(name)) } else { Err(Fault::Malformed) }
    }
}

fn fixed<'a, const N: usize>(raw: &[u8]) -> Result<Data<'a>, Fault>
where
    IpAddr: From<[u8; N]>,
{
    let octets: [u8; N] = raw.try_into().map_err(|_| Fault::Malformed)?;
    Ok(Data::Address(octets.into()))
}

/// A question or a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// A question.
    Question {
        /// What is asked for.
        name: Name<'a>,
        /// Type number.
        rrtype: u16,
    },
    /// A resource record, EDNS's OPT (RFC 6891) aside.
    Record {
        /// Where it stands.
        section: Section,
        /// Owner.
        name: Name<'a>,
        /// Type number.
        rrtype: u16,
        /// Seconds it may be kept.
        ttl: u32,
        /// What it says.
        data: Data<'a>,
    },
}

/// Reads a message of `len` bytes, of which `message` is all or, cut by a snap length, the beginning.
///
/// # Errors
/// [`Fault::Short`] where `message` ends early; [`Fault::Malformed`] for what is no DNS, with bytes left over, or of NetBIOS. What
/// came before was visited all the same.
pub fn read<'a>(message: &'a [u8], len: usize, mut visit: impl FnMut(Item<'a>)) -> Result<Header, Fault> {
    let mut r = Reader::new(message);
    let header = Header::parse(&mut r, len)?;
    for _ in 0..header.questions {
        let name = Name::parse(message, &mut r)?;
        let (rrtype, class) = (r.u16()?, r.u16()?);
        let netbios = matches!(rrtype, rrtype::NB | rrtype::SRV) && name.is_netbios();
        if rrtype == 0 || !header.class_is_plausible(class) || netbios {
            return Err(Fault::Malformed);
        }
        visit(Item::Question { name, rrtype });
    }
    let sections = [
        (Section::Answer, header.answers),
        (Section::Authority, header.authorities),
        (Section::Additional, header.additionals),
    ];
    for (section, count) in sections {
        for _ in 0..count {
            let name = Name::parse(message, &mut r)?;
            let (rrtype, class, ttl, length) = (r.u16()?, r.u16()?, r.u32()?, r.u16()?);
            let data = Data::parse(message, &mut r, rrtype, length)?;
            if rrtype == rrtype::OPT {
                continue; // its class and TTL mean other things
            }
            if rrtype == 0 || !header.class_is_plausible(class) {
                if section == Section::Additional {
                    continue; // dnscrypt-proxy pads with a record of type 0
                }
                return Err(Fault::Malformed);
            }
            visit(Item::Record { section, name, rrtype, ttl, data });
        }
    }
    if r.taken() == len { Ok(header) } else { Err(Fault::Malformed) }
}

/// The character strings of a TXT record as one text of at most `max` bytes; what is no printable ASCII, and `\`, as `\DDD`.
#[must_use]
pub fn txt(strings: &[u8], max: usize) -> String {
    let mut text = String::new();
    let mut r = Reader::new(strings);
    while let Ok(string) = r.vec8() {
        for b in string {
            if text.len() >= max.saturating_sub(4) {
                return text;
            }
            push_escaped(&mut text, *b, b.is_ascii_graphic() || *b == b' ');
        }
    }
    text
}

fn push_escaped(text: &mut String, byte: u8, plain: bool) {
    if plain && byte != b'\\' {
        text.push(char::from(byte));
    } else {
        text.push('\\');
        for digit in [byte / 100, byte / 10 % 10, byte % 10] {
            text.push(char::from(b'0'.saturating_add(digit)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(message: &[u8]) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        read(message, message.len(), |item| match item {
            Item::Question { name, .. } | Item::Record { name, .. } => names.push(name.text()),
        })?;
        Ok(names)
    }

    const WWW_QUERY: [u8; 29] = *b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03wWw\x07exAmple\0\0\x01\0\x01";

    #[test]
    fn a_question_is_lower_case_without_a_last_dot() {
        assert_eq!(names(&WWW_QUERY), Ok(vec!["www.example".into()]));
    }

    #[test]
    fn every_cut_is_short_and_a_byte_too_many_is_malformed() {
        for n in HEADER_LEN..WWW_QUERY.len() {
            assert_eq!(read(&WWW_QUERY[..n], WWW_QUERY.len(), |_| ()), Err(Fault::Short), "{n} bytes");
        }
        let longer = [&WWW_QUERY[..], &[0]].concat();
        assert_eq!(names(&longer), Err(Fault::Malformed));
    }

    #[test]
    fn a_pointer_backward_is_followed_and_one_forward_or_to_itself_is_not() {
        let mut message = *b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x01b\0\0\x01\0\x01\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01";
        assert_eq!(names(&message), Ok(vec!["a.b".into(), "a.b".into()]));
        for target in [0, 11, 21, 22, 255] {
            message[22] = target;
            assert_eq!(names(&message), Err(Fault::Malformed), "pointer to {target}");
        }
    }

    #[test]
    fn a_chain_of_pointers_as_long_as_can_be_ends() {
        // Names of one pointer each, every one to the one before it.
        let mut message = b"\0\0\x84\0\0\0\x13\x88\0\0\0\0".to_vec();
        message.extend_from_slice(b"\x01a\0\0\x10\0\x01\0\0\0\0\0\0");
        let mut target = 12_u16;
        for _ in 1..1000 {
            let here = u16::try_from(message.len()).unwrap();
            message.extend_from_slice(&(0xC000 | target).to_be_bytes());
            message.extend_from_slice(b"\0\x10\0\x01\0\0\0\0\0\0");
            target = here;
        }
        message[6..8].copy_from_slice(&1000_u16.to_be_bytes());
        assert_eq!(names(&message).map(|n| n.len()), Ok(1000));
    }

    #[test]
    fn a_name_of_more_than_255_octets_is_malformed() {
        let mut message = WWW_QUERY[..12].to_vec();
        for _ in 0..4 {
            message.push(63);
            message.extend_from_slice(&[b'x'; 63]);
        }
        message.extend_from_slice(b"\0\0\x01\0\x01");
        assert_eq!(names(&message), Err(Fault::Malformed));
    }

    #[test]
    fn octets_that_are_not_visible_are_escaped() {
        let message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06a.\\\0 \xFF\0\0\x0A\0\x01";
        assert_eq!(names(message), Ok(vec![r"a\046\092\000\032\255".into()]));
        assert_eq!(txt(b"\x03a \\\x01\0", 255), r"a \092\000");
        assert_eq!(txt(&[255; 256], 20).len(), 16);
    }

    #[test]
    fn headers_of_other_protocols_are_refused() {
        for (at, value, why) in [
            (2, 0x41, "opcode 8"),
            (3, 0x40, "reserved bit"),
            (3, 0x05, "response code in a query"),
            (2, 0x05, "authoritative query"),
            (5, 2, "two questions"),
            (5, 0, "no question"),
            (6, 1, "256 answers in 29 bytes"),
            (26, 0, "type 0, name and all"),
            (28, 9, "class 9"),
        ] {
            let mut message = WWW_QUERY;
            message[at] = value;
            if why.starts_with("type") {
                message[25] = 0;
                message[26] = 0;
            }
            assert_eq!(names(&message), Err(Fault::Malformed), "{why}");
        }
    }

    #[test]
    fn what_real_programs_do_against_the_letter_is_read() {
        // A NOTIFY request is authoritative; a query padded by a record of type 0.
        let mut notify = WWW_QUERY;
        notify[2] = 0x24;
        assert!(names(&notify).is_ok());
        let mut padded = WWW_QUERY.to_vec();
        padded[11] = 1;
        padded.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 12, 0, 0]);
        assert!(names(&padded).is_ok());
    }

    #[test]
    fn netbios_names_are_not_dns() {
        let mut message = b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\x20".to_vec();
        message.extend_from_slice(b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\x01");
        assert_eq!(names(&message), Err(Fault::Malformed));
    }

    #[test]
    fn record_data_must_fill_its_length() {
        // An A record of five bytes, a CNAME with a byte behind its name.
        let a = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x05\xC0\0\x02\x01\0";
        assert_eq!(names(a), Err(Fault::Malformed));
        let cname = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xC0\x0C\0\x05\0\x01\0\0\0\x3C\0\x03\xC0\x0C\0";
        assert_eq!(names(cname), Err(Fault::Malformed));
    }
}
