//! Classic BPF programs: compiled by libpcap, run here.
//!
//! In: a filter expression and a link type; then the captured bytes of frames with their length on the wire.
//! Out: how many bytes to accept, 0 for none. The machine is that of McCanne and Jacobson, "The BSD Packet
//! Filter" (1993). libpcap's own interpreter is not used because its Rust binding cannot tell the length on
//! the wire, which `greater`, `less` and `len` ask for: with a short snap length they would answer wrongly.

use pcap::{Capture, Linktype};

/// Words of scratch memory (`BPF_MEMWORDS`).
const MEMORY_WORDS: usize = 16;

/// Instructions run per frame. Programs jump forward only, except those of `protochain`, which walk header
/// chains.
const MAX_STEPS: u32 = 10_000;

/// A program, safe to run on any bytes: a load or a jump out of bounds rejects the frame, as does a division
/// by zero.
pub(super) struct Program(Vec<Instruction>);

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// Instruction classes: the lower three bits of a code.
mod class {
    pub(super) const LD: u16 = 0;
    pub(super) const LDX: u16 = 1;
    pub(super) const ST: u16 = 2;
    pub(super) const STX: u16 = 3;
    pub(super) const ALU: u16 = 4;
    pub(super) const JMP: u16 = 5;
    pub(super) const RET: u16 = 6;
    pub(super) const MISC: u16 = 7;
}

/// Addressing modes of loads.
mod mode {
    pub(super) const IMMEDIATE: u16 = 0x00;
    pub(super) const ABSOLUTE: u16 = 0x20;
    pub(super) const INDEXED: u16 = 0x40;
    pub(super) const MEMORY: u16 = 0x60;
    pub(super) const LENGTH: u16 = 0x80;
    /// Four times the lower nibble of a byte: an IPv4 header length.
    pub(super) const NIBBLE: u16 = 0xa0;
}

impl Program {
    /// Compiles an expression for a LINKTYPE_ number.
    ///
    /// # Errors
    /// libpcap's message.
    pub(super) fn compile(expression: &str, linktype: u16) -> Result<Self, String> {
        let message = |error: pcap::Error| match error {
            pcap::Error::PcapError(message) => message,
            other => other.to_string(),
        };
        let capture = Capture::dead(Linktype(dlt(linktype))).map_err(message)?;
        let compiled = capture.compile(expression, true).map_err(message)?;
        let instructions = compiled.get_instructions().iter().map(|instruction| {
            // The binding shows the fields in text only: "code jt jf k".
            Instruction::parse(&instruction.to_string()).ok_or("libpcap made a program that cannot be read")
        });
        Ok(Self(instructions.collect::<Result<_, _>>()?))
    }

    /// The same for the kernel (`linux/filter.h`).
    #[cfg(target_os = "linux")]
    pub(super) fn kernel(&self) -> Vec<libc::sock_filter> {
        let of = |i: &Instruction| libc::sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.k };
        self.0.iter().map(of).collect()
    }

    /// A program for the kernel, to be run here.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn of(program: &[libc::sock_filter]) -> Self {
        let of = |i: &libc::sock_filter| Instruction { code: i.code, if_true: i.jt, if_false: i.jf, k: i.k };
        Self(program.iter().map(of).collect())
    }

    /// Runs the program: how many bytes of the frame to accept.
    pub(super) fn run(&self, bytes: &[u8], wirelen: u32) -> u32 {
        self.try_run(bytes, wirelen).unwrap_or(0)
    }

    /// `None` when the frame is too short for what the program asks.
    fn try_run(&self, bytes: &[u8], wirelen: u32) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY_WORDS];
        let mut pc = 0usize;
        for _ in 0..MAX_STEPS {
            let &Instruction { code, if_true, if_false, k } = self.0.get(pc)?;
            pc += 1;
            match code & 7 {
                class::LD => a = load(code, k, x, bytes, wirelen, &memory)?,
                class::LDX if code & 0xe0 == mode::NIBBLE => {
                    x = u32::from(*bytes.get(k as usize)? & 0xf) * 4;
                }
                class::LDX => x = load(code, k, x, bytes, wirelen, &memory)?,
                class::ST => *memory.get_mut(k as usize)? = a,
                class::STX => *memory.get_mut(k as usize)? = x,
                class::ALU => a = arithmetic(code, a, if code & 8 == 0 { k } else { x })?,
                class::JMP => {
                    let operand = if code & 8 == 0 { k } else { x };
                    let taken = match code & 0xf0 {
                        0x00 => {
                            // Backward in programs of `protochain`: the offset is signed there.
                            pc = pc.checked_add_signed(k.cast_signed() as isize)?;
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        0x40 => a & operand != 0,
                        _ => return None,
                    };
                    pc += usize::from(if taken { if_true } else { if_false });
                }
                class::RET => {
                    return Some(match code & 0x18 {
                        0x00 => k,
                        0x10 => a,
                        _ => return None,
                    });
                }
                class::MISC if code & 0x80 == 0 => x = a,
                class::MISC => a = x,
                _ => return None,
            }
        }
        None
    }
}

impl Instruction {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let instruction = Self {
            code: fields.next()?.parse().ok()?,
            if_true: fields.next()?.parse().ok()?,
            if_false: fields.next()?.parse().ok()?,
            k: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(instruction)
    }
}

