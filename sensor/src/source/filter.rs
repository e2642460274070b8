//! tcpdump's filters on the frames as they were captured.
//!
//! In: an expression, and frames of any link type. Out: whether a frame passes. libpcap compiles the
//! expression once per link type; [`super::bpf`] runs the program. Like tcpdump's, a filter sees the outer
//! headers only.

use super::{
    Frame, OpenError,
    problem::{Log, ProblemKind},
};

#[cfg(feature = "libpcap")]
use super::bpf::Program;

/// Link types that a filter is tried on when those of the inputs are not known yet, or do not accept it:
/// Ethernet, 802.11 (radiotap and bare), raw IP, Linux cooked, BSD loopback, PPP. One of them accepts every
/// expression that is not wrong.
const COMMON_DLTS: [u16; 8] = [1, 127, 105, 101, 113, 276, 0, 9];

/// A program that cannot exist: this build has no compiler.
#[cfg(not(feature = "libpcap"))]
enum Program {}

#[cfg(not(feature = "libpcap"))]
impl Program {
    fn compile(_: &str, _: u16) -> Result<Self, String> {
        Err("built without libpcap".into())
    }

    fn run(&self, _: &[u8], _: u32) -> u32 {
        match *self {}
    }
}

/// A filter as a program for the kernel, which takes the whole of what passes.
///
/// # Errors
/// When libpcap rejects the expression for this link type, or this build is without libpcap.
#[cfg(target_os = "linux")]
pub(super) fn kernel_program(expression: &str, dlt: u16) -> Result<Vec<libc::sock_filter>, OpenError> {
    #[cfg(feature = "libpcap")]
    return Program::compile(expression, dlt)
        .map(|program| program.kernel())
        .map_err(|message| OpenError::Filter { filter: expression.into(), message });
    #[cfg(not(feature = "libpcap"))]
    {
        let _ = dlt;
        Err(OpenError::FilterUnsupported(expression.into()))
    }
}

/// A filter with its programs for the link types met so far.
pub(super) struct Filter {
    expression: String,
    /// `None` for a link type that the expression means nothing for.
    programs: Vec<(u16, Option<Program>)>,
    /// Index of the program used last: link types rarely alternate.
    last: usize,
}

impl Filter {
    /// Checks the expression; `dlts` are the link types of the inputs as far as they are known.
    ///
    /// # Errors
    /// When libpcap rejects the expression for all link types, or this build is without libpcap.
    pub(super) fn new(expression: &str, dlts: &[u16]) -> Result<Self, OpenError> {
        if cfg!(not(feature = "libpcap")) {
            return Err(OpenError::FilterUnsupported(expression.into()));
        }
        let mut first_error = None;
        for &dlt in dlts.iter().chain(&COMMON_DLTS) {
            match Program::compile(expression, dlt) {
                Ok(_) => return Ok(Self { expression: expression.into(), programs: Vec::new(), last: 0 }),
                Err(message) => first_error = first_error.or(Some(message)),
            }
        }
        let message = first_error.unwrap_or_default();
        Err(OpenError::Filter { filter: expression.into(), message })
    }

    /// Whether the frame with these captured bytes passes.
    pub(super) fn accepts(&mut self, frame: &Frame, bytes: &[u8], log: &mut Log<'_>) -> bool {
        if self.programs.get(self.last).is_none_or(|&(dlt, _)| dlt != frame.dlt) {
            self.last = self.index_of(frame.dlt, log);
        }
        self.programs[self.last].1.as_ref().is_some_and(|program| program.run(bytes, frame.wirelen) != 0)
    }

    fn index_of(&mut self, dlt: u16, log: &mut Log<'_>) -> usize {
        if let Some(index) = self.programs.iter().position(|&(known, _)| known == dlt) {
            return index;
        }
        let program = Program::compile(&self.expression, dlt);
        if let Err(message) = &program {
            let expression = &self.expression;
            let detail = format!(
                "filter '{expression}' rejects all packets of link type {dlt}, as it has no meaning there: {message}"
            );
            log.problem(ProblemKind::FilterNotApplicable, None, detail);
        }
        self.programs.push((dlt, program.ok()));
        self.programs.len() - 1
    }
}

