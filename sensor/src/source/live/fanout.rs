//! Parting an interface's frames among several rings.
//!
//! The kernel runs a small program on every frame (`PACKET_FANOUT_CBPF`, packet(7)) that makes a number of its pair of addresses, the
//! same for both directions. So all packets of a pair (fragments, errors about them, and the copies of a mirror) come to one worker,
//! from whichever port of a tap, and nobody needs another one's flows. The kernel's own hash of addresses and ports
//! (`PACKET_FANOUT_HASH`) would tear fragments and the two directions of VXLAN apart; rolling over to another ring when one is full
//! would tear flows apart exactly when it matters, so a full ring drops and counts instead.
//!
//! One level of tunnel that mirrors whole networks between two addresses is looked into: VXLAN (RFC 7348), and Ethernet in GRE
//! (ERSPAN type II of draft-foschiano-erspan, and transparent bridging). Other frames with the same outer addresses meet in one worker.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::ring::{Memory, Ring, get, set};

/// Offsets that count from the network header, and the protocol of the frame (`linux/filter.h`).
const NET: u32 = (-0x10_0000_i32) as u32;
const PROTOCOL: u32 = (-0x1000_i32) as u32;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86DD;
const VLAN: [u32; 2] = [0x8100, 0x88A8];
const UDP: u32 = 17;
const GRE: u32 = 47;
const VXLAN_PORT: u32 = 4_789;
/// GRE protocol types of a frame behind an ERSPAN II header, and of a bare one.
const ERSPAN_II: u32 = 0x88BE;
const BRIDGED: u32 = 0x6558;
/// More fragments, and where this one belongs.
const FRAGMENT: u32 = 0x3FFF;
/// Odd, with bits everywhere: spreads what differs in few bits (2^32 divided by the golden ratio).
const SPREAD: u32 = 0x9E37_79B1;

