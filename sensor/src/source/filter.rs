//! tcpdump's filters on the frames as they were captured.
//!
//! In: an expression, and frames of any link type. Out: whether a frame passes. libpcap compiles the expression once per
//! link type; [`super::bpf`] runs the program. Like tcpdump's, a filter sees the outer headers only.

use super::{
    Frame, OpenError,
    problem::{Log, ProblemKind},
};

#[cfg(feature = "libpcap")]
use super::bpf::Program;

/// Link types that a filter is tried on when those of the inputs are not known yet, or do not accept it: Ethernet, 802.11
/// (radiotap and bare), raw IP, Linux cooked, BSD loopback, PPP. One of them accepts every expression that is not wrong.
#[cfg(feature = "libpcap")]
const COMMON_DLTS: [u16; 8] = [1, 127, 105, 101, 113, 276, 0, 9];

/// Programs this build cannot have.
#[cfg(not(feature = "libpcap"))]
enum Program {}

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
    #[cfg(feature = "libpcap")]
    pub(super) fn new(expression: &str, dlts: &[u16]) -> Result<Self, OpenError> {
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

    /// Fails: this build is without libpcap.
    #[cfg(not(feature = "libpcap"))]
    pub(super) fn new(expression: &str, _: &[u16]) -> Result<Self, OpenError> {
        Err(OpenError::FilterUnsupported(expression.into()))
    }

    /// Whether the frame with these captured bytes passes.
    pub(super) fn accepts(&mut self, frame: &Frame, bytes: &[u8], log: &mut Log<'_>) -> bool {
        if self.programs.get(self.last).is_none_or(|&(dlt, _)| dlt != frame.dlt) {
            self.last = self.index_of(frame.dlt, log);
        }
        match &self.programs[self.last].1 {
            #[cfg(feature = "libpcap")]
            Some(program) => program.run(bytes, frame.wirelen) != 0,
            #[cfg(not(feature = "libpcap"))]
            Some(program) => match (*program, bytes) {},
            None => false,
        }
    }

    #[cfg(feature = "libpcap")]
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

    #[cfg(not(feature = "libpcap"))]
    fn index_of(&mut self, dlt: u16, log: &mut Log<'_>) -> usize {
        log.problem(
            ProblemKind::FilterNotApplicable,
            None,
            format!("filter '{}' cannot be compiled", self.expression),
        );
        self.programs.push((dlt, None));
        self.programs.len() - 1
    }
}
