//! Which channels an encrypted SSH connection opens, from the sizes of its messages (RFC 4254).
//!
//! In: the size of each piece of payload behind both NEWKEYS, and how the two directions pack messages. Out: a forwarded
//! connection, once one was opened, confirmed and used.
//!
//! A client that wants a shell, a command or a subsystem opens a channel of type `session`, whose message has one size in all
//! programs. A client that forwards opens `direct-tcpip` (or `direct-streamlocal`) instead, longer by two addresses; the server's
//! confirmation has one size again. A channel that is opened first and is no session is therefore a forwarded connection. Beside
//! a session the same two sizes may turn up by chance, so more is asked there (`ssh/beside.rs`).

use super::beside::Beside;
use super::packing::Packing;

/// Payloads of messages in bytes (RFC 4252, RFC 4254, OpenSSH PROTOCOL): type, and what is fixed in it.
pub(super) mod payload {
    /// The shortest message of a server before authentication succeeds: a failure that leaves one method of eight letters. Success has
    /// one byte; dropbear pads it further than others.
    pub(in super::super) const FAILURE_MIN: usize = 14;
    /// Answers to global requests.
    pub(in super::super) const REQUEST_SUCCESS: usize = 1;
    /// `CHANNEL_OPEN` of a `session`.
    pub(in super::super) const OPEN_SESSION: usize = 24;
    /// `no-more-sessions@openssh.com`, which OpenSSH's client sends once whatever it is for.
    pub(in super::super) const NO_MORE_SESSIONS: usize = 34;
    /// `CHANNEL_OPEN_CONFIRMATION` of all channel types in use.
    pub(in super::super) const CONFIRMATION: usize = 17;
    /// `CHANNEL_SUCCESS`, `CHANNEL_EOF` and `CHANNEL_CLOSE`.
    pub(in super::super) const CHANNEL_SUCCESS: usize = 5;
    pub(in super::super) const WINDOW_ADJUST: usize = 9;
    /// `CHANNEL_DATA` before its data.
    pub(in super::super) const DATA: usize = 9;
    /// `CHANNEL_OPEN` of `direct-tcpip` and of `forwarded-tcpip` without their two addresses.
    pub(in super::super) const OPEN_DIRECT: usize = 45;
    pub(in super::super) const OPEN_FORWARDED: usize = 48;
    /// The two addresses: at least `::1` and a letter; at most a host name and an IPv6 address (RFC 1035, RFC 4291).
    pub(in super::super) const ADDRESSES_MIN: usize = 4;
    pub(in super::super) const ADDRESSES_MAX: usize = 255 + 45;
}

/// Answers to several requests that may come in one piece.
const ANSWERS_MAX: usize = 5;
/// Bytes of a greeting that a server sends as soon as it is connected to, in one piece with the confirmation.
const GREETING_MAX: usize = 300;
/// Bytes of a server's list of host keys (one RSA key, or several) at least, and of a client's list of those to be proved at most;
/// computed from OpenSSH PROTOCOL 2.5.
const HOST_KEYS_MIN: usize = 300;
const DOUBT_MAX: usize = 1_100;

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
    pub(super) opening: Piece,
    pub(super) confirmation: Piece,
    /// First data of the client and of the server in the channel.
    pub(super) up: usize,
    pub(super) down: usize,
    /// The connection had a session as well.
    pub(super) beside_session: bool,
}

/// A piece of payload: its size, and the packet it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) size: usize,
    pub(super) packet: u64,
}

/// Sizes of both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) up: Packing,
    pub(super) down: Packing,
}

impl Sizes {
    /// Bytes on the wire of a message of `payload` bytes by `sender`.
    pub(super) fn of(&self, sender: Sender, payload: usize) -> usize {
        if sender == Sender::Client { self.up.size(payload) } else { self.down.size(payload) }
    }

    /// Least and largest size of a message by which `sender` opens a forwarded channel.
    pub(super) fn opening(&self, sender: Sender) -> std::ops::RangeInclusive<usize> {
        let fixed = if sender == Sender::Client { payload::OPEN_DIRECT } else { payload::OPEN_FORWARDED };
        let of = |addresses: usize| self.of(sender, fixed.saturating_add(addresses));
        of(payload::ADDRESSES_MIN)..=of(payload::ADDRESSES_MAX)
    }
}