#[cfg(all(test, feature = "libpcap"))]
mod tests {
    use super::{
        super::{
            Inputs, Options, Source,
            fixtures::{Order, Reading, interface, packet, section},
        },
        *,
    };

    /// Ethernet frames of protocols 0x0800, 0x86dd and 0x0806.
    const IPV4: [u8; 34] = with_type([0x08, 0x00]);
    const IPV6: [u8; 34] = with_type([0x86, 0xdd]);
    const ARP: [u8; 34] = with_type([0x08, 0x06]);

    const fn with_type(ethertype: [u8; 2]) -> [u8; 34] {
        let mut frame = [0; 34];
        frame[12] = ethertype[0];
        frame[13] = ethertype[1];
        frame[14] = 0x45;
        frame
    }

    fn filtered(expression: &str, packets: &[(u32, &[u8])]) -> Reading {
        let order = Order::Big;
        let mut file =
            [section(order, &[]), interface(order, 1, 0, &[]), interface(order, 101, 0, &[])].concat();
        for (interface, bytes) in packets {
            file.extend(packet(order, *interface, 0, bytes, &[]));
        }
        let options = Options { filter: Some(expression.into()) };
        Reading::new(Inputs::from_stream("-", Box::new(std::io::Cursor::new(file)), &options).unwrap(), 100)
    }

    #[test]
    fn frames_keep_the_number_they_have_without_the_filter() {
        let reading = filtered("ip", &[(0, &ARP), (0, &IPV4), (0, &IPV6), (0, &IPV4)]);
        let numbers: Vec<_> = reading.frames.iter().map(|(frame, _)| frame.number).collect();
        assert_eq!(numbers, [2, 4]);
        assert_eq!((reading.files()[0].packets, reading.files()[0].filtered), (4, 2));
        let counters = reading.source.counters();
        assert_eq!((counters.frames, counters.filtered), (2, 2));
    }

    #[test]
    fn each_link_type_has_its_own_program() {
        let reading = filtered("ip", &[(0, &IPV4), (1, &IPV4[14..]), (1, &IPV6), (0, &ARP), (0, &IPV4)]);
        let numbers: Vec<_> = reading.frames.iter().map(|(frame, _)| frame.number).collect();
        assert_eq!(numbers, [1, 2, 5]);
        assert_eq!(reading.kinds(), []);
    }

    #[test]
    fn a_filter_that_means_nothing_for_a_link_type_rejects_it_with_a_note() {
        let reading = filtered("ether multicast", &[(0, &[1; 34]), (1, &IPV4[14..]), (1, &IPV4[14..])]);
        assert_eq!(reading.frames.len(), 1);
        assert_eq!(reading.kinds(), [ProblemKind::FilterNotApplicable]);
        assert!(reading.problems()[0].detail.contains("link type 101"), "{}", reading.problems()[0]);
    }

    #[test]
    fn a_filter_that_is_wrong_is_an_error_with_the_reason() {
        let error = Filter::new("tcp prot 22", &[113]).err().unwrap().to_string();
        assert!(error.starts_with("filter 'tcp prot 22': "), "{error}");
        assert!(error.contains("syntax error"), "{error}");
    }

    #[test]
    fn a_filter_for_wireless_networks_is_right_before_the_link_type_is_known() {
        assert!(Filter::new("type mgt", &[]).is_ok());
    }
}

#[cfg(all(test, not(feature = "libpcap")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_libpcap_says_that_it_has_no_filters() {
        let error = Filter::new("tcp port 22", &[1]).err().unwrap().to_string();
        assert!(error.contains("built without the feature `libpcap`"), "{error}");
    }
}
