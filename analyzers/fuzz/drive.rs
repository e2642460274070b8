//! Drives an analyzer through any bytes as the sensor would, and holds it to what every analyzer promises.
//!
//! In: bytes. The first chooses a transport; then come payloads: a byte of flags, two of length, the payload. Out: nothing; a panic
//! where a promise is broken. `analyzers/src/fixture.rs` writes fixtures in this form, so that fuzzing starts from whole conversations.

use farend_analyzers::{
    Dir, Id, MAX_EVIDENCE, METAS, Next, Out, Probe, Running, Segment, Verdict, label_info, probe,
};

/// The payload goes to the client.
const TO_CLIENT: u8 = 0x80;
/// Bytes before it were lost.
const GAP: u8 = 0x40;
/// More of the datagram was on the wire than was captured.
const CUT: u8 = 0x20;
/// Payloads of one conversation: more adds nothing.
const PAYLOADS: usize = 256;

/// Feeds the conversation in `input` to analyzer `id`.
pub(crate) fn drive(id: Id, input: &[u8]) {
    let meta = METAS[id.0];
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let transport = meta.transports[usize::from(choice) % meta.transports.len()];
    let mut running = Running::start(id).expect("an analyzer's number");
    let mut out = Out::default();
    let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut earlier: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut fed = [0usize; 2];
    let (mut ts_ns, mut chosen) = (1_700_000_000_000_000_000_i64, false);
    for packet in 1..=PAYLOADS as u64 {
        let &[flags, hi, lo, ref more @ ..] = rest else { return };
        let (data, after) = more.split_at(usize::from(u16::from_be_bytes([hi, lo])).min(more.len()));
        rest = after;
        let dir = if flags & TO_CLIENT == 0 { Dir::ToServer } else { Dir::ToClient };
        let d = dir.index();
        ts_ns += 1_000 << (flags & 0x1F);
        let gap = flags & GAP != 0 && transport.is_stream();
        if gap || !transport.is_stream() {
            pending[d].clear();
        }
        pending[d].extend_from_slice(data);
        let bytes = std::mem::take(&mut pending[d]);
        let wire_len = bytes.len() + usize::from(flags & CUT != 0 && !transport.is_stream()) * 40;
        if !chosen {
            let question = Probe {
                dir,
                transport,
                data: &bytes[..bytes.len().min(2_048)],
                wire_len,
                other: &pending[1 - d],
                earlier: if transport.is_stream() { &[] } else { &earlier[d] },
                from_start: !gap,
                port_hint: flags & 1 != 0,
            };
            // Whatever it answers: the sensor never hands it a flow that it refused, and it must bear one all the same.
            chosen = probe(id, &question) == Verdict::Yes;
            if let Some(first) = bytes.first().filter(|_| chosen) {
                assert!(meta.first.has(*first), "{}: said yes to first byte {first:#04x}", meta.name);
            }
        }
        if earlier[d].is_empty() {
            earlier[d].clone_from(&bytes);
        }
        out.packet = packet;
        let segment = Segment { dir, transport, data: &bytes, wire_len, gap, ts_ns };
        let next = running.on_data(&segment, &mut out);
        fed[d] += data.len();
        holds(meta.name, &out, bytes.len());
        out.inner.clear();
        out.names.clear();
        match next {
            Next::Continue { consumed } if transport.is_stream() => {
                assert!(consumed <= bytes.len(), "{}: consumed more than it was given", meta.name);
                pending[d] = bytes[consumed..].to_vec();
            }
            Next::Continue { .. } => {}
            Next::Done | Next::NotMine => return,
        }
        if fed[d] >= meta.budget as usize {
            return;
        }
    }
}

/// What holds of all that an analyzer says, whatever it was given.
fn holds(name: &str, out: &Out, given: usize) {
    let meta = METAS.iter().find(|m| m.name == name).expect("its own");
    assert!(out.evidence.len() <= MAX_EVIDENCE);
    for evidence in &out.evidence {
        let stated =
            meta.evidence.iter().chain(farend_analyzers::inside_tls::METAS.iter().flat_map(|m| m.evidence));
        assert!(stated.into_iter().any(|k| k.name == evidence.kind.name), "{name}: {}", evidence.kind.name);
        assert!(evidence.detail.len() <= 2_048, "{name}: a detail of {} bytes", evidence.detail.len());
    }
    if let Some(label) = out.label {
        assert!(label_info(label).is_some(), "{name}: label {label}");
        assert!(!out.evidence.is_empty(), "{name}: {label} without evidence");
    }
    // What it hands on it was given, now or earlier; decoding may lengthen nothing.
    assert!(out.inner.len() <= given + meta.budget as usize, "{name}: {} inner bytes", out.inner.len());
}
