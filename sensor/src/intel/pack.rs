//! The embedded form of a database: the same bytes at a fifth of the size.
//!
//! A compressor finds little in a search tree, whose node numbers are all different. But nodes are in depth-first
//! order, so the numbers follow from the tree's shape: it is enough to store for each node which of its halves are
//! empty, a node or a leaf (one byte), and for each leaf the running number of its record. The whole is then one zstd
//! frame. Unpacking gives back the MaxMind-format file byte for byte.
//!
//! Layout, little endian: magic, build epoch `u64`, unpacked length `u32`, then in one zstd frame: node count `u32`, leaf count `u32`, record count `u32`, bytes a
//! record half takes `u8`; one byte a node (`3 * left + right` of 0 empty, 1 node, 2 leaf); three bytes a leaf; for each
//! record the distance of its offset to the one before as `u16`; everything from the data section on as it is.

use maxminddb::Reader;

use super::mmdb::SEPARATOR_LEN;

/// First bytes of a packed database.
pub(super) const MAGIC: &[u8] = b"FARENDI1";
/// Slow to make and as fast to read as any: 2.7 MB where level 3 gives 3.2 MB.
const ZSTD_LEVEL: i32 = 22;
/// What a packed file may unpack to; the embedded one takes 14 MB.
const MAX_LEN: usize = 1 << 30;
const HEADER_LEN: usize = 13;

const EMPTY: u8 = 0;
const NODE: u8 = 1;
const LEAF: u8 = 2;

/// Why bytes could not be packed or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpackable(pub(super) &'static str);

/// Packs a database that [`super::mmdb::file`] wrote.
pub(super) fn pack(mmdb: &[u8]) -> Result<Vec<u8>, Unpackable> {
    const FOREIGN: Unpackable = Unpackable("only a database that farend built can be packed");
    let reader = Reader::from_source(mmdb).map_err(|_| FOREIGN)?;
    let metadata = reader.metadata();
    let node_count = metadata.node_count as usize;
    let width = usize::from(metadata.record_size / 8);
    let (tree, tail) = mmdb.split_at_checked(node_count * width * 2).ok_or(FOREIGN)?;
    let data_base = node_count + SEPARATOR_LEN;

    let mut shape = Vec::with_capacity(node_count);
    let mut leaves = Vec::new();
    for node in tree.chunks_exact(width * 2) {
        let [left, right] = [&node[..width], &node[width..]].map(|half| {
            let value = read_be(half);
            if value >= data_base {
                leaves.push(value - data_base);
            }
            match value {
                v if v < node_count => NODE,
                v if v == node_count => EMPTY,
                _ => LEAF,
            }
        });
        shape.push(left * 3 + right);
    }
    let mut offsets = leaves.clone();
    offsets.sort_unstable();
    offsets.dedup();

    let mut plain = Vec::with_capacity(HEADER_LEN + shape.len() + leaves.len() * 3 + tail.len());
    for count in [node_count, leaves.len(), offsets.len()] {
        plain.extend_from_slice(&(count as u32).to_le_bytes());
    }
    plain.push(width as u8);
    plain.extend_from_slice(&shape);
    for leaf in &leaves {
        let id = offsets.binary_search(leaf).unwrap_or(0) as u32;
        plain.extend_from_slice(&id.to_le_bytes()[..3]);
    }
    let mut before = 0;
    for &offset in &offsets {
        let step = u16::try_from(offset - before).map_err(|_| FOREIGN)?;
        plain.extend_from_slice(&step.to_le_bytes());
        before = offset;
    }
    plain.extend_from_slice(tail);

    let mut packed = MAGIC.to_vec();
    let frame = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|_| FOREIGN)?;
    packed.extend_from_slice(&metadata.build_epoch.to_le_bytes());
    packed.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    packed.extend_from_slice(&frame);
    // Nodes in another order, or more than 2^24 records, would not come back.
    if unpack(&packed)? == mmdb { Ok(packed) } else { Err(FOREIGN) }
}

