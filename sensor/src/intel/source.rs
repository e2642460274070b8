//! The inputs of a build, row by row: ASN and country tables in CSV or TSV, and iporigin's packed ranges.
//!
//! A row that cannot be read is counted and named by file and line, and the rest goes on.

use std::collections::HashMap;
use std::net::IpAddr;

use super::net::{V4_DEPTH, host_mask, to_number};
use super::ranges::Range;
use super::{Date, Error, Place};

/// Rows named one by one before only their number is told.
const MAX_NAMED: usize = 20;

/// Country as two ASCII capitals, ISO 3166-1 alpha-2.
pub(super) type Country = [u8; 2];

/// What the tables of a build say, and what in them could not be read.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) asn: Vec<Range<u32>>,
    pub(super) orgs: HashMap<u32, String>,
    pub(super) country: Vec<Range<Country>>,
    pub(super) skipped: Skipped,
}

/// Rows left out, and the first of them by file, line and reason.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub(super) count: usize,
    pub(super) named: Vec<String>,
}

impl Skipped {
    pub(super) fn add(&mut self, file: &str, line: usize, why: &str) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(format!("{file}:{line}: {why}"));
        }
    }
}

impl Tables {
    /// Reads rows `start,end,asn,organisation`, `start,end,country`, or tab-separated
    /// `start end asn country organisation`; addresses as text or (IPv4 and IPv6 above 2^32) as numbers.
    ///
    /// Returns the number of rows read.
    pub(super) fn read(&mut self, file: &str, bytes: &[u8]) -> usize {
        let mut rows = 0;
        for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let outcome = match std::str::from_utf8(line) {
                Ok(text) => self.row(text),
                Err(_) => Err("not UTF-8"),
            };
            match outcome {
                Ok(()) => rows += 1,
                Err(why) => self.skipped.add(file, index + 1, why),
            }
        }
        rows
    }

    fn row(&mut self, line: &str) -> Result<(), &'static str> {
        let fields = if line.contains('\t') {
            line.split('\t').map(str::to_owned).collect()
        } else {
            csv_fields(line).ok_or("a quote is not closed")?
        };
        let (asn, country, org) = match fields.as_slice() {
            [_, _, country] => (None, Some(country), None),
            [_, _, asn, org] => (Some(asn), None, Some(org)),
            [_, _, asn, country, org] => (Some(asn), Some(country), Some(org)),
            _ => return Err("expected 3 (country), 4 (ASN) or 5 (both) fields"),
        };
        let (first, last) = span(&fields[0], &fields[1])?;
        if let Some(text) = asn {
            let digits = text.strip_prefix("AS").unwrap_or(text);
            let number: u32 = digits.parse().map_err(|_| "the AS number is not a number")?;
            // AS 0 marks address space that is not routed (RFC 7607).
            if number != 0 {
                self.asn.push(Range { first, last, value: number });
                if let Some(org) = org.filter(|org| !org.trim().is_empty()) {
                    self.orgs.entry(number).or_insert_with(|| org.trim().to_owned());
                }
            }
        }
        match country.map(|text| text.as_bytes()) {
            None | Some(b"" | b"None") => {}
            Some(&[a, b]) if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                let value = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
                self.country.push(Range { first, last, value });
            }
            Some(_) => return Err("the country is not a two-letter code"),
        }
        Ok(())
    }
}

fn span(first: &str, last: &str) -> Result<(u128, u128), &'static str> {
    let (first, first_v4) = address(first)?;
    let (last, last_v4) = address(last)?;
    if first_v4 != last_v4 {
        return Err("the range begins and ends in different address families");
    }
    if first > last {
        return Err("the range ends before it begins");
    }
    Ok((first, last))
}

/// The address as a number and whether it is IPv4.
fn address(text: &str) -> Result<(u128, bool), &'static str> {
    const WRONG: &str = "not an address range";
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let number: u128 = text.parse().map_err(|_| WRONG)?;
        return Ok((number, number <= host_mask(V4_DEPTH)));
    }
    let ip: IpAddr = text.trim().parse().map_err(|_| WRONG)?;
    Ok((to_number(ip), ip.is_ipv4()))
}

