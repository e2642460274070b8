//! Who opened a flow: at first by its first packet, at last by everything that is known of it.
//!
//! In: packets and entries. Out: an end of the key, and what the choice rests on.

use farend_analyzers::Side;

use crate::decode::{Packet, proto};
use crate::flow::{Entry, Hot, Key, OpenerBasis, tcp};
use crate::inspect::Verdict;

/// A port below this is given to services (RFC 6335).
const SYSTEM_PORTS: u16 = 1_024;
/// From here on ports are dynamic (Linux's default range begins lower than RFC 6335's 49,152).
const DYNAMIC_PORTS: u16 = 32_768;

/// The opener by what the first packet shows, as a key end, and on what that rests.
pub(super) fn first_guess(p: &Packet, sender: usize) -> (usize, OpenerBasis) {
    if p.proto == proto::TCP && p.tcp_flags & (tcp::SYN | tcp::RST) == tcp::SYN {
        let answers = p.tcp_flags & tcp::ACK != 0;
        return (if answers { 1 - sender } else { sender }, OpenerBasis::Syn);
    }
    let service = |port: u16| port < SYSTEM_PORTS && port != 0;
    match (service(p.src_port), service(p.dst_port)) {
        (true, false) if p.dst_port >= SYSTEM_PORTS => return (1 - sender, OpenerBasis::Ports),
        (false, true) if p.src_port >= SYSTEM_PORTS => return (sender, OpenerBasis::Ports),
        _ => {}
    }
    // A connection whose SYN is missing began before the capture: its registered port is the service's.
    if p.proto == proto::TCP {
        match (p.src_port >= DYNAMIC_PORTS, p.dst_port >= DYNAMIC_PORTS) {
            (false, true) => return (1 - sender, OpenerBasis::Ports),
            (true, false) => return (sender, OpenerBasis::Ports),
            _ => {}
        }
    }
    (sender, OpenerBasis::First)
}

/// The opener by everything that is known. The verdict's sides are turned round with it.
pub(super) fn last_word<K: Key>(entry: &Entry<K>, verdict: Option<&mut Verdict>) -> (usize, OpenerBasis) {
    let guess = entry.hot.opener();
    let (opener, basis) = weigh(entry, verdict.as_deref());
    if let Some(verdict) = verdict.filter(|_| opener != guess) {
        verdict.flip();
    }
    (opener, basis)
}

/// A SYN, else the recognised protocol's usual port, else its roles, else ports, else who sent how much.
fn weigh<K: Key>(entry: &Entry<K>, verdict: Option<&Verdict>) -> (usize, OpenerBasis) {
    let hot: &Hot = &entry.hot;
    let guess = hot.opener();
    if hot.basis() == OpenerBasis::Syn {
        return (guess, OpenerBasis::Syn);
    }
    if let Some((verdict, client)) = verdict.and_then(|v| Some((v, v.client?))) {
        // Roles are not who called whom: a viewer that listens is called by the machine it shows.
        let usual = [entry.key.a().1, entry.key.b().1].map(|port| verdict.usual_ports.contains(&port));
        match usual {
            [false, true] => return (0, OpenerBasis::Ports),
            [true, false] => return (1, OpenerBasis::Ports),
            _ if client == Side::Src => return (guess, OpenerBasis::Handshake),
            _ => return (1 - guess, OpenerBasis::Handshake),
        }
    }
    if hot.basis() == OpenerBasis::First && entry.key.proto() == proto::TCP {
        // Whoever asks sends less than whoever serves; four times less is no accident.
        let [a, b] = hot.bytes;
        if a > 4 * b.max(1) {
            return (1, OpenerBasis::Sizes);
        }
        if b > 4 * a.max(1) {
            return (0, OpenerBasis::Sizes);
        }
    }
    (guess, hot.basis())
}
