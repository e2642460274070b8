//! A TCP conversation that is written into a capture as it goes on.

use std::net::SocketAddr;

use super::capture::Capture;
use super::frame::{self, ACK, FIN, Ip, PSH, RST, SYN};

/// Which end of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}
pub use Side::{Client, Server};

/// Bytes of a segment at most.
pub const MSS: usize = 1_400;

/// A conversation: addresses, and what each side will send next.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub ends: [SocketAddr; 2],
    /// Sequence number of each side's next byte.
    pub next: [u32; 2],
    ids: [u16; 2],
    /// A side whose frames are not captured.
    pub unseen: Option<Side>,
}

impl Tcp {
    /// Nothing was sent yet.
    pub fn between(client: SocketAddr, server: SocketAddr) -> Self {
        let port = u32::from(client.port());
        Self {
            ends: [client, server],
            next: [0xffff_f000_u32.wrapping_add(port), 7_000 + port * 3],
            ids: [0x0100, 0x8100],
            unseen: None,
        }
    }

    /// With the three packets of the handshake.
    pub fn open(client: SocketAddr, server: SocketAddr, c: &mut Capture) -> Self {
        let mut t = Self::between(client, server);
        t.handshake(c);
        t
    }

    pub fn handshake(&mut self, c: &mut Capture) {
        self.syn(c);
        self.syn_ack(c);
        self.ack(Client, c);
    }

    pub fn syn(&mut self, c: &mut Capture) {
        self.flags(Client, SYN, c);
        self.next[0] = self.next[0].wrapping_add(1);
    }

    pub fn syn_ack(&mut self, c: &mut Capture) {
        self.flags(Server, SYN | ACK, c);
        self.next[1] = self.next[1].wrapping_add(1);
    }

    pub fn ack(&mut self, from: Side, c: &mut Capture) {
        self.flags(from, ACK, c);
    }

    /// A packet without payload.
    pub fn flags(&mut self, from: Side, flags: u8, c: &mut Capture) {
        let seq = self.next[from as usize];
        self.raw(from, flags, seq, &[], c);
    }

    /// Sends bytes, in as many segments as they need.
    pub fn send(&mut self, from: Side, bytes: &[u8], c: &mut Capture) {
        for part in bytes.chunks(MSS) {
            let seq = self.next[from as usize];
            self.raw(from, PSH | ACK, seq, part, c);
            self.lose(from, part.len());
        }
    }

    /// Bytes that were sent and not captured.
    pub fn lose(&mut self, from: Side, bytes: usize) {
        let next = &mut self.next[from as usize];
        *next = next.wrapping_add(bytes as u32);
    }

    pub fn fin(&mut self, from: Side, c: &mut Capture) {
        self.flags(from, FIN | ACK, c);
        self.lose(from, 1);
    }

    /// Both sides say goodbye.
    pub fn close(&mut self, c: &mut Capture) {
        self.fin(Client, c);
        self.fin(Server, c);
        self.ack(Client, c);
    }

    pub fn reset(&mut self, from: Side, c: &mut Capture) {
        self.flags(from, RST | ACK, c);
    }

    /// Any segment at all; what comes next does not move.
    pub fn raw(&mut self, from: Side, flags: u8, seq: u32, payload: &[u8], c: &mut Capture) {
        let packet = self.packet(from, flags, seq, payload);
        if self.unseen != Some(from) {
            c.packet(&packet);
        } else {
            c.now_ns += c.step_ns;
        }
    }

    /// The IP packet of a segment.
    pub fn packet(&mut self, from: Side, flags: u8, seq: u32, payload: &[u8]) -> Vec<u8> {
        let (s, d) = (from as usize, 1 - from as usize);
        self.ids[s] = self.ids[s].wrapping_add(1).max(1);
        let ip = Ip { id: self.ids[s], ..Ip::new(self.ends[s].ip(), self.ends[d].ip()) };
        let ack = if flags & ACK != 0 { self.next[d] } else { 0 };
        frame::tcp(ip, [self.ends[s].port(), self.ends[d].port()], seq, ack, flags, payload)
    }
}