/// RFC 4180, without line breaks inside fields; `None` if a quote is left open.
fn csv_fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::with_capacity(4);
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

/// iporigin's `ranges.bin`: address ranges, each with the index of a label.
#[derive(Debug)]
pub(super) struct IpOrigin {
    pub(super) built: Date,
    /// Provider and kind (hosting, cdn, vpn, tor, bot).
    pub(super) labels: Vec<(String, String)>,
    pub(super) ranges: Vec<Range<u16>>,
}

/// First bytes of the file.
pub(super) const IPORIGIN_MAGIC: &[u8] = b"IPORIGIN";
const IPORIGIN_VERSION: u16 = 1;

impl IpOrigin {
    /// Little endian throughout: `<8sHQHII` (magic, version, built at, labels, IPv4 ranges, IPv6 ranges), the labels
    /// as length and `provider TAB kind`, then `<IIH` and, with addresses in network order, `<16s16sH` records.
    pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { file, bytes, at: 0 };
        if reader.take(8)? != IPORIGIN_MAGIC {
            return Err(Error::format(file, Place::Byte(0), "not an iporigin ranges.bin"));
        }
        let version = reader.u16()?;
        if version != IPORIGIN_VERSION {
            let what = format!("iporigin format {version}, this build reads {IPORIGIN_VERSION}");
            return Err(Error::format(file, Place::Byte(8), what));
        }
        let built = Date::from_unix(u64::from_le_bytes(reader.array()?));
        let (label_count, v4_count, v6_count) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let mut labels = Vec::with_capacity(label_count.into());
        for _ in 0..label_count {
            let len = reader.u16()?;
            let text = String::from_utf8_lossy(reader.take(len.into())?).into_owned();
            let (provider, kind) = text.split_once('\t').unwrap_or((&text, ""));
            labels.push((provider.to_owned(), kind.to_owned()));
        }
        let mut ranges = Vec::new();
        for index in 0..u64::from(v4_count) + u64::from(v6_count) {
            let at = reader.at;
            let (first, last) = if index < v4_count.into() {
                (reader.u32()?.into(), reader.u32()?.into())
            } else {
                (u128::from_be_bytes(reader.array()?), u128::from_be_bytes(reader.array()?))
            };
            let value = reader.u16()?;
            if first > last || usize::from(value) >= labels.len() {
                return Err(Error::format(file, Place::Byte(at), "a range is reversed or has no label"));
            }
            ranges.push(Range { first, last, value });
        }
        Ok(Self { built, labels, ranges })
    }
}

