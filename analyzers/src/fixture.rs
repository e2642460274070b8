//! Conversations for tests, and a small driver that feeds one to an analyzer as the sensor would.

use crate::{Analyzer, Dir, Next, Out, Probe, Segment, Transport, Verdict};

/// A conversation: its transport and its payloads in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixture<'a> {
    pub(crate) name: &'a str,
    pub(crate) transport: Transport,
    pub(crate) payloads: &'a [(Dir, &'a [u8])],
}

/// What became of a conversation.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the analyzer took it, and did not give it back.
    pub(crate) mine: bool,
    pub(crate) out: Out,
    /// Inner bytes handed on, by direction.
    pub(crate) inner: [Vec<u8>; 2],
}

/// Feeds `fixture` to analyzer `A` in pieces of at most `piece` bytes: probe until it says yes, then the stream from its first byte.
pub(crate) fn drive<A: Analyzer>(fixture: &Fixture<'_>, piece: usize) -> Outcome {
    let mut state = A::default();
    let (mut chosen, mut refused) = (false, false);
    let mut out = Out::default();
    let mut inner = [Vec::new(), Vec::new()];
    let mut seen: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut order = Vec::new();
    let mut done = false;
    let mut ts_ns = 1_700_000_000_000_000_000;
    for (dir, payload) in fixture.payloads {
        let step = if fixture.transport.is_stream() { piece.max(1) } else { payload.len().max(1) };
        for chunk in payload.chunks(step) {
            out.packet += 1;
            ts_ns += 20_000_000;
            let d = dir.index();
            let mut now = Vec::new();
            if fixture.transport.is_stream() {
                pending[d].extend_from_slice(chunk);
            } else if chosen || !pending[d].is_empty() {
                now = chunk.to_vec();
            } else {
                pending[d] = chunk.to_vec();
            }
            if !chosen && !refused {
                let first_of_dir = seen[d].is_empty() || !fixture.transport.is_stream();
                let data = if fixture.transport.is_stream() { &pending[d] } else { chunk };
                let in_table = data.first().is_some_and(|b| A::META.first.has(*b));
                if in_table || !first_of_dir {
                    let other = if fixture.transport.is_stream() { &pending[1 - d] } else { &seen[1 - d] };
                    match A::probe(&Probe {
                        dir: *dir,
                        transport: fixture.transport,
                        data,
                        wire_len: data.len(),
                        other,
                        earlier: if fixture.transport.is_stream() { &[] } else { &seen[d] },
                        from_start: true,
                        port_hint: false,
                    }) {
                        Verdict::Yes => chosen = true,
                        Verdict::No => refused = true,
                        Verdict::More => {}
                    }
                }
                if seen[d].is_empty() {
                    seen[d] = chunk.to_vec();
                }
                if !order.contains(dir) {
                    order.push(*dir);
                }
                if !chosen {
                    continue;
                }
            }
            if done || refused {
                continue;
            }
            let todo = if order.is_empty() { vec![*dir] } else { std::mem::take(&mut order) };
            // Of the datagrams before the choice, the first of each direction is still there.
            let held: Vec<_> =
                todo.iter().map(|dir| (*dir, std::mem::take(&mut pending[dir.index()]))).collect();
            for (dir, data) in held.into_iter().chain([(*dir, now)]) {
                if data.is_empty() || done || refused {
                    continue;
                }
                let seg = Segment {
                    dir,
                    transport: fixture.transport,
                    data: &data,
                    wire_len: data.len(),
                    gap: false,
                    ts_ns,
                };
                match state.on_data(&seg, &mut out) {
                    Next::Continue { consumed } => {
                        assert!(consumed <= data.len(), "{}: consumed more than there was", A::META.name);
                        if fixture.transport.is_stream() {
                            pending[dir.index()] = data[consumed..].to_vec();
                        }
                    }
                    Next::Done => done = true,
                    Next::NotMine => (refused, chosen) = (true, false),
                }
                inner[dir.index()].append(&mut out.inner);
            }
        }
    }
    Outcome { mine: chosen && !refused, out, inner }
}

impl Fixture<'_> {
    /// The conversation as the fuzzers take it (`fuzz/drive.rs`).
    fn as_fuzz_input(&self, transports: &[Transport]) -> Vec<u8> {
        /// 2^14 µs between payloads.
        const STEP: u8 = 14;
        let choice = transports.iter().position(|t| *t == self.transport).unwrap_or_default();
        let mut bytes = vec![choice as u8];
        for (dir, payload) in self.payloads {
            bytes.push(STEP | if *dir == Dir::ToClient { 0x80 } else { 0 });
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }
}

/// `FAREND_SEEDS=DIR` writes every fixture to `DIR/<analyzer>/`, for the fuzzers to begin with.
#[test]
fn fixtures_can_be_handed_to_fuzzers() {
    let folder = std::env::var_os("FAREND_SEEDS").map(std::path::PathBuf::from);
    for (name, fixtures) in crate::FIXTURES {
        let meta = crate::METAS.iter().find(|m| m.name == name).unwrap();
        for (n, fixture) in fixtures.iter().enumerate() {
            let bytes = fixture.as_fuzz_input(meta.transports);
            assert!(bytes.len() > fixture.payloads.len() * 3);
            if let Some(folder) = &folder {
                std::fs::create_dir_all(folder.join(name)).unwrap();
                std::fs::write(folder.join(name).join(format!("fixture-{n}")), bytes).unwrap();
            }
        }
    }
}
