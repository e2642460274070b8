//! Mixed traffic of many hosts, the same for the same seed: conversations of every kind side by side, with losses, copies,
//! reordering, fragments, tunnels and frames that make no sense.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::capture::Capture;
use super::frame::{self, Ip};
use super::payloads::{Dice, Session, dns_answer, dns_question, encrypted, noise, sessions};
use super::tcp::{Client, Server, Tcp};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub seed: u64,
    pub packets: usize,
    /// Conversations that go on at the same time.
    pub at_once: usize,
    /// Hosts inside.
    pub hosts: u64,
    /// Mean time between packets, ns.
    pub step_ns: i64,
}

/// The traffic.
pub fn mixed(mix: Mix) -> Capture {
    let mut dice = Dice(mix.seed);
    let mut active: Vec<VecDeque<Vec<u8>>> = Vec::new();
    let mut c = Capture::default();
    while c.frames.len() < mix.packets {
        if active.len() < mix.at_once {
            active.push(conversation(&mut dice, mix.hosts));
        }
        let which = dice.below(active.len() as u64) as usize;
        let Some(frame) = active[which].pop_front() else {
            active.swap_remove(which);
            continue;
        };
        c.step_ns = 1 + dice.below(2 * mix.step_ns as u64) as i64;
        match dice.below(200) {
            0 => continue, // lost
            1 => {
                // Stamped by a clock that is behind.
                let (now, behind) = (c.now_ns, 1_500_000_000);
                c.now_ns -= behind;
                c.frame(frame);
                c.now_ns = now;
                continue;
            }
            2 => {
                let step = std::mem::replace(&mut c.step_ns, 20_000);
                c.frame(frame.clone()); // a span port's second copy
                c.step_ns = step;
            }
            3 => {
                let bytes = dice.below(120) as usize;
                c.frame(noise(dice.roll(), bytes));
            }
            4 => {
                // Overtaken by the next one of its conversation.
                if let Some(next) = active[which].pop_front() {
                    c.frame(next);
                }
            }
            _ => {}
        }
        c.frame(frame);
    }
    c
}

/// Somebody inside, somebody outside.
fn pair(dice: &mut Dice, hosts: u64) -> (IpAddr, IpAddr) {
    let host = dice.below(hosts) as u32 + 1;
    // Few servers, so that pairs of addresses meet again; half of them in networks that are known to be hosting.
    let server = dice.below(40) as u32;
    if dice.below(4) == 0 {
        let v6 = |net: u128, n: u32| IpAddr::V6(Ipv6Addr::from_bits(net << 112 | u128::from(n)));
        (v6(0xfd00, host), v6(0x2a01, server + 1))
    } else {
        let net = if server.is_multiple_of(2) { [194, 33, 44] } else { [203, 0, 113] };
        (
            IpAddr::V4(Ipv4Addr::from_bits(0xC0A8_0000 | host & 0xffff)),
            IpAddr::V4(Ipv4Addr::new(net[0], net[1], net[2], server as u8)),
        )
    }
}

fn conversation(dice: &mut Dice, hosts: u64) -> VecDeque<Vec<u8>> {
    let (inside, outside) = pair(dice, hosts);
    // Few client ports, so that some are used anew.
    let client_port = 40_000 + dice.below(12) as u16;
    let mut c = Capture::default();
    if dice.below(8) == 0 {
        c.vlan = vec![100 + dice.below(3) as u16];
    }
    let (client, server) = if dice.below(3) == 0 { (outside, inside) } else { (inside, outside) };
    let at = |ip, port| SocketAddr::new(ip, port);
    match dice.below(12) {
        0..=3 => {
            let all = sessions();
            let Session { usual_port, .. } = all[dice.below(all.len() as u64) as usize].clone();
            let mut session = all[dice.below(all.len() as u64) as usize].clone();
            if session.label == "rdp" && dice.below(2) == 0 {
                session.payloads.extend(encrypted(30));
            }
            session.play(at(client, client_port), at(server, usual_port), &mut c);
        }
        4 => {
            let mut t = Tcp::between(at(client, client_port), at(server, 443));
            for _ in 0..1 + dice.below(3) {
                t.syn(&mut c);
                t.next[0] = t.next[0].wrapping_sub(1);
            }
        }
        5 | 6 => {
            let mut t = Tcp::open(at(client, client_port), at(server, 8_000 + dice.below(10) as u16), &mut c);
            for n in 0..dice.below(30) {
                t.send(
                    if dice.below(2) == 0 { Client } else { Server },
                    &noise(n, 1 + dice.below(3_000) as usize),
                    &mut c,
                );
            }
            match dice.below(3) {
                0 => t.close(&mut c),
                1 => t.reset(Server, &mut c),
                _ => {}
            }
        }
        7 | 8 => {
            let name = format!("host{}.example", dice.below(50));
            let id = dice.roll() as u16;
            c.datagram(at(client, client_port), at(server, 53), &dns_question(id, &name));
            c.datagram(at(server, 53), at(client, client_port), &dns_answer(id, &name, outside));
        }
        9 => {
            for n in 0..dice.below(6) as u16 {
                let rest = [[0x77, client_port as u8, 0, n as u8].as_slice(), &noise(3, 40)].concat();
                let (ask, answer) = if client.is_ipv4() { (8, 0) } else { (128, 129) };
                c.packet(&frame::icmp(Ip { id: n + 1, ..Ip::new(client, server) }, ask, 0, &rest));
                c.packet(&frame::icmp(Ip { id: n + 1, ..Ip::new(server, client) }, answer, 0, &rest));
            }
        }
        10 => {
            let ip = Ip { id: dice.roll() as u16 | 1, ..Ip::new(client, server) };
            let whole = frame::udp_datagram(ip, [client_port, 4_000], &noise(dice.roll(), 3_000));
            let last = whole.len().div_ceil(1_400) - 1;
            let mut pieces: Vec<Vec<u8>> = whole
                .chunks(1_400)
                .enumerate()
                .map(|(i, part)| ip.fragment(frame::UDP, part, (i * 1_400) as u16, i < last))
                .collect();
            if dice.below(2) == 0 {
                pieces.reverse();
            }
            pieces.iter().for_each(|p| c.packet(p));
        }
        _ => {
            let outer = Ip::new(frame::ip("192.168.250.1"), frame::ip("192.168.250.2"));
            let mut inner = Capture::default();
            let all = sessions();
            all[dice.below(all.len() as u64) as usize].play(
                at(client, client_port),
                at(server, 5_000),
                &mut inner,
            );
            let erspan = dice.below(2) == 0;
            for (n, f) in inner.frames.iter().enumerate() {
                let outer = Ip { id: n as u16 + 1, ..outer };
                let packet = if erspan {
                    frame::erspan2(outer, 5, n as u32, &f.bytes)
                } else {
                    frame::vxlan(outer, 77, &f.bytes)
                };
                c.packet(&packet);
            }
        }
    }
    c.frames.into_iter().map(|f| f.bytes).collect()
}