fn load(code: u16, k: u32, x: u32, bytes: &[u8], wirelen: u32, memory: &[u32; MEMORY_WORDS]) -> Option<u32> {
    let at = match code & 0xe0 {
        mode::IMMEDIATE => return Some(k),
        mode::LENGTH => return Some(wirelen),
        mode::MEMORY => return memory.get(k as usize).copied(),
        mode::ABSOLUTE => k as usize,
        mode::INDEXED => k.checked_add(x)? as usize,
        _ => return None,
    };
    let field = bytes.get(at..)?;
    match code & 0x18 {
        0x00 => field.first_chunk().map(|&word| u32::from_be_bytes(word)),
        0x08 => field.first_chunk().map(|&half| u32::from(u16::from_be_bytes(half))),
        0x10 => field.first().map(|&byte| u32::from(byte)),
        _ => None,
    }
}

fn arithmetic(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.checked_shl(operand).unwrap_or(0),
        0x70 => a.checked_shr(operand).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(operand)?,
        0xa0 => a ^ operand,
        _ => return None,
    })
}

/// libpcap's own number (DLT_) of a LINKTYPE_ number; they differ where systems disagreed before files had
/// numbers of their own.
fn dlt(linktype: u16) -> i32 {
    match linktype {
        100 => 11, // ATM_RFC1483
        // RAW, which OpenBSD numbers differently.
        101 => {
            if cfg!(target_os = "openbsd") {
                14
            } else {
                12
            }
        }
        102 => 15, // SLIP_BSDOS
        103 => 16, // PPP_BSDOS
        106 => 19, // ATM_CLIP
        same => i32::from(same),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expressions that use all kinds of instructions.
    const EXPRESSIONS: [&str; 12] = [
        "tcp port 22",
        "host 192.0.2.7 and not icmp",
        "ip6 and udp portrange 1000-2000",
        "vlan 5 and ip",
        "net 10.0.0.0/8 or net 2001:db8::/32",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "ip[2:2] > 576 and ip[8] < 5",
        "ether[0] & 1 = 1",
        "(ip[0] & 0xf) * 4 + ip[1] - 3 = 20",
        "ip[6:2] / (ip[9] + 0) = 3 or ip[1] << 2 = 8 or ip[1] >> 1 = 4",
        "ip protochain 6",
        "mpls or pppoes",
    ];

    /// A frame with a TCP segment to port 22.
    #[rustfmt::skip]
    const SSH: [u8; 54] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
        0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 7, 10, 0, 0, 1,
        0xc0, 0, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];

    fn matches(expression: &str, linktype: u16, bytes: &[u8], wirelen: u32) -> bool {
        Program::compile(expression, linktype).unwrap().run(bytes, wirelen) != 0
    }

    #[test]
    fn a_filter_matches_what_it_says() {
        for (expression, expected) in [
            ("tcp port 22", true),
            ("tcp port 23", false),
            ("src host 192.0.2.7", true),
            ("dst host 192.0.2.7", false),
            ("tcp[tcpflags] & tcp-syn != 0", true),
            ("vlan", false),
            ("", true),
        ] {
            assert_eq!(matches(expression, 1, &SSH, 54), expected, "{expression}");
        }
    }

    #[test]
    fn lengths_are_those_on_the_wire() {
        assert!(matches("greater 1000", 1, &SSH[..20], 1500));
        assert!(!matches("less 100", 1, &SSH[..20], 1500));
        assert!(matches("len = 60", 1, &[], 60));
    }

    #[test]
    fn a_frame_too_short_for_the_question_does_not_match() {
        for length in 0..38 {
            assert!(!matches("tcp port 22", 1, &SSH[..length], 54), "{length} bytes");
            assert!(!matches("not ether[53] = 1", 1, &SSH[..length], 54), "{length} bytes");
        }
    }

    #[test]
    fn the_link_type_decides_where_the_network_layer_begins() {
        assert!(matches("tcp port 22", 101, &SSH[14..], 40));
        assert!(!matches("tcp port 22", 1, &SSH[14..], 40));
        let cooked = [&[0; 14][..], &SSH[12..]].concat();
        assert!(matches("tcp port 22", 113, &cooked, 56));
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let message = Program::compile("host", 1).err().unwrap();
        assert!(message.contains("syntax error"), "{message}");
        assert!(Program::compile("type mgt", 1).is_err());
        assert!(Program::compile("type mgt", 105).is_ok());
        assert!(Program::compile("tcp\0port", 1).is_err());
    }

    #[test]
    fn programs_that_never_end_reject() {
        let forever = Program(vec![Instruction { code: 5, if_true: 0, if_false: 0, k: u32::MAX }]);
        assert_eq!(forever.run(&SSH, 54), 0);
        let nowhere = Program(vec![Instruction { code: 5, if_true: 0, if_false: 0, k: 7 }]);
        assert_eq!(nowhere.run(&SSH, 54), 0);
        assert_eq!(Program(vec![]).run(&SSH, 54), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_program_answers_as_libpcap_does(
            change in prop::collection::vec((0usize..54, any::<u8>()), 0..6),
            random in prop::collection::vec(any::<u8>(), 0..60),
            length in 0usize..=54,
            expression in 0..EXPRESSIONS.len(),
            linktype in prop::sample::select(vec![1u16, 101, 113, 276, 0, 9]),
        ) {
            let mut changed = SSH;
            for (at, byte) in change {
                changed[at] = byte;
            }
            let Ok(ours) = Program::compile(EXPRESSIONS[expression], linktype) else { return Ok(()) };
            let theirs = Capture::dead(Linktype(dlt(linktype))).unwrap();
            let theirs = theirs.compile(EXPRESSIONS[expression], true).unwrap();
            for bytes in [&changed[..length], &random] {
                // An empty slice has no address that libpcap could be given.
                if !bytes.is_empty() {
                    let ours = ours.run(bytes, bytes.len() as u32) != 0;
                    prop_assert_eq!(ours, theirs.filter(bytes), "{} on {:?}", EXPRESSIONS[expression], bytes);
                }
            }
        }
    }
}
