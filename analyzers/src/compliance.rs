//! What every analyzer must stand: nothing, single bytes, gaps, noise, and the conversations of all the others.

use crate::{Dir, FIXTURES, Id, METAS, Next, Out, Probe, Running, Segment, Transport, Verdict, probe};

fn feed(id: Id, transport: Transport, pieces: &[(Dir, &[u8], bool)]) {
    let mut running = Running::start(id).expect("a registered analyzer starts");
    let mut out = Out::default();
    let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    for (dir, bytes, gap) in pieces {
        let p = &mut pending[dir.index()];
        if !transport.is_stream() {
            p.clear();
        }
        p.extend_from_slice(bytes);
        let seg = Segment { dir: *dir, transport, data: p, wire_len: p.len(), gap: *gap, ts_ns: 0 };
        match running.on_data(&seg, &mut out) {
            Next::Continue { consumed } => {
                assert!(consumed <= p.len(), "{}: consumed more than it was given", METAS[id.0].name);
                p.drain(..consumed);
            }
            Next::Done | Next::NotMine => return,
        }
        out.inner.clear();
        out.names.clear();
        if p.len() > 65_536 {
            return;
        }
    }
    assert!(out.evidence.len() <= 12);
}

#[test]
fn no_analyzer_panics_on_nothing_single_bytes_gaps_or_noise() {
    let noise: Vec<u8> = (0..65_536u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let ones = vec![0xFFu8; 65_536];
    let zeros = vec![0u8; 4096];
    for (i, meta) in METAS.iter().enumerate() {
        for transport in meta.transports {
            for dir in [Dir::ToServer, Dir::ToClient] {
                feed(Id(i), *transport, &[(dir, &[], false)]);
                for bytes in [&ones[..], &noise, &zeros] {
                    feed(Id(i), *transport, &[(dir, bytes, false)]);
                    feed(Id(i), *transport, &[(dir, bytes, true)]);
                    for cut in [1, 2, 7, 100] {
                        let pieces: Vec<_> = bytes[..2048].chunks(cut).map(|c| (dir, c, false)).collect();
                        feed(Id(i), *transport, &pieces);
                    }
                    for n in 0..64 {
                        let p = Probe {
                            dir,
                            transport: *transport,
                            data: &bytes[..n],
                            wire_len: n,
                            other: &bytes[..n / 2],
                            earlier: &bytes[..n / 3],
                            from_start: true,
                            port_hint: true,
                        };
                        let _ = probe(Id(i), &p);
                    }
                }
            }
        }
    }
}

#[test]
fn every_fixture_survives_being_cut_and_reversed_in_every_analyzer() {
    for (_, fixtures) in FIXTURES {
        for fixture in fixtures {
            for (i, meta) in METAS.iter().enumerate() {
                if !meta.transports.contains(&fixture.transport) {
                    continue;
                }
                for gap in [false, true] {
                    let pieces: Vec<_> = fixture.payloads.iter().map(|(d, b)| (*d, *b, gap)).collect();
                    feed(Id(i), fixture.transport, &pieces);
                    let reversed: Vec<_> =
                        fixture.payloads.iter().map(|(d, b)| (d.reverse(), *b, gap)).collect();
                    feed(Id(i), fixture.transport, &reversed);
                    let bytes: Vec<_> = fixture
                        .payloads
                        .iter()
                        .flat_map(|(d, b)| b.chunks(1).map(move |c| (*d, c, gap)))
                        .collect();
                    feed(Id(i), fixture.transport, &bytes);
                }
            }
        }
    }
}

/// The analyzer that takes a payload sequence when all are asked, as the sensor asks them.
fn taker(transport: Transport, payloads: &[(Dir, &[u8])]) -> Option<usize> {
    let mut possible: Vec<usize> =
        (0..METAS.len()).filter(|i| METAS[*i].transports.contains(&transport)).collect();
    let mut so_far: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    for (dir, bytes) in payloads.iter().take(8) {
        let d = dir.index();
        if transport.is_stream() {
            so_far[d].extend_from_slice(bytes);
        }
        let data = if transport.is_stream() { so_far[d].clone() } else { bytes.to_vec() };
        let Some(first) = data.first().copied() else { continue };
        let mut left = Vec::new();
        for i in possible {
            if !METAS[i].first.has(first) {
                left.push(i);
                continue;
            }
            let p = Probe {
                dir: *dir,
                transport,
                data: &data,
                wire_len: data.len(),
                other: &so_far[1 - d],
                earlier: if transport.is_stream() { &[] } else { &so_far[d] },
                from_start: true,
                port_hint: false,
            };
            match probe(Id(i), &p) {
                Verdict::Yes => return Some(i),
                Verdict::More => left.push(i),
                Verdict::No => {}
            }
        }
        possible = left;
        if so_far[d].is_empty() {
            so_far[d] = bytes.to_vec();
        }
    }
    None
}

#[test]
fn every_fixture_is_taken_by_its_own_analyzer_and_by_no_other_without_a_port() {
    for (name, fixtures) in FIXTURES {
        for fixture in fixtures {
            let taken = taker(fixture.transport, fixture.payloads).map(|i| METAS[i].name);
            assert_eq!(taken, Some(name), "fixture {} of {name}", fixture.name);
        }
    }
}

#[test]
fn metadata_is_complete_and_labels_exist() {
    for meta in METAS {
        assert!(!meta.title.is_empty() && !meta.reference.is_empty(), "{}: title and reference", meta.name);
        assert!(meta.budget > 0 && meta.budget <= 65_536, "{}: budget", meta.name);
        if let Some(label) = meta.label {
            assert!(
                crate::label_info(label).is_some(),
                "{}: label {label} is not in config/labels.tsv",
                meta.name
            );
        }
        for kind in meta.evidence {
            assert!(
                kind.name.starts_with(&format!("{}.", meta.name)),
                "{}: evidence {}",
                meta.name,
                kind.name
            );
            assert!(!kind.says.is_empty());
        }
    }
    assert!(METAS.windows(2).all(|w| w[0].name < w[1].name), "sorted, unique names");
}