/// A place in the program that jumps go to.
#[derive(Clone, Copy)]
enum To {
    Next,
    Label(&'static str),
}

enum Step {
    Plain(u16, u32),
    Jump(u16, u32, To, To),
    Label(&'static str),
}

/// The program: the number of a frame's pair of addresses. `net` is where the network header is, `protocol` what loads its type.
fn program(net: u32, protocol: Step) -> Vec<libc::sock_filter> {
    use To::{Label, Next};
    let load =
        |size: u32, at: u32| Step::Plain((libc::BPF_LD | size | libc::BPF_IND) as u16, net.wrapping_add(at));
    let word = |at| load(libc::BPF_W, at);
    let half = |at| load(libc::BPF_H, at);
    let byte = |at| load(libc::BPF_B, at);
    let alu = |op: u32, k: u32| Step::Plain((libc::BPF_ALU | op | libc::BPF_K) as u16, k);
    let add_x = || Step::Plain((libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X) as u16, 0);
    let tax = || Step::Plain((libc::BPF_MISC | libc::BPF_TAX) as u16, 0);
    let store = |m| Step::Plain(libc::BPF_ST as u16, m);
    let recall = |m| Step::Plain((libc::BPF_LD | libc::BPF_MEM) as u16, m);
    let recall_x = |m| Step::Plain((libc::BPF_LDX | libc::BPF_MEM) as u16, m);
    let xor_x = || Step::Plain((libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X) as u16, 0);
    let equal = |k, yes, no| Step::Jump((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, k, yes, no);
    let any = |k, yes, no| Step::Jump((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, k, yes, no);
    let goto = |label| Step::Jump((libc::BPF_JMP | libc::BPF_JA) as u16, 0, Label(label), Next);
    let ret = || Step::Plain((libc::BPF_RET | libc::BPF_A) as u16, 0);
    // Moves X, which is where the header at hand begins, by `k`.
    let forward = |k| [Step::Plain((libc::BPF_MISC | libc::BPF_TXA) as u16, 0), alu(libc::BPF_ADD, k), tax()];
    let mut steps = vec![Step::Plain((libc::BPF_LDX | libc::BPF_IMM) as u16, 0), protocol];
    // Two tags at most; of each the type of what follows is two bytes in.
    for (tag, untagged) in [("tag 1", "no tag 1"), ("tag 2", "no tag 2")] {
        steps.extend([
            equal(VLAN[0], Label(tag), Next),
            equal(VLAN[1], Label(tag), Label(untagged)),
            Step::Label(tag),
        ]);
        steps.extend([half(2), store(1)]);
        steps.extend(forward(4));
        steps.extend([recall(1), Step::Label(untagged)]);
    }
    steps.extend([
        equal(IPV4, Label("v4"), Next),
        equal(IPV6, Label("v6"), Label("other")),
        Step::Label("v4"),
    ]);
    // A tunnel is looked into where its first bytes are here.
    steps.extend([half(6), any(FRAGMENT, Label("v4 pair"), Next)]);
    steps.extend([byte(9), equal(UDP, Label("udp"), Next), equal(GRE, Label("gre"), Label("v4 pair"))]);
    let header = || [byte(0), alu(libc::BPF_AND, 0x0F), alu(libc::BPF_LSH, 2)];
    // Remembers the outer header, for tunnels that are none.
    let remember = || [Step::Plain(libc::BPF_STX as u16, 2)];
    steps.push(Step::Label("udp"));
    steps.extend(remember());
    steps.extend(header());
    steps.extend([add_x(), tax(), half(2), equal(VXLAN_PORT, Next, Label("back"))]);
    // UDP and VXLAN headers, then the inner frame's type behind its two addresses.
    steps.extend(forward(8 + 8 + 12));
    steps.extend([goto("inner"), Step::Label("gre")]);
    steps.extend(remember());
    steps.extend(header());
    // GRE without a checksum or a key; a sequence number where ERSPAN II has it.
    steps.extend([
        add_x(),
        tax(),
        half(2),
        equal(ERSPAN_II, Label("erspan"), Next),
        equal(BRIDGED, Next, Label("back")),
    ]);
    steps.extend([half(0), any(0xB000, Label("back"), Next)]);
    steps.extend(forward(4 + 12));
    steps.extend([goto("inner"), Step::Label("erspan"), half(0), equal(0x1000, Next, Label("back"))]);
    steps.extend(forward(8 + 8 + 12));
    steps.push(Step::Label("inner"));
    steps.extend([half(0), store(1)]);
    steps.extend(forward(2));
    steps.extend([recall(1), equal(VLAN[0], Next, Label("inner type"))]);
    steps.extend([half(2), store(1)]);
    steps.extend(forward(4));
    steps.extend([recall(1), Step::Label("inner type")]);
    steps.extend([equal(IPV4, Label("v4 pair"), Next), equal(IPV6, Label("v6"), Label("back"))]);
    steps.extend([Step::Label("back"), recall_x(2), Step::Label("v4 pair")]);
    steps.extend([word(12), store(0), word(16), recall_x(0), xor_x(), goto("spread"), Step::Label("v6")]);
    steps.extend([word(8), store(0)]);
    for at in (12..40).step_by(4) {
        // X is needed as the place, so the sum goes by way of memory.
        steps.extend([
            Step::Plain(libc::BPF_STX as u16, 3),
            word(at),
            recall_x(0),
            xor_x(),
            store(0),
            recall_x(3),
        ]);
    }
    steps.extend([
        recall(0),
        Step::Label("spread"),
        alu(libc::BPF_MUL, SPREAD),
        alu(libc::BPF_RSH, 16),
        ret(),
    ]);
    steps.extend([Step::Label("other"), Step::Plain((libc::BPF_RET | libc::BPF_K) as u16, 0)]);
    assemble(&steps)
}

/// Puts distances in the place of labels. All jumps go forward.
fn assemble(steps: &[Step]) -> Vec<libc::sock_filter> {
    let place = |label: &str| {
        let at = steps.iter().position(|s| matches!(s, Step::Label(l) if *l == label)).unwrap_or(steps.len());
        steps[..at].iter().filter(|s| !matches!(s, Step::Label(_))).count()
    };
    let mut program = Vec::new();
    for step in steps {
        let next = program.len() + 1;
        let far = |to: To| match to {
            To::Next => 0,
            To::Label(label) => place(label).saturating_sub(next),
        };
        program.push(match step {
            Step::Label(_) => continue,
            Step::Plain(code, k) => libc::sock_filter { code: *code, jt: 0, jf: 0, k: *k },
            // The distance of a plain jump is its constant.
            Step::Jump(code, _, to, _) if u32::from(*code) & 0xF0 == libc::BPF_JA => {
                libc::sock_filter { code: *code, jt: 0, jf: 0, k: far(*to) as u32 }
            }
            Step::Jump(code, k, yes, no) => {
                libc::sock_filter { code: *code, jt: far(*yes) as u8, jf: far(*no) as u8, k: *k }
            }
        });
    }
    program
}

/// Times that an interface may be made anew under its old name before this program, too, has to be started anew. The kernel does not
/// bind a ring of a group a second time, and to open a socket takes a permission that is given up: so sockets are kept for it.
const RENEWALS: usize = 8;

/// The rings of one interface, one a worker.
pub(super) struct Group {
    state: Mutex<State>,
}

struct State {
    /// In the order of the workers, which is the same on all ports of a tap, so that a pair's number is the same worker.
    rings: Vec<Arc<Memory>>,
    joined: bool,
    /// Index of the interface that they are bound to.
    index: u32,
    spares: Vec<OwnedFd>,
    /// Rings on the latest interface that their workers have not taken yet.
    renewed: Vec<Option<Ring>>,
}

impl Group {
    /// A group of rings that are bound to the interface of this index, in the order of the workers.
    pub(super) fn of(rings: Vec<Arc<Memory>>, index: u32) -> io::Result<Arc<Self>> {
        let spares = (0..RENEWALS * rings.len()).map(|_| Ring::socket()).collect::<io::Result<_>>()?;
        let renewed = Vec::new();
        let state = State { rings, joined: false, index, spares, renewed };
        Ok(Arc::new(Self { state: Mutex::new(state) }))
    }

    /// Joins the rings, once the interface is up: the kernel takes no others. Until then every ring would get every frame, so they
    /// are to receive nothing before it.
    pub(super) fn join(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.joined {
            return Ok(());
        }
        let mut id = 0;
        for (n, ring) in state.rings.iter().enumerate() {
            // The kernel chooses a number that nobody has, and tells it.
            let flags = if n == 0 { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
            let asked = id | (libc::PACKET_FANOUT_CBPF | flags) << 16;
            set(ring.socket(), libc::PACKET_FANOUT, &asked)?;
            if n == 0 {
                let mut told: libc::c_uint = 0;
                get(ring.socket(), libc::SOL_PACKET, libc::PACKET_FANOUT, &mut told)?;
                id = told & 0xFFFF;
            }
        }
        if let Some(first) = state.rings.first() {
            let protocol = Step::Plain((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, PROTOCOL);
            deal_by(first.socket(), &mut program(NET, protocol))?;
        }
        state.joined = true;
        Ok(())
    }

    /// The ring of worker `n` on another interface, which has come in the place of the one that is gone. Whoever comes first makes
    /// those of all.
    pub(super) fn renew(&self, n: usize, index: u32, bytes: usize) -> io::Result<Ring> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.index != index {
            let mut rings = Vec::new();
            for _ in 0..state.rings.len() {
                let spare = state.spares.pop().ok_or_else(|| io::Error::other("too often made anew"))?;
                let ring = Ring::on(spare, bytes)?;
                ring.bind(index)?;
                rings.push(ring);
            }
            state.rings = rings.iter().map(Ring::memory).collect();
            state.renewed = rings.into_iter().map(Some).collect();
            (state.index, state.joined) = (index, false);
        }
        let ring = state.renewed.get_mut(n).and_then(Option::take);
        ring.ok_or_else(|| io::Error::other("the ring is taken"))
    }
}

fn deal_by(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    set(fd, libc::PACKET_FANOUT_DATA, &libc::sock_fprog { len, filter: program.as_mut_ptr() })
}

#[cfg(all(test, feature = "libpcap"))]
mod tests {
    use super::super::super::bpf::Program;
    use super::*;

    /// What the program makes of a packet from its network header on.
    fn number(kind: u32, packet: &[u8]) -> u32 {
        let kind = Step::Plain((libc::BPF_LD | libc::BPF_IMM) as u16, kind);
        Program::of(&program(0, kind)).run(packet, packet.len() as u32)
    }

    fn v4(src: [u8; 4], dst: [u8; 4], proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let mut packet = vec![0x46, 0, 0, 0, 0, 1, high, low, 64, proto, 0, 0];
        packet.extend(src.iter().chain(&dst).chain(&[1; 4]).chain(payload));
        packet
    }

    fn udp(to: u16, payload: &[u8]) -> Vec<u8> {
        [&[0x12, 0x34][..], &to.to_be_bytes(), &[0; 4], payload].concat()
    }

    const A: [u8; 4] = [10, 1, 2, 3];
    const B: [u8; 4] = [198, 51, 100, 7];
    const C: [u8; 4] = [203, 0, 113, 9];

    #[test]
    fn both_directions_and_all_fragments_and_protocols_of_a_pair_are_one_number() {
        let there = number(IPV4, &v4(A, B, 6, 0, &[0; 20]));
        for (packet, what) in [
            (v4(B, A, 6, 0, &[9; 20]), "the way back"),
            (v4(B, A, 17, 0x2000, &udp(4_789, &[0; 64])), "a first fragment, whatever it looks like"),
            (v4(A, B, 17, 0x00FF, &[7; 64]), "a later fragment"),
            (v4(A, B, 1, 0, &[3, 1, 0, 0]), "an error"),
        ] {
            assert_eq!(number(IPV4, &packet), there, "{what}");
        }
        assert_ne!(number(IPV4, &v4(A, C, 6, 0, &[0; 20])), there);
        assert!(there > 0xFF, "it has bits to part by: {there:x}");
    }

    #[test]
    fn tags_do_not_matter() {
        let bare = v4(A, B, 6, 0, &[0; 20]);
        let tagged = [&[0, 7, 0x08, 0x00][..], &bare].concat();
        let twice = [&[0, 7, 0x81, 0x00, 0, 9, 0x08, 0x00][..], &bare].concat();
        assert_eq!(number(0x8100, &tagged), number(IPV4, &bare));
        assert_eq!(number(0x88A8, &twice), number(IPV4, &bare));
    }

    #[test]
    fn what_a_mirror_wraps_is_parted_by_the_addresses_inside() {
        let inner = |kind: [u8; 2], packet: &[u8]| [&[2; 12][..], &kind, packet].concat();
        let plain = v4(A, B, 6, 0, &[0; 20]);
        let frame = inner([8, 0], &plain);
        let wanted = number(IPV4, &plain);
        let vxlan =
            v4(C, [192, 0, 2, 1], 17, 0, &udp(4_789, &[&[8, 0, 0, 0, 0, 0, 9, 0][..], &frame].concat()));
        assert_eq!(number(IPV4, &vxlan), wanted);
        let erspan = [&[0x10, 0, 0x88, 0xBE][..], &[0; 4], &[0; 8], &frame].concat();
        assert_eq!(number(IPV4, &v4(C, [192, 0, 2, 1], 47, 0, &erspan)), wanted);
        let bridged =
            [&[0, 0, 0x65, 0x58][..], &inner([0x81, 0], &[&[0, 7, 8, 0][..], &plain].concat())].concat();
        assert_eq!(number(IPV4, &v4(C, [192, 0, 2, 1], 47, 0, &bridged)), wanted);
        let outer = number(IPV4, &v4(C, [192, 0, 2, 1], 6, 0, &[0; 20]));
        assert_eq!(number(IPV4, &v4(C, [192, 0, 2, 1], 17, 0, &udp(53, &[0; 64]))), outer);
        let arp = inner([8, 6], &[0; 28]);
        let of_arp =
            v4(C, [192, 0, 2, 1], 17, 0, &udp(4_789, &[&[8, 0, 0, 0, 0, 0, 9, 0][..], &arp].concat()));
        assert_eq!(number(IPV4, &of_arp), outer, "no addresses inside");
    }

    #[test]
    fn the_two_directions_of_ipv6_are_one_number_and_what_has_no_addresses_is_the_first_workers() {
        let v6 = |src: [u8; 16], dst: [u8; 16]| {
            [&[0x60, 0, 0, 0, 0, 20, 6, 64][..], &src, &dst, &[0; 20]].concat()
        };
        let (a, b) = ([1; 16], [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(number(IPV6, &v6(a, b)), number(IPV6, &v6(b, a)));
        assert_ne!(number(IPV6, &v6(a, b)), 0);
        assert_eq!(number(0x0806, &[1; 28]), 0);
        assert_eq!(number(IPV4, &[0x45, 0]), 0, "cut off");
    }
}
