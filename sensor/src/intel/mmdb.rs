//! Writes the MaxMind DB format, version 2.0: a binary search tree over addresses, the records its leaves point to,
//! and metadata. In: sorted disjoint ranges and the record of each. Out: the bytes of the file.
//!
//! Source: "MaxMind DB File Format Specification", v2.0. Nodes are written in depth-first order, left before right,
//! so that the same ranges always give the same bytes and [`super::pack`] can leave the node numbers out.

use std::collections::HashMap;

use super::net::host_mask;
use super::ranges::Range;

/// Zero bytes between the tree and the data section.
pub(super) const SEPARATOR_LEN: usize = 16;
/// What stands before the metadata map.
pub(super) const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

const TYPE_POINTER: u8 = 1;
const TYPE_STRING: u8 = 2;
const TYPE_UINT16: u8 = 5;
const TYPE_UINT32: u8 = 6;
const TYPE_MAP: u8 = 7;
const TYPE_UINT64: u8 = 9;
const TYPE_ARRAY: u8 = 11;
#[cfg(test)]
const TYPE_BOOLEAN: u8 = 14;
/// Types above this one do not fit the control byte and follow it, less 7.
const LAST_DIRECT_TYPE: u8 = 7;

/// Writes values into a data section; equal strings are written once and pointed to.
#[derive(Default)]
pub(super) struct Data {
    bytes: Vec<u8>,
    strings: HashMap<String, u32>,
}

impl Data {
    /// Bytes written so far: where the next value will begin.
    pub(super) fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// Begins a map; `pairs` keys with their values must follow.
    pub(super) fn map(&mut self, pairs: usize) {
        self.control(TYPE_MAP, pairs);
    }

    /// Begins an array; `items` values must follow.
    pub(super) fn array(&mut self, items: usize) {
        self.control(TYPE_ARRAY, items);
    }

    pub(super) fn uint16(&mut self, value: u16) {
        self.uint(TYPE_UINT16, value.into());
    }

    pub(super) fn uint32(&mut self, value: u32) {
        self.uint(TYPE_UINT32, value.into());
    }

    pub(super) fn uint64(&mut self, value: u64) {
        self.uint(TYPE_UINT64, value);
    }

    #[cfg(test)]
    pub(super) fn boolean(&mut self, value: bool) {
        self.control(TYPE_BOOLEAN, value.into());
    }