/// When the packed database was built, in seconds after the Unix epoch; costs nothing, unlike unpacking.
pub(super) fn build_epoch(packed: &[u8]) -> Option<u64> {
    packed.strip_prefix(MAGIC)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The database inside a packed file.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, Unpackable> {
    const DAMAGED: Unpackable = Unpackable("damaged: the packed database does not unpack");
    let rest = packed.strip_prefix(MAGIC).ok_or(Unpackable("not a packed farend database"))?;
    let (_epoch, rest) = rest.split_first_chunk::<8>().ok_or(DAMAGED)?;
    let (len, frame) = rest.split_first_chunk::<4>().ok_or(DAMAGED)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > MAX_LEN {
        return Err(DAMAGED);
    }
    let plain = zstd::bulk::decompress(frame, len).map_err(|_| DAMAGED)?;
    let (header, rest) = plain.split_first_chunk::<HEADER_LEN>().ok_or(DAMAGED)?;
    let count =
        |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (node_count, leaf_count, record_count, width) =
        (count(0), count(4), count(8), usize::from(header[12]));
    let (shape, rest) = rest.split_at_checked(node_count).ok_or(DAMAGED)?;
    let (leaves, rest) = rest.split_at_checked(leaf_count * 3).ok_or(DAMAGED)?;
    let (steps, tail) = rest.split_at_checked(record_count * 2).ok_or(DAMAGED)?;

    let data_base = (node_count + SEPARATOR_LEN) as u32;
    let mut at = data_base;
    let records: Vec<u32> = steps
        .chunks_exact(2)
        .map(|step| {
            at = at.saturating_add(u16::from_le_bytes([step[0], step[1]]).into());
            at
        })
        .collect();

    let mut out = Vec::with_capacity(node_count * width * 2 + tail.len());
    match width {
        3 => tree::<3>(&mut out, shape, leaves, &records),
        4 => tree::<4>(&mut out, shape, leaves, &records),
        _ => None,
    }
    .ok_or(DAMAGED)?;
    out.extend_from_slice(tail);
    Ok(out)
}

/// Writes the search tree; the width of a record half is a constant so that each write is a single store.
fn tree<const WIDTH: usize>(out: &mut Vec<u8>, shape: &[u8], leaves: &[u8], records: &[u32]) -> Option<()> {
    out.resize(shape.len() * WIDTH * 2, 0);
    let node_count = shape.len() as u32;
    let mut put = |position: usize, value: u32| {
        let bytes = value.to_be_bytes();
        out[position..position + WIDTH].copy_from_slice(&bytes[4 - WIDTH..]);
    };
    let mut leaves = leaves.chunks_exact(3);
    // Right halves that wait for their subtree: in depth-first order a left node is the next one, and a right node
    // is the next one once everything on its left is done.
    let mut waiting: Vec<usize> = Vec::new();
    for (index, &kinds) in shape.iter().enumerate() {
        let next = index as u32 + 1;
        let mut next_is_child = false;
        for (half, kind) in [kinds / 3, kinds % 3].into_iter().enumerate() {
            let position = (index * 2 + half) * WIDTH;
            match kind {
                EMPTY => put(position, node_count),
                NODE if half == 0 => {
                    put(position, next);
                    next_is_child = true;
                }
                NODE => waiting.push(position),
                LEAF => {
                    let id = leaves.next()?;
                    let id = usize::from(id[0]) | usize::from(id[1]) << 8 | usize::from(id[2]) << 16;
                    put(position, *records.get(id)?);
                }
                _ => return None,
            }
        }
        if !next_is_child && let Some(position) = waiting.pop() {
            put(position, next);
        }
    }
    waiting.is_empty().then_some(())
}

fn read_be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

#[cfg(test)]
mod tests {
    use super::super::mmdb::{self, Data, Metadata};
    use super::super::ranges::Range;
    use super::*;
    use proptest::prelude::*;

    fn database(borders: &[u128], records: u32) -> Vec<u8> {
        let mut data = Data::default();
        let offsets: Vec<u32> = (0..records)
            .map(|number| {
                let at = data.offset();
                data.map(1);
                data.string("n");
                data.uint32(number * 1000);
                at
            })
            .collect();
        let ranges: Vec<_> = borders
            .chunks_exact(2)
            .enumerate()
            .map(|(i, pair)| Range { first: pair[0], last: pair[1] - 1, value: offsets[i % offsets.len()] })
            .collect();
        let metadata = Metadata { database_type: "test", build_epoch: 1, description: &[] };
        mmdb::file(&ranges, data, &metadata).expect("small")
    }

    proptest! {
        // Each case compresses at the highest level.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_database_comes_back_byte_for_byte(
            borders in proptest::collection::btree_set(any::<u128>(), 0..40),
            records in 1_u32..9,
        ) {
            let borders: Vec<u128> = borders.into_iter().collect();
            let file = database(&borders, records);
            let packed = pack(&file).expect("own format");
            prop_assert!(unpack(&packed) == Ok(file));
        }
    }

    #[test]
    fn a_packed_file_that_is_cut_off_or_altered_is_refused_or_differs_but_never_panics() {
        let file = database(&[16, 48, 1 << 90, 1 << 100], 2);
        let packed = pack(&file).expect("own format");
        for cut in 0..packed.len() {
            assert!(unpack(&packed[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..packed.len() {
            let mut altered = packed.clone();
            altered[at] ^= 0x55;
            let _ = unpack(&altered);
        }
    }

    #[test]
    fn a_file_that_is_no_database_of_ours_is_not_packed() {
        assert!(pack(b"not an mmdb").is_err());
        assert_eq!(unpack(b"neither"), Err(Unpackable("not a packed farend database")));
    }
}
