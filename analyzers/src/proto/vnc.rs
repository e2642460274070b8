//! VNC: the Remote Framebuffer protocol (RFC 6143), with the community's extensions.
//!
//! In: a byte stream, bare TCP or the inside of a WebSocket. Out: the label `vnc` once both sides have spoken their versions, or one
//! side goes on as it only does after that; the security that was chosen; the desktop's name and size where they go in clear.
//! After a choice of TLS the later bytes are handed on as the inner stream.
//!
//! The server always speaks first, also where it called its listening viewer: that side is the operated one.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict,
};

#[path = "vnc/midstream.rs"]
mod midstream;
#[path = "vnc/wire.rs"]
mod wire;

use wire::{Choice, Version};

const BANNER: Kind =
    Kind { name: "vnc.banner", decibans: 25, says: "an RFB version, spoken by one side (RFC 6143 7.1.1)" };
const VERSIONS: Kind =
    Kind { name: "vnc.versions", decibans: 45, says: "both sides have spoken RFB versions (RFC 6143 7.1.1)" };
const SECURITY: Kind = Kind {
    name: "vnc.security",
    decibans: 15,
    says: "security types offered by the server, and the client's choice (RFC 6143 7.1.2)",
};
const REFUSED: Kind = Kind {
    name: "vnc.refused",
    decibans: 5,
    says: "the server refused the connection or the authentication (RFC 6143 7.1.3)",
};
const DESKTOP: Kind =
    Kind { name: "vnc.desktop", decibans: 20, says: "name and size of the desktop (RFC 6143 7.3.2)" };
const REPEATER: Kind = Kind {
    name: "vnc.repeater",
    decibans: 10,
    says: "an UltraVNC repeater stands between viewer and server (version 000.000, or an ID block before the version)",
};
const INPUT: Kind = Kind {
    name: "vnc.input",
    decibans: 25,
    says: "a chain of RFB client messages with exact lengths (RFC 6143 7.5)",
};

/// Pieces of the server's, or begun in the midst of a message, before the client's must have been recognised.
const OTHERS_MAX: u8 = 24;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The direction in which the server sends.
    server: Option<Dir>,
    versions: [Option<Version>; 2],
    /// Behind a repeater's version, a viewer first says whom it wants.
    repeater: bool,
    stage: Stage,
    /// The opening is not in the capture.
    late: bool,
    /// Pieces that are no client's, of a capture that began late.
    others: u8,
}

/// What comes next once both versions are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Offer,
    Choose,
    VeNCryptVersion,
    VeNCryptAnswer,
    VeNCryptOffer,
    VeNCryptChoose,
    VeNCryptGo,
    Challenge,
    Response,
    Result,
    Reason,
    ClientInit,
    ServerInit,
    /// All is TLS from here on.
    Tls,
}

impl Stage {
    /// Whether the server is to speak.
    const fn is_servers(self) -> bool {
        matches!(
            self,
            Self::Offer
                | Self::VeNCryptVersion
                | Self::VeNCryptOffer
                | Self::VeNCryptGo
                | Self::Challenge
                | Self::Result
                | Self::Reason
                | Self::ServerInit
        )
    }
}

/// What a step made of the bytes before it.
enum Step {
    Consumed(usize),
    Done,
}

impl State {
    /// Reads this direction's version, and what a repeater has before it.
    fn version(&mut self, dir: Dir, data: &[u8], out: &mut Out) -> Result<Option<Step>, Short> {
        let skipped =
            if self.repeater || wire::is_repeater_id(data) { wire::repeater_block(data, true)? } else { 0 };
        let Some(version) = Version::parse(data.get(skipped..).unwrap_or(&[]))? else { return Ok(None) };
        let server = *self.server.get_or_insert(dir);
        roles(out, server.reverse());
        let consumed = skipped.saturating_add(wire::VERSION_LEN);
        if version.is_repeater() {
            self.repeater = true;
            out.evidence(&REPEATER, "version 000.000");
            return Ok(Some(Step::Consumed(consumed)));
        }
        if skipped > 0 {
            out.evidence(&REPEATER, wire::repeater_text(data));
        }
        if let Some(slot) = self.versions.get_mut(dir.index()) {
            *slot = Some(version);
        }
        match (self.spoken(server), self.spoken(server.reverse())) {
            (Some(s), Some(c)) => {
                out.evidence(&VERSIONS, format!("server {s}, client {c}"));
                out.is("vnc");
            }
            (Some(s), None) => out.evidence(&BANNER, format!("server {s}")),
            _ => {}
        }
        Ok(Some(Step::Consumed(consumed)))
    }