struct Reader<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let end = self.at + len;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| Error::format(self.file, Place::Byte(self.bytes.len()), "the file is cut off"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An iporigin file with the given labels, IPv4 and IPv6 ranges.
    pub(in super::super) fn iporigin_file(
        labels: &[&str],
        v4: &[(u32, u32, u16)],
        v6: &[(u128, u128, u16)],
    ) -> Vec<u8> {
        let mut out = b"IPORIGIN\x01\x00".to_vec();
        out.extend_from_slice(&1_791_200_061_u64.to_le_bytes());
        out.extend_from_slice(&(labels.len() as u16).to_le_bytes());
        out.extend_from_slice(&(v4.len() as u32).to_le_bytes());
        out.extend_from_slice(&(v6.len() as u32).to_le_bytes());
        for label in labels {
            out.extend_from_slice(&(label.len() as u16).to_le_bytes());
            out.extend_from_slice(label.as_bytes());
        }
        for (first, last, label) in v4 {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
            out.extend_from_slice(&label.to_le_bytes());
        }
        for (first, last, label) in v6 {
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&last.to_be_bytes());
            out.extend_from_slice(&label.to_le_bytes());
        }
        out
    }

    #[test]
    fn rows_of_all_three_layouts_are_read() {
        let mut tables = Tables::default();
        let rows = tables.read(
            "t.csv",
            b"# comment\n1.0.0.0,1.0.0.255,13335,\"Cloudflare, \"\"Inc.\"\"\"\r\n\
              2001:db8::,2001:db8::ffff,64500,Example\n\
              16777216,16777471,AU\n\
              8.8.8.0\t8.8.8.255\t15169\tus\tGOOGLE\n\
              9.0.0.0\t9.0.0.255\t0\tNone\tNot routed\n",
        );
        assert_eq!((rows, tables.skipped.count), (5, 0), "{:?}", tables.skipped);
        assert_eq!(tables.asn.iter().map(|r| r.value).collect::<Vec<_>>(), [13335, 64500, 15169]);
        assert_eq!(tables.asn[0], Range { first: 0x0100_0000, last: 0x0100_00ff, value: 13335 });
        assert_eq!(tables.orgs[&13335], "Cloudflare, \"Inc.\"");
        assert_eq!(tables.country.iter().map(|r| r.value).collect::<Vec<_>>(), [*b"AU", *b"US"]);
    }

    #[test]
    fn a_malformed_row_is_named_by_file_and_line_and_skipped() {
        let mut tables = Tables::default();
        let rows = tables.read(
            "bad.csv",
            b"1.0.0.0,1.0.0.255,13335,Cloudflare\nhello\n1.0.1.9,1.0.1.0,1,X\n1.0.1.0,::1,1,X\n\
              1.0.1.0,1.0.1.9,ASX,X\n1.0.1.0,1.0.1.9,1,\"X\n1.0.1.0,1.0.1.9,AUS\n\xff,1.0.0.1,1,X\n2.0.0.0,2.0.0.0,7,Y\n",
        );
        assert_eq!((rows, tables.skipped.count), (2, 7));
        assert_eq!(
            tables.skipped.named,
            [
                "bad.csv:2: expected 3 (country), 4 (ASN) or 5 (both) fields",
                "bad.csv:3: the range ends before it begins",
                "bad.csv:4: the range begins and ends in different address families",
                "bad.csv:5: the AS number is not a number",
                "bad.csv:6: a quote is not closed",
                "bad.csv:7: the country is not a two-letter code",
                "bad.csv:8: not UTF-8",
            ]
        );
    }

    #[test]
    fn an_iporigin_file_gives_labels_and_ranges_of_both_families() {
        let bytes = iporigin_file(
            &["Tor\ttor", "Hetzner\thosting"],
            &[(0xb9dc_6501, 0xb9dc_6501, 0)],
            &[(0x2a01_04f8 << 96, (0x2a01_04f9 << 96) - 1, 1)],
        );
        let parsed = IpOrigin::parse("ranges.bin", &bytes).expect("valid");
        assert_eq!(parsed.built.to_string(), "2026-10-05");
        assert_eq!(parsed.labels[0], ("Tor".to_owned(), "tor".to_owned()));
        assert_eq!(parsed.ranges[0], Range { first: 0xb9dc_6501, last: 0xb9dc_6501, value: 0 });
        assert_eq!(parsed.ranges[1].first, 0x2a01_04f8 << 96);
    }

    #[test]
    fn an_iporigin_file_that_is_cut_off_or_inconsistent_is_refused_with_the_byte() {
        let whole = iporigin_file(&["Tor\ttor"], &[(5, 6, 0)], &[]);
        for cut in 0..whole.len() {
            assert!(IpOrigin::parse("ranges.bin", &whole[..cut]).is_err(), "cut at {cut}");
        }
        let reversed = iporigin_file(&["Tor\ttor"], &[(6, 5, 0)], &[]);
        let error = IpOrigin::parse("ranges.bin", &reversed).expect_err("6 to 5");
        assert_eq!(error.to_string(), "ranges.bin: byte 37: a range is reversed or has no label");
    }
}