/// Reads the sizes of one connection.
#[derive(Debug)]
pub(super) struct Channels {
    sizes: Sizes,
    stage: Stage,
    /// Pieces of each side before authentication succeeded.
    pieces: [u8; 2],
    last: Option<Sender>,
    opening: Opening,
    /// The client has sent what OpenSSH's does once, or something of its size.
    no_more_sessions: bool,
    /// The server has agreed to listen for the client (-R).
    listens: bool,
    host_keys: HostKeys,
}

/// What is said of host keys behind the authentication (hostkeys-00@openssh.com, OpenSSH PROTOCOL 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostKeys {
    Unknown,
    /// The server has told them.
    Told,
    /// The client has asked for a proof of those it did not know.
    Doubted,
}

#[derive(Debug)]
enum Stage {
    Authentication,
    /// Authenticated, and no session was opened.
    Bare,
    Session(Beside),
}

#[derive(Clone, Copy, Debug)]
enum Opening {
    None,
    Asked(Asked),
    Confirmed(Confirmed),
}

/// A piece that may hold an opening.
#[derive(Clone, Copy, Debug)]
struct Asked {
    by: Sender,
    piece: Piece,
    /// Of the size of a session's opening, and not for OpenSSH's other message of perhaps the same size.
    session: bool,
    /// A request in it was granted: if a confirmation comes as well, it is of a session.
    granted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    by: Sender,
    opening: Piece,
    confirmation: Piece,
    first_up: Option<usize>,
    first_down: Option<usize>,
}

impl Channels {
    /// Starts where both directions are encrypted.
    pub(super) const fn new(up: Packing, down: Packing) -> Self {
        Self {
            sizes: Sizes { up, down },
            stage: Stage::Authentication,
            pieces: [0; 2],
            last: None,
            opening: Opening::None,
            no_more_sessions: false,
            listens: false,
            host_keys: HostKeys::Unknown,
        }
    }

    /// Takes a piece of `size` bytes, as TCP carried it; answers the forwarded connection that it proves.
    pub(super) fn piece(&mut self, from: Sender, size: usize, packet: u64) -> Option<Forwarded> {
        let piece = Piece { size, packet };
        let turned = self.last.replace(from).is_some_and(|last| last != from);
        if matches!(self.stage, Stage::Bare)
            && from == Sender::Server
            && size >= HOST_KEYS_MIN
            && self.host_keys == HostKeys::Unknown
        {
            self.host_keys = HostKeys::Told;
        }
        match &mut self.stage {
            Stage::Authentication => self.authenticate(from, size, turned),
            Stage::Session(beside) => return beside.piece(&self.sizes, from, piece),
            Stage::Bare => match self.opening {
                Opening::Confirmed(channel) => return self.used(channel, from, size),
                Opening::Asked(asked) if asked.by != from => self.answered(asked, piece),
                _ if from == Sender::Client => self.client_asks(piece),
                _ => self.server_asks(piece),
            },
        }
        None
    }

    /// The server's success ends the authentication: a very short answer, after the service and a method were asked for.
    fn authenticate(&mut self, from: Sender, size: usize, turned: bool) {
        let [client, server] = &mut self.pieces;
        let asked = *client >= 2 && *server >= 1;
        if from == Sender::Server && turned && asked && size < self.sizes.of(from, payload::FAILURE_MIN) {
            self.stage = Stage::Bare;
            return;
        }
        let count = if from == Sender::Client { client } else { server };
        *count = count.saturating_add(1);
    }

    /// A piece of the client's while no channel is open. The answer tells what it was.
    fn client_asks(&mut self, piece: Piece) {
        let by = Sender::Client;
        let session = self.sizes.of(by, payload::OPEN_SESSION);
        let no_more = self.sizes.of(by, payload::NO_MORE_SESSIONS);
        let unanswered = matches!(self.opening, Opening::Asked(Asked { session: true, .. }));
        if unanswered || piece.size == session.saturating_add(no_more) && !self.no_more_sessions {
            self.has_session();
            return;
        }
        let is_session = piece.size == session && (session != no_more || self.no_more_sessions);
        self.no_more_sessions |= piece.size == no_more;
        let most = *self.sizes.opening(by).end();
        if (session..=most).contains(&piece.size) {
            self.opening = Opening::Asked(Asked { by, piece, session: is_session, granted: false });
        } else if self.host_keys == HostKeys::Told && (most..=DOUBT_MAX).contains(&piece.size) {
            self.host_keys = HostKeys::Doubted;
        } else {
            self.has_session(); // nothing that a client without one says: a new key exchange, or a session that went by unseen
        }
    }