    fn spoken(&self, dir: Dir) -> Option<Version> {
        self.versions.get(dir.index()).copied().flatten()
    }

    /// The version both sides then speak: the client's, which may be lower than the server's (RFC 6143 7.1.1).
    fn agreed(&self) -> Option<Version> {
        let server = self.server?;
        Some(self.spoken(server)?.min(self.spoken(server.reverse())?))
    }

    /// The next message of the security and initialisation phases.
    fn step(&mut self, agreed: Version, data: &[u8], out: &mut Out) -> Result<Step, Short> {
        let (consumed, next) = match self.stage {
            Stage::Offer if agreed.server_decides() => {
                let (choice, consumed) = wire::decision(data)?;
                (consumed, self.chosen(choice, agreed, out))
            }
            Stage::Offer => {
                let (types, consumed) = wire::offer(data)?;
                if types.is_empty() {
                    (consumed, Some(Stage::Reason))
                } else {
                    out.evidence(&SECURITY, format!("offers {}", wire::names(types)));
                    (consumed, Some(Stage::Choose))
                }
            }
            Stage::Choose => {
                let (choice, consumed) = wire::choice(data)?;
                (consumed, self.chosen(choice, agreed, out))
            }
            Stage::VeNCryptVersion => (wire::vencrypt_version(data)?, Some(Stage::VeNCryptAnswer)),
            Stage::VeNCryptAnswer => (wire::vencrypt_version(data)?, Some(Stage::VeNCryptOffer)),
            Stage::VeNCryptOffer => (wire::vencrypt_offer(data)?, Some(Stage::VeNCryptChoose)),
            Stage::VeNCryptChoose => {
                let (name, tls, consumed) = wire::vencrypt_choice(data)?;
                out.evidence(&SECURITY, format!("VeNCrypt {name}"));
                (consumed, tls.then_some(Stage::VeNCryptGo))
            }
            Stage::VeNCryptGo => {
                let (go, consumed) = wire::byte(data)?;
                (consumed, (go == 1).then_some(Stage::Tls))
            }
            Stage::Challenge => (wire::challenge(data)?, Some(Stage::Response)),
            Stage::Response => (wire::challenge(data)?, Some(Stage::Result)),
            Stage::Result => {
                let (result, consumed) = wire::result(data)?;
                if result == 0 {
                    (consumed, Some(Stage::ClientInit))
                } else {
                    refused(out, format!("authentication failed ({result})"));
                    (consumed, None)
                }
            }
            Stage::Reason => {
                let (reason, consumed) = wire::reason(data)?;
                refused(out, reason);
                (consumed, None)
            }
            Stage::ClientInit => (wire::byte(data)?.1, Some(Stage::ServerInit)),
            Stage::ServerInit => {
                let (desktop, consumed) = wire::server_init(data)?;
                out.evidence(&DESKTOP, desktop);
                (consumed, None)
            }
            Stage::Tls => {
                out.inner.extend_from_slice(data);
                (data.len(), Some(Stage::Tls))
            }
        };
        Ok(match next {
            Some(next) => {
                self.stage = next;
                Step::Consumed(consumed)
            }
            None => Step::Done,
        })
    }

    /// What follows a choice of security; nothing for types that are not looked into.
    fn chosen(&self, choice: Choice, agreed: Version, out: &mut Out) -> Option<Stage> {
        if choice != Choice::INVALID {
            out.evidence(&SECURITY, format!("chosen: {choice}"));
        }
        match choice {
            Choice::INVALID => Some(Stage::Reason),
            Choice::NONE if agreed.confirms_none() => Some(Stage::Result),
            Choice::NONE => Some(Stage::ClientInit),
            Choice::VNC => Some(Stage::Challenge),
            Choice::TLS => Some(Stage::Tls),
            Choice::VENCRYPT => Some(Stage::VeNCryptVersion),
            _ => None,
        }
    }

