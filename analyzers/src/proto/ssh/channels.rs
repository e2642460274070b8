//! Which channels an encrypted SSH connection opens, from the sizes of its messages (RFC 4254).
//!
//! In: the size of each piece of payload behind both NEWKEYS, and how the two directions pack messages. Out: a forwarded
//! connection, once one was opened, confirmed and used.
//!
//! A client that wants a shell, a command or a subsystem opens a channel of type `session`, whose message has one size in all
//! programs. A client that forwards opens `direct-tcpip` (or `direct-streamlocal`) instead, longer by two addresses; the server's
//! confirmation has one size again. A channel that is opened first and is no session is therefore a forwarded connection. Beside
//! a session the same two sizes may turn up by chance, so more is asked there: see [`Channels::carried`].

use super::packing::Packing;

/// Payloads of messages in bytes (RFC 4252, RFC 4254, OpenSSH PROTOCOL): type, and what is fixed in it.
mod payload {
    /// Only authentication success, and answers to global requests, are that short; everything else before has 15 and more.
    pub(super) const SUCCESS_MAX: usize = 8;
    /// `CHANNEL_OPEN` of a `session`.
    pub(super) const OPEN_SESSION: usize = 24;
    /// `no-more-sessions@openssh.com`, which OpenSSH's client sends once whatever it is for.
    pub(super) const NO_MORE_SESSIONS: usize = 34;
    /// `CHANNEL_OPEN_CONFIRMATION` of all channel types in use.
    pub(super) const CONFIRMATION: usize = 17;
    /// `CHANNEL_SUCCESS`; `WINDOW_ADJUST`, which takes as much with all padding, has 9.
    pub(super) const CHANNEL_SUCCESS: usize = 5;
    /// `CHANNEL_DATA` before its data.
    pub(super) const DATA: usize = 9;
    /// `CHANNEL_OPEN` of `direct-tcpip` and of `forwarded-tcpip` without their two addresses.
    pub(super) const OPEN_DIRECT: usize = 45;
    pub(super) const OPEN_FORWARDED: usize = 48;
    /// The two addresses: at least `::1` and a letter; at most a host name and an IPv6 address (RFC 1035, RFC 4291).
    pub(super) const ADDRESSES_MIN: usize = 4;
    pub(super) const ADDRESSES_MAX: usize = 255 + 45;
}

/// Beside a session: bytes of the first data up and of the answer, so that it is a request of some protocol and not typing.
const REQUEST_MIN: usize = 150;
const ANSWER_MIN: usize = 600;
/// Beside a session: channels that must look so.
const CHANNELS_BESIDE_SESSION: u8 = 2;
/// Answers to several requests that may come in one piece.
const ANSWERS_MAX: usize = 5;

/// Who sent a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// A forwarded connection: sizes in bytes on the wire, and the packets they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// Who opened the channel: the client for its own side's connections (-L, -D), the server for those made to it (-R).
    pub(super) by: Sender,
    pub(super) opening: usize,
    pub(super) opening_packet: u64,
    pub(super) confirmation: usize,
    pub(super) confirmation_packet: u64,
    /// First data of the client and of the server in the channel.
    pub(super) up: usize,
    pub(super) down: usize,
    /// The connection had a session as well.
    pub(super) beside_session: bool,
}

/// Reads the sizes of one connection.
#[derive(Debug)]
pub(super) struct Channels {
    up: Packing,
    down: Packing,
    stage: Stage,
    /// Pieces of each side before authentication succeeded.
    pieces: [u8; 2],
    last: Option<Sender>,
    opening: Opening,
    /// The server has agreed to listen for the client (-R).
    listens: bool,
    /// Channels beside a session that looked forwarded.
    beside: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Authentication,
    /// Authenticated, and no session was opened.
    Bare,
    Session,
}

#[derive(Clone, Copy, Debug)]
enum Opening {
    None,
    Asked { by: Sender, size: usize, packet: u64 },
    Confirmed(Confirmed),
}

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    by: Sender,
    asked: (usize, u64),
    confirmed: (usize, u64),
    first_up: Option<usize>,
    first_down: Option<usize>,
    /// All that the server has sent since.
    down: usize,
}

impl Channels {
    /// Starts where both directions are encrypted.
    pub(super) const fn new(up: Packing, down: Packing) -> Self {
        Self {
            up,
            down,
            stage: Stage::Authentication,
            pieces: [0; 2],
            last: None,
            opening: Opening::None,
            listens: false,
            beside: 0,
        }
    }

    /// Takes a piece of `size` bytes, as TCP carried it; answers the forwarded connection that it proves.
    pub(super) fn piece(&mut self, from: Sender, size: usize, packet: u64) -> Option<Forwarded> {
        let turned = self.last.replace(from).is_some_and(|last| last != from);
        if self.stage == Stage::Authentication {
            self.authenticate(from, size, turned);
            return None;
        }
        // Data of a confirmed channel may be of any size.
        let open = matches!(self.opening, Opening::Confirmed(_));
        if self.stage == Stage::Bare && from == Sender::Client && !open {
            if self.opens_session(size) {
                (self.stage, self.opening) = (Stage::Session, Opening::None);
                return None;
            }
            if size == self.up.size(payload::NO_MORE_SESSIONS) {
                return None;
            }
        }
        match self.opening {
            Opening::Confirmed(channel) => self.used(channel, from, size, packet),
            Opening::Asked { by, size: asked, packet: at } if by != from => {
                self.answered((by, asked, at), size, packet, turned);
                None
            }
            _ => {
                self.ask(from, size, packet);
                None
            }
        }
    }

