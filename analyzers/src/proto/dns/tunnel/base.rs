//! How much the names of one base domain say: bytes of names not asked for before, and of what is answered.

use super::{Found, ONE_WAY, Question, TWO_WAYS};
use crate::dns_message::{Data, Name, rrtype};

/// Domains watched in one flow; the one with the fewest bytes makes way.
const BASES_MAX: usize = 4;
/// Names remembered of a domain, to know which are new: both rules need fewer.
const NAMES_MAX: usize = 64;
/// Two-way rule: bytes, names with a long label, what a long label is, bytes of answers a domain.
const BYTES_MIN: u64 = 500;
const LONG_NAMES_MIN: u32 = 8;
const LONG_LABEL: usize = 40;
const ANSWERS_MIN: u64 = 500;
const RATE_MIN: u64 = 10;
/// One-way rule.
const UPLOAD_MIN: u64 = 4_000;
const UPLOAD_MEAN_MIN: u64 = 100;
const UPLOAD_RATE_MIN: u64 = 50;
const SECOND_NS: u64 = 1_000_000_000;

/// One domain.
#[derive(Debug, Default)]
struct Base {
    hash: u64,
    names: Vec<u64>,
    /// Names not asked for before, their bytes, and how many have a long label.
    fresh: u32,
    bytes: u64,
    long: u32,
    /// Bytes of answers that are no addresses, to names with a long label.
    answers: u64,
    /// Names answered with anything.
    heard: bool,
    /// A block list: answers in 127.0.0.0/8.
    listed: bool,
    first_ns: i64,
    last_ns: i64,
}

impl Base {
    fn rate(&self) -> u64 {
        let span = u64::try_from(self.last_ns.saturating_sub(self.first_ns)).unwrap_or(0).max(SECOND_NS);
        self.bytes.saturating_mul(SECOND_NS).checked_div(span).unwrap_or(0)
    }

    fn judge(&self) -> Option<Found> {
        if self.listed || !self.heard {
            return None;
        }
        let (bytes, rate, names) = (self.bytes, self.rate(), u64::from(self.fresh.max(1)));
        let both = self.long >= LONG_NAMES_MIN && self.answers >= ANSWERS_MIN;
        if bytes >= BYTES_MIN && rate >= RATE_MIN && both {
            let detail = format!("{bytes} B of names, {} B of answers, {rate} B/s", self.answers);
            return Some(Found::rate(&TWO_WAYS, detail));
        }
        let mean = bytes.checked_div(names).unwrap_or(0);
        if bytes >= UPLOAD_MIN && mean >= UPLOAD_MEAN_MIN && rate >= UPLOAD_RATE_MIN {
            return Some(Found::rate(&ONE_WAY, format!("{bytes} B of names, {mean} B each, {rate} B/s")));
        }
        None
    }
}

/// The domains of one flow.
#[derive(Debug, Default)]
pub(super) struct Bases {
    bases: Vec<Base>,
}

impl Bases {
    pub(super) fn asked(&mut self, q: Question<'_>, ts_ns: i64) -> Option<Found> {
        self.note(q, ts_ns)?.judge()
    }

    pub(super) fn answered(
        &mut self,
        q: Question<'_>,
        data: &[(u16, Data<'_>)],
        ts_ns: i64,
    ) -> Option<Found> {
        let long = longest(q.name) >= LONG_LABEL;
        let base = self.note(q, ts_ns)?;
        for (_, data) in data {
            match data {
                Data::Address(std::net::IpAddr::V4(addr)) if addr.is_loopback() => base.listed = true,
                Data::Address(_) => {}
                Data::Name(target) if long => {
                    let octets: usize = target.labels().map(<[u8]>::len).sum();
                    base.answers = base.answers.saturating_add(u64::try_from(octets).unwrap_or(0));
                }
                Data::Text(raw) | Data::Opaque(raw) if long => {
                    base.answers = base.answers.saturating_add(u64::try_from(raw.len()).unwrap_or(0));
                }
                Data::Name(_) | Data::Text(_) | Data::Opaque(_) => {}
            }
        }
        base.heard = true;
        base.judge()
    }

    /// Counts a question's name if it is new; its domain. Reverse names and those of the local link have none.
    fn note(&mut self, q: Question<'_>, ts_ns: i64) -> Option<&mut Base> {
        let (all, below) = (q.name.labels().count(), payload_labels(q.name)?);
        if q.rrtype == rrtype::PTR || below == 0 {
            return None;
        }
        let hash_of_base = hash(q.name.labels().skip(below));
        let bytes: usize = q.name.labels().take(below).map(<[u8]>::len).sum();
        debug_assert!(below <= all, "labels of a name above its own");
        let known = self.bases.iter().position(|b| b.hash == hash_of_base);
        let at = match known {
            Some(at) => at,
            None if self.bases.len() < BASES_MAX => {
                self.bases.push(Base::default());
                self.bases.len().saturating_sub(1)
            }
            None => self.bases.iter().enumerate().min_by_key(|(_, b)| b.bytes)?.0,
        };
        let base = self.bases.get_mut(at)?;
        if known.is_none() {
            *base = Base { hash: hash_of_base, first_ns: ts_ns, ..Base::default() };
        }
        let name = hash(q.name.labels());
        if !base.names.contains(&name) {
            if base.names.len() >= NAMES_MAX {
                base.names.remove(0);
            }
            base.names.push(name);
            base.fresh = base.fresh.saturating_add(1);
            base.bytes = base.bytes.saturating_add(u64::try_from(bytes).unwrap_or(0));
            base.long = base.long.saturating_add(u32::from(longest(q.name) >= LONG_LABEL));
            base.last_ns = ts_ns.max(base.last_ns);
        }
        Some(base)
    }
}

fn longest(name: Name<'_>) -> usize {
    name.labels().map(<[u8]>::len).max().unwrap_or(0)
}

/// How many of a name's labels stand before its base domain: the last two labels, or three where the last but one is of the kind
/// under which countries register (`co.uk`, `com.au`). `None` for reverse names and those of the local link.
fn payload_labels(name: Name<'_>) -> Option<usize> {
    let (mut count, mut last, mut before): (usize, &[u8], &[u8]) = (0, b"", b"");
    for label in name.labels() {
        count = count.saturating_add(1);
        (before, last) = (last, label);
    }
    if last.eq_ignore_ascii_case(b"arpa") || last.eq_ignore_ascii_case(b"local") {
        return None;
    }
    let base = if last.len() == 2 && before.len() <= 3 { 3 } else { 2 };
    Some(count.saturating_sub(base))
}

/// FNV-1a of labels, their case left out.
pub(super) fn hash<'a>(labels: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |b: u8| hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3);
    for label in labels {
        label.iter().for_each(|b| add(b.to_ascii_lowercase()));
        add(b'.');
    }
    hash
}