    /// One-sided capture: a side that goes on has had an answer to its version.
    fn goes_on(&self, dir: Dir, data: &[u8], out: &mut Out) -> bool {
        if wire::offer_alone(data) {
            roles(out, dir.reverse());
            out.evidence(&SECURITY, "the server goes on to its security types");
        } else if midstream::is_client_behind_version(data) == Ok(true) {
            roles(out, dir);
            out.evidence(&INPUT, "the client goes on to its messages");
        } else {
            return false;
        }
        out.is("vnc");
        true
    }
}

/// `client` is the direction in which the viewer sends; the desktop is at the other end.
fn roles(out: &mut Out, client: Dir) {
    out.client = Some(client.sender());
    out.controlled = Some(client.receiver());
}

/// Nobody gets to operate the desktop, though the session is VNC.
fn refused(out: &mut Out, why: String) {
    out.evidence(&REFUSED, why);
    out.controlled = None;
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "vnc",
        title: "VNC (RFB)",
        label: Some("vnc"),
        app_proto: "rfb",
        transports: &[Transport::Tcp],
        ports: &[5900, 5901, 5902, 5903, 5500],
        first: FirstBytes::of(wire::FIRST),
        budget: 16_384,
        carrier: false,
        reference: "RFC 6143; rfbproto (security types 5 to 36, VeNCrypt 0.2, fence, continuous updates)",
        evidence: &[BANNER, VERSIONS, SECURITY, REFUSED, DESKTOP, REPEATER, INPUT],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start && midstream::is_promising(p.data) == Ok(true) {
            return Verdict::Yes;
        }
        let skipped = match wire::repeater_block(p.data, wire::is_repeater_id(p.data)) {
            Ok(n) => n,
            Err(Short) => return Verdict::More,
        };
        match Version::parse(p.data.get(skipped..).unwrap_or(&[])) {
            Ok(Some(_)) => Verdict::Yes,
            // The server's side may have to be passed by until the client speaks.
            Ok(None) if !p.from_start => Verdict::More,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut consumed = 0_usize;
        self.late |= seg.gap && self.server.is_none();
        if seg.gap && self.spoken(seg.dir).is_some() {
            return Next::Done;
        }
        loop {
            let rest = seg.data.get(consumed..).unwrap_or(&[]);
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            let step = match (self.spoken(seg.dir), self.agreed()) {
                (None, _) => match self.version(seg.dir, rest, out) {
                    Ok(Some(step)) => Ok(step),
                    Ok(None) if self.server.is_none() && self.late => match midstream::client(rest) {
                        Ok(true) => {
                            roles(out, seg.dir);
                            out.evidence(&INPUT, "requests for updates, keys, pointer");
                            out.is("vnc");
                            out.basis = Basis::Midstream;
                            return Next::Done;
                        }
                        Ok(false) => {
                            self.others = self.others.saturating_add(1);
                            if self.others > OTHERS_MAX {
                                return Next::NotMine;
                            }
                            Ok(Step::Consumed(rest.len()))
                        }
                        Err(Short) => Err(Short),
                    },
                    // A banner that something else answers is still a banner.
                    Ok(None) if self.server.is_some() => return Next::Done,
                    Ok(None) => return Next::NotMine,
                    Err(Short) => Err(Short),
                },
                (Some(_), None) if self.goes_on(seg.dir, rest, out) => return Next::Done,
                (Some(_), None) => Err(Short),
                (Some(_), Some(agreed)) => {
                    let servers = self.stage.is_servers() == (self.server == Some(seg.dir));
                    if servers || self.stage == Stage::Tls {
                        self.step(agreed, rest, out)
                    } else {
                        Err(Short)
                    }
                }
            };
            match step {
                Ok(Step::Consumed(n)) => consumed = consumed.saturating_add(n).min(seg.data.len()),
                Ok(Step::Done) => return Next::Done,
                Err(Short) => return Next::Continue { consumed },
            }
        }
    }
}

#[cfg(test)]
#[path = "vnc/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