    /// Writes `text`, or a pointer if it was written before and the pointer is shorter.
    pub(super) fn string(&mut self, text: &str) {
        if let Some(&offset) = self.strings.get(text)
            && pointer_len(offset) <= text.len()
        {
            return self.pointer(offset);
        }
        self.strings.insert(text.to_owned(), self.offset());
        self.control(TYPE_STRING, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Points to a value written before.
    pub(super) fn pointer(&mut self, offset: u32) {
        const POINTER: u8 = TYPE_POINTER << 5;
        // Each size class starts counting where the one before it ends.
        match pointer_len(offset) {
            2 => self.bytes.extend_from_slice(&[POINTER | high(offset, 8), low(offset)]),
            3 => {
                let rest = offset - 0x800;
                self.bytes.extend_from_slice(&[POINTER | 0x08 | high(rest, 16), low(rest >> 8), low(rest)]);
            }
            4 => {
                let rest = offset - 0x8_0800;
                self.bytes.push(POINTER | 0x10 | high(rest, 24));
                self.bytes.extend_from_slice(&rest.to_be_bytes()[1..]);
            }
            _ => {
                self.bytes.push(POINTER | 0x18);
                self.bytes.extend_from_slice(&offset.to_be_bytes());
            }
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn uint(&mut self, kind: u8, value: u64) {
        let bytes = value.to_be_bytes();
        let digits = &bytes[value.leading_zeros() as usize / 8..];
        self.control(kind, digits.len());
        self.bytes.extend_from_slice(digits);
    }

    fn control(&mut self, kind: u8, size: usize) {
        let extended = kind > LAST_DIRECT_TYPE;
        let kind_bits = if extended { 0 } else { kind << 5 };
        let (size_bits, extra) = match size {
            0..=28 => (size as u8, 0),
            29..=284 => (29, 1),
            285..=65_820 => (30, 2),
            _ => (31, 3),
        };
        self.bytes.push(kind_bits | size_bits);
        if extended {
            self.bytes.push(kind - LAST_DIRECT_TYPE);
        }
        let rest = size - [0, 29, 285, 65_821][extra];
        self.bytes.extend_from_slice(&(rest as u32).to_be_bytes()[4 - extra..]);
    }
}

fn pointer_len(offset: u32) -> usize {
    match offset {
        0..=0x7ff => 2,
        0x800..=0x8_07ff => 3,
        0x8_0800..=0x808_07ff => 4,
        _ => 5,
    }
}

fn high(value: u32, shift: u32) -> u8 {
    (value >> shift) as u8 & 0x07
}

fn low(value: u32) -> u8 {
    value as u8
}

/// One half of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    Empty,
    Node(u32),
    /// Offset of the record in the data section.
    Record(u32),
}

/// What the metadata map says besides the tree's own size.
pub(super) struct Metadata<'a> {
    pub(super) database_type: &'a str,
    /// Seconds after the Unix epoch.
    pub(super) build_epoch: u64,
    /// Language tag and text.
    pub(super) description: &'a [(&'a str, &'a str)],
}

/// The database is larger than 32-bit records can address.
#[derive(Debug)]
pub(super) struct TooLarge;

/// The file of a tree over `ranges` (sorted, disjoint; values are offsets in `data`).
pub(super) fn file(ranges: &[Range<u32>], data: Data, metadata: &Metadata) -> Result<Vec<u8>, TooLarge> {
    let mut nodes = Vec::with_capacity(ranges.len() * 2);
    match subtree(&mut nodes, ranges, 0, 0) {
        Child::Node(_) => {}
        // A tree has a root even if the whole space is one leaf.
        leaf => nodes.push([leaf; 2]),
    }
    let data = data.into_bytes();
    let node_count = u32::try_from(nodes.len()).map_err(|_| TooLarge)?;
    let largest = nodes.len() + SEPARATOR_LEN + data.len();
    let record_size: u16 = match largest {
        0..=0xff_ffff => 24,
        _ if u32::try_from(largest).is_ok() => 32,
        _ => return Err(TooLarge),
    };

    let record_len = usize::from(record_size / 8);
    let mut out = Vec::with_capacity(nodes.len() * record_len * 2 + data.len() + 512);
    for child in nodes.iter().flatten() {
        let record = match *child {
            Child::Empty => node_count,
            Child::Node(index) => index,
            Child::Record(offset) => node_count + SEPARATOR_LEN as u32 + offset,
        };
        out.extend_from_slice(&record.to_be_bytes()[4 - record_len..]);
    }
    out.extend_from_slice(&[0; SEPARATOR_LEN]);
    out.extend_from_slice(&data);
    out.extend_from_slice(METADATA_MARKER);
    out.extend_from_slice(&metadata_map(metadata, node_count, record_size));
    Ok(out)
}

/// Adds the nodes that tell `ranges` apart inside the prefix of `depth` bits that starts at `start`.
fn subtree(nodes: &mut Vec<[Child; 2]>, ranges: &[Range<u32>], start: u128, depth: u8) -> Child {
    let end = start | host_mask(depth);
    match ranges {
        [] => return Child::Empty,
        [only] if only.first <= start && only.last >= end => return Child::Record(only.value),
        _ => {}
    }
    let index = nodes.len();
    nodes.push([Child::Empty; 2]);
    let middle = start | (host_mask(depth) ^ host_mask(depth + 1));
    let left = &ranges[..ranges.partition_point(|r| r.first < middle)];
    let right = &ranges[ranges.partition_point(|r| r.last < middle)..];
    nodes[index][0] = subtree(nodes, left, start, depth + 1);
    nodes[index][1] = subtree(nodes, right, middle, depth + 1);
    Child::Node(index as u32)
}

fn metadata_map(metadata: &Metadata, node_count: u32, record_size: u16) -> Vec<u8> {
    let mut map = Data::default();
    map.map(9);
    map.string("binary_format_major_version");
    map.uint16(2);
    map.string("binary_format_minor_version");
    map.uint16(0);
    map.string("build_epoch");
    map.uint64(metadata.build_epoch);
    map.string("database_type");
    map.string(metadata.database_type);
    map.string("description");
    map.map(metadata.description.len());
    for (language, text) in metadata.description {
        map.string(language);
        map.string(text);
    }
    map.string("ip_version");
    map.uint16(6);
    map.string("languages");
    map.array(1);
    map.string("en");
    map.string("node_count");
    map.uint32(node_count);
    map.string("record_size");
    map.uint16(record_size);
    map.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use maxminddb::Reader;
    use std::net::IpAddr;

    const METADATA: Metadata = Metadata {
        database_type: "test",
        build_epoch: 1_791_200_061,
        description: &[("en", "A test"), ("x-note", "{}")],
    };

    fn ranges_of(nets: &[(&str, u32)]) -> Vec<Range<u32>> {
        let ranges = nets
            .iter()
            .map(|(net, value)| {
                let (first, last) = net.parse::<super::super::Net>().expect(net).span();
                Range { first, last, value: *value }
            })
            .collect();
        super::super::ranges::Ranges::from_unsorted(ranges).as_slice().to_vec()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_written_file_reads_back_record_by_record() {
        let mut data = Data::default();
        let first = data.offset();
        data.map(2);
        data.string("autonomous_system_number");
        data.uint32(24940);
        data.string("autonomous_system_organization");
        data.string("Hetzner Online GmbH");
        let second = data.offset();
        data.map(1);
        data.string("autonomous_system_organization");
        data.string("Hetzner Online GmbH");
        let ranges =
            ranges_of(&[("192.0.2.0/24", first), ("192.0.2.128/25", second), ("2001:db8::/33", second)]);
        let file = file(&ranges, data, &METADATA).expect("small");

        let reader = Reader::from_source(file).expect("valid");
        reader.verify().expect("every node and record is well-formed");
        assert_eq!(reader.metadata().build_epoch, 1_791_200_061);
        assert_eq!(reader.metadata().record_size, 24);
        assert_eq!(reader.metadata().description["x-note"], "{}");

        let low = reader.lookup(ip("192.0.2.5")).unwrap();
        assert_eq!(low.network().unwrap().to_string(), "192.0.2.0/25");
        let record: serde_json::Value = low.decode().unwrap().expect("data");
        assert_eq!(record["autonomous_system_number"], 24940);
        assert_eq!(record["autonomous_system_organization"], "Hetzner Online GmbH");

        let v6 = reader.lookup(ip("2001:db8:7fff::1")).unwrap();
        let record: serde_json::Value = v6.decode().unwrap().expect("data");
        assert_eq!(record, serde_json::json!({"autonomous_system_organization": "Hetzner Online GmbH"}));

        assert!(!reader.lookup(ip("192.0.3.0")).unwrap().has_data());
        assert!(!reader.lookup(ip("2001:db8:8000::1")).unwrap().has_data());
    }

    #[test]
    fn numbers_and_strings_of_every_size_class_read_back() {
        let texts = [0, 28, 29, 284, 285, 70_000].map(|len| "x".repeat(len));
        let numbers = [0, 1, 255, 256, 65_535, 65_536, u32::MAX];
        let mut data = Data::default();
        let at = data.offset();
        data.array(texts.len() * 2 + numbers.len());
        for text in texts.iter().chain(&texts) {
            data.string(text);
        }
        for number in numbers {
            data.uint32(number);
        }
        let file = file(&ranges_of(&[("::/0", at)]), data, &METADATA).expect("small");
        let reader = Reader::from_source(file).expect("valid");
        let record: serde_json::Value = reader.lookup(ip("::1")).unwrap().decode().unwrap().expect("data");
        let expected: Vec<serde_json::Value> = texts
            .iter()
            .chain(&texts)
            .map(|t| t.as_str().into())
            .chain(numbers.into_iter().map(Into::into))
            .collect();
        assert_eq!(record, serde_json::Value::Array(expected));
    }

    #[test]
    fn pointers_of_every_size_class_lead_to_their_string() {
        // Starts on both sides of each border: 11, 19 and 27 bits.
        for padding in [0, 0x7f0, 0x800, 0x8_07f0, 0x8_0800] {
            let mut data = Data::default();
            data.bytes.resize(padding, 0);
            data.string("a string worth pointing to");
            let at = data.offset();
            data.map(1);
            data.string("k");
            data.string("a string worth pointing to");
            let file = file(&ranges_of(&[("::/0", at)]), data, &METADATA).expect("addressable");
            let reader = Reader::from_source(file).expect("valid");
            let record: serde_json::Value =
                reader.lookup(ip("::1")).unwrap().decode().unwrap().expect("data");
            assert_eq!(record["k"], "a string worth pointing to", "padding {padding:#x}");
        }
    }

    #[test]
    fn a_pointer_past_27_bits_is_a_control_byte_and_the_whole_offset() {
        let mut data = Data::default();
        data.pointer(0x808_0800);
        assert_eq!(data.into_bytes(), [0x38, 0x08, 0x08, 0x08, 0x00]);
    }

    #[test]
    fn a_database_over_16_mib_takes_32_bit_records() {
        let mut data = Data::default();
        data.bytes.resize(0x100_0000, 0);
        let at = data.offset();
        data.map(0);
        let file = file(&ranges_of(&[("10.0.0.0/8", at)]), data, &METADATA).expect("addressable");
        let reader = Reader::from_source(file).expect("valid");
        assert_eq!(reader.metadata().record_size, 32);
        assert!(reader.lookup(ip("10.255.0.1")).unwrap().has_data());
        assert!(!reader.lookup(ip("11.0.0.1")).unwrap().has_data());
    }

    #[test]
    fn no_ranges_make_an_empty_but_valid_file() {
        let reader =
            Reader::from_source(file(&[], Data::default(), &METADATA).expect("small")).expect("valid");
        assert!(!reader.lookup(ip("8.8.8.8")).unwrap().has_data());
    }
}
