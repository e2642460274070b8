//! Forwarded connections beside a session, from the sizes of an encrypted SSH connection's messages.
//!
//! In: the size of each piece of payload once a session is open. Out: a forwarded connection, once two channels have shown all of
//! it: an opening of the right size, a confirmation of exactly its own, a request, an answer of some length, and the end (EOF and
//! CLOSE are messages of one small size). A line pasted into a shell and its echo, or a request and its answer on a command's
//! standard input, show some of these by chance, but not all in this order.

use super::channels::{Forwarded, Piece, Sender, Sizes, payload};

/// Channels that must be complete.
const CHANNELS: u8 = 2;
/// Bytes of the first data of whoever opened the channel, and of all that it was answered.
const REQUEST_MIN: usize = 60;
const ANSWER_MIN: usize = 600;
/// Pieces of the session, or of another channel's end, that may come in between.
const STRANGERS_MAX: u8 = 3;

/// Reads the sizes while there is a session.
#[derive(Debug)]
pub(super) struct Beside {
    /// The server listens for the client (-R).
    listens: bool,
    /// The client has asked for something before the session that was not answered yet.
    requested: bool,
    channel: Channel,
    complete: u8,
}

#[derive(Clone, Copy, Debug)]
enum Channel {
    None,
    Asked {
        by: Sender,
        opening: Piece,
        strangers: u8,
    },
    Confirmed {
        found: Found,
        strangers: u8,
    },
    /// The request was made; how much was answered.
    Requested {
        found: Found,
        answer: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Found {
    by: Sender,
    opening: Piece,
    confirmation: Piece,
    request: usize,
}

impl Beside {
    pub(super) const fn new(listens: bool, requested: bool) -> Self {
        Self { listens, requested, channel: Channel::None, complete: 0 }
    }

    /// Takes a piece; answers the forwarded connection that it proves.
    pub(super) fn piece(&mut self, sizes: &Sizes, from: Sender, piece: Piece) -> Option<Forwarded> {
        if from == Sender::Server && self.requested {
            self.requested = false;
            self.listens |= piece.size == sizes.of(from, payload::REQUEST_SUCCESS);
        }
        let end = sizes.of(from, payload::CHANNEL_SUCCESS); // of the same size as EOF and CLOSE
        let ends = piece.size == end || piece.size == end.saturating_mul(2);
        self.channel = match self.channel {
            Channel::Asked { by, opening, .. } if by != from && is_confirmation(sizes, from, piece.size) => {
                let found = Found { by, opening, confirmation: piece, request: 0 };
                Channel::Confirmed { found, strangers: 0 }
            }
            Channel::Asked { by, opening, strangers } if ends || by != from => {
                count(strangers, |strangers| Channel::Asked { by, opening, strangers })
            }
            Channel::Confirmed { found, .. }
                if found.by == from
                    && piece.size >= sizes.of(from, payload::DATA.saturating_add(REQUEST_MIN)) =>
            {
                Channel::Requested { found: Found { request: piece.size, ..found }, answer: 0 }
            }
            Channel::Confirmed { found, strangers } if ends || found.by != from => {
                count(strangers, |strangers| Channel::Confirmed { found, strangers })
            }
            Channel::Requested { found, answer } if answer >= ANSWER_MIN && ends => {
                self.complete = self.complete.saturating_add(1);
                if self.complete >= CHANNELS {
                    return Some(found.with_answer(answer));
                }
                Channel::None
            }
            Channel::Requested { found, answer } => {
                let answer = if found.by == from { answer } else { answer.saturating_add(piece.size) };
                Channel::Requested { found, answer }
            }
            Channel::None | Channel::Asked { .. } | Channel::Confirmed { .. } => self.ask(sizes, from, piece),
        };
        None
    }

    fn ask(&self, sizes: &Sizes, by: Sender, opening: Piece) -> Channel {
        let may = by == Sender::Client || self.listens;
        if may && sizes.opening(by).contains(&opening.size) {
            Channel::Asked { by, opening, strangers: 0 }
        } else {
            Channel::None
        }
    }
}

/// Whether a piece is a confirmation and, by its size, no answer to a request and no adjusted window.
fn is_confirmation(sizes: &Sizes, from: Sender, size: usize) -> bool {
    size == sizes.of(from, payload::CONFIRMATION) && size != sizes.of(from, payload::WINDOW_ADJUST)
}

/// One piece more that does not belong to it.
fn count(strangers: u8, go_on: impl FnOnce(u8) -> Channel) -> Channel {
    if strangers < STRANGERS_MAX { go_on(strangers.saturating_add(1)) } else { Channel::None }
}

impl Found {
    fn with_answer(self, answer: usize) -> Forwarded {
        let (up, down) =
            if self.by == Sender::Client { (self.request, answer) } else { (answer, self.request) };
        Forwarded {
            by: self.by,
            opening: self.opening,
            confirmation: self.confirmation,
            up,
            down,
            beside_session: true,
        }
    }
}