    /// A piece of the server's while no channel is open: one to the client, where the server listens for it.
    fn server_asks(&mut self, piece: Piece) {
        let by = Sender::Server;
        if self.listens && self.sizes.opening(by).contains(&piece.size) {
            self.opening = Opening::Asked(Asked { by, piece, session: false, granted: false });
        }
    }

    fn has_session(&mut self) {
        // The answer to a request to listen may still be on its way.
        let requested = matches!(self.opening, Opening::Asked(_));
        (self.stage, self.opening) = (Stage::Session(Beside::new(self.listens, requested)), Opening::None);
    }

    /// The other side's piece after what may have been an opening.
    fn answered(&mut self, asked: Asked, piece: Piece) {
        let by_client = asked.by == Sender::Client;
        let other = if by_client { Sender::Server } else { Sender::Client };
        let confirmation = self.sizes.of(other, payload::CONFIRMATION);
        let behind = piece.size.checked_sub(confirmation).filter(|n| *n > 0);
        let greeting = behind.filter(|n| by_client && self.is_greeting(*n));
        let opens = self.sizes.opening(asked.by).contains(&asked.piece.size) && !asked.granted;
        if opens && (piece.size == confirmation || greeting.is_some()) {
            self.opening = Opening::Confirmed(Confirmed {
                by: asked.by,
                opening: asked.piece,
                confirmation: piece,
                first_up: None,
                first_down: greeting,
            });
            return;
        }
        if !by_client {
            self.opening = Opening::None;
            return;
        }
        let success = self.sizes.of(other, payload::REQUEST_SUCCESS);
        let channel_success = self.sizes.of(other, payload::CHANNEL_SUCCESS);
        if piece.size == confirmation || behind.is_some_and(|n| is_multiple(n, success)) {
            self.has_session();
        } else if piece.size == success {
            self.listens = true;
            self.opening = Opening::Asked(Asked { granted: true, session: false, ..asked });
        } else if is_multiple(piece.size, channel_success) {
            self.has_session(); // its opening went by unseen
        } else if asked.granted {
            self.server_asks(piece);
        } else if !opens && self.is_packet(piece.size.saturating_sub(success)) {
            // A request granted, and used at once, in one piece.
            if self.sizes.opening(other).contains(&piece.size.saturating_sub(success)) {
                self.listens = true;
                self.server_asks(piece);
            }
        }
        // Else host keys and the like: the answer is still to come.
    }

    /// Whether `size` is that of one message of data, as a server's greeting.
    fn is_greeting(&self, size: usize) -> bool {
        let of = |data: usize| self.sizes.of(Sender::Server, payload::DATA.saturating_add(data));
        (of(1)..=of(GREETING_MAX)).contains(&size) && self.is_packet(size)
    }

    /// Whether the server may send one packet of `size` bytes, which two packets together would not have.
    fn is_packet(&self, size: usize) -> bool {
        self.sizes.down.tells_packets_apart() && self.sizes.down.is_packet(size)
    }

    /// A piece behind a confirmed opening: data in both directions is enough.
    fn used(&mut self, mut channel: Confirmed, from: Sender, size: usize) -> Option<Forwarded> {
        if from == Sender::Client {
            channel.first_up.get_or_insert(size);
        } else {
            // A session's requests are answered so: what looked like a forwarded channel was a session among other messages.
            if channel.first_down.is_none()
                && is_multiple(size, self.sizes.of(from, payload::CHANNEL_SUCCESS))
            {
                self.has_session();
                return None;
            }
            channel.first_down.get_or_insert(size);
        }
        self.opening = Opening::Confirmed(channel);
        Some(Forwarded {
            by: channel.by,
            opening: channel.opening,
            confirmation: channel.confirmation,
            up: channel.first_up?,
            down: channel.first_down?,
            beside_session: false,
        })
    }
}

/// Whether `size` is one to a few times `unit`.
fn is_multiple(size: usize, unit: usize) -> bool {
    (1..=ANSWERS_MAX).any(|n| size == unit.saturating_mul(n))
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