    /// The server's success ends the authentication: a very short answer, after the service and a method were asked for.
    fn authenticate(&mut self, from: Sender, size: usize, turned: bool) {
        let [client, server] = &mut self.pieces;
        let asked = *client >= 2 && *server >= 1;
        if from == Sender::Server && turned && asked && size <= self.down.size(payload::SUCCESS_MAX) {
            self.stage = Stage::Bare;
            return;
        }
        let count = if from == Sender::Client { client } else { server };
        *count = count.saturating_add(1);
    }

    fn opens_session(&self, size: usize) -> bool {
        let session = self.up.size(payload::OPEN_SESSION);
        size == session || size == session.saturating_add(self.up.size(payload::NO_MORE_SESSIONS))
    }

    /// The sender may have asked for a channel.
    fn ask(&mut self, by: Sender, size: usize, packet: u64) {
        let (packing, fixed) = match by {
            Sender::Client => (self.up, payload::OPEN_DIRECT),
            Sender::Server if self.listens && self.stage == Stage::Bare => {
                (self.down, payload::OPEN_FORWARDED)
            }
            Sender::Server => return,
        };
        let least = packing.size(fixed.saturating_add(payload::ADDRESSES_MIN));
        let most = packing.size(fixed.saturating_add(payload::ADDRESSES_MAX));
        // A request to listen is shorter, and its answer tells it apart.
        let least =
            if self.stage == Stage::Bare { least.min(packing.size(payload::OPEN_SESSION)) } else { least };
        self.opening =
            if (least..=most).contains(&size) { Opening::Asked { by, size, packet } } else { Opening::None };
    }

    /// The other side's first piece after a possible opening.
    fn answered(&mut self, (by, asked, at): (Sender, usize, u64), size: usize, packet: u64, turned: bool) {
        let packing = if by == Sender::Client { self.down } else { self.up };
        let confirmation = packing.size(payload::CONFIRMATION);
        let fixed = if by == Sender::Client { payload::OPEN_DIRECT } else { payload::OPEN_FORWARDED };
        let opener = if by == Sender::Client { self.up } else { self.down };
        let long_enough = asked >= opener.size(fixed.saturating_add(payload::ADDRESSES_MIN));
        if size == confirmation && long_enough && (turned || self.stage == Stage::Bare) {
            self.opening = Opening::Confirmed(Confirmed {
                by,
                asked: (asked, at),
                confirmed: (size, packet),
                first_up: None,
                first_down: None,
                down: 0,
            });
            return;
        }
        let success = packing.size(1);
        if self.stage == Stage::Session {
            self.opening = Opening::None;
        } else if by == Sender::Client {
            // Host keys and the like may come in between; the answer to a global request settles what was asked.
            if is_multiple(size, success) {
                (self.listens, self.opening) = (true, Opening::None);
            } else if is_multiple(size.saturating_sub(confirmation), success) {
                (self.stage, self.opening) = (Stage::Session, Opening::None);
            }
        } else {
            self.opening = Opening::None;
        }
    }

    /// A piece behind a confirmed opening.
    fn used(&mut self, mut channel: Confirmed, from: Sender, size: usize, packet: u64) -> Option<Forwarded> {
        match from {
            Sender::Client => {
                channel.first_up.get_or_insert(size);
            }
            Sender::Server => {
                // A session's requests are answered so: what looked like a forwarded channel was a session among other messages.
                let answers = is_multiple(size, self.down.size(payload::CHANNEL_SUCCESS));
                if self.stage == Stage::Bare && channel.first_down.is_none() && answers {
                    (self.stage, self.opening) = (Stage::Session, Opening::None);
                    return None;
                }
                if self.stage == Stage::Session && channel.first_up.is_none() {
                    self.opening = Opening::None;
                    return None;
                }
                channel.first_down.get_or_insert(size);
                channel.down = channel.down.saturating_add(size);
            }
        }
        self.opening = Opening::Confirmed(channel);
        let found = self.carried(channel);
        if found.is_none()
            && self.stage == Stage::Session
            && from == Sender::Client
            && channel.first_down.is_some()
        {
            self.ask(from, size, packet); // that one came to nothing
        }
        found
    }

    /// Whether the channel has carried a connection. Where no session was opened, data in both directions is enough. Beside a session it
    /// takes a request and an answer of such sizes, with nothing in between, on two channels.
    fn carried(&mut self, channel: Confirmed) -> Option<Forwarded> {
        let (up, down) = (channel.first_up?, channel.first_down?);
        let beside_session = self.stage == Stage::Session;
        if beside_session {
            if up < self.up.size(payload::DATA.saturating_add(REQUEST_MIN)) {
                self.opening = Opening::None;
                return None;
            }
            if channel.down < ANSWER_MIN {
                return None;
            }
            self.beside = self.beside.saturating_add(1);
            self.opening = Opening::None;
            if self.beside < CHANNELS_BESIDE_SESSION {
                return None;
            }
        }
        Some(Forwarded {
            by: channel.by,
            opening: channel.asked.0,
            opening_packet: channel.asked.1,
            confirmation: channel.confirmed.0,
            confirmation_packet: channel.confirmed.1,
            up,
            down,
            beside_session,
        })
    }
}

/// Whether `size` is one to a few times `unit`.
fn is_multiple(size: usize, unit: usize) -> bool {
    (1..=ANSWERS_MAX).any(|n| size == unit.saturating_mul(n))
}
