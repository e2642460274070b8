//! Address → name memory, from answers seen on the wire: bounded, with the answer's time to live.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::clock::SECOND_NS;

/// Names kept.
const CAPACITY: usize = 65_536;
/// A session often outlives the answer that led to it.
const GRACE_S: i64 = 3_600;

/// The memory.
#[derive(Debug, Default)]
pub struct Names {
    by_addr: HashMap<IpAddr, (Box<str>, i64)>,
    order: VecDeque<IpAddr>,
}

impl Names {
    /// Takes an answer seen at `ts_ns`.
    pub fn learn(&mut self, addr: IpAddr, name: &str, ttl: u32, ts_ns: i64) {
        let until = ts_ns.saturating_add((i64::from(ttl) + GRACE_S).saturating_mul(SECOND_NS));
        if let Some(known) = self.by_addr.get_mut(&addr) {
            if *known.0 != *name {
                known.0 = name.into();
            }
            known.1 = until;
            return;
        }
        if self.by_addr.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_addr.remove(&oldest);
        }
        self.by_addr.insert(addr, (name.into(), until));
        self.order.push_back(addr);
    }

    /// The name last given to `addr`, if it still held at `ts_ns`.
    #[must_use]
    pub fn of(&self, addr: IpAddr, ts_ns: i64) -> Option<&str> {
        self.by_addr.get(&addr).filter(|(_, until)| *until >= ts_ns).map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_for_its_time_and_the_latest_wins() {
        let mut names = Names::default();
        let addr: IpAddr = "203.0.113.9".parse().unwrap();
        names.learn(addr, "a.example", 60, 0);
        names.learn(addr, "b.example", 60, 10);
        assert_eq!(names.of(addr, 30 * SECOND_NS), Some("b.example"));
        assert_eq!(names.of(addr, 2 * 3_600 * SECOND_NS), None);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut names = Names::default();
        for n in 0..=CAPACITY as u32 {
            names.learn(IpAddr::V4(n.into()), "x", 1, 0);
        }
        assert_eq!(names.of(IpAddr::V4(0.into()), 0), None);
        assert_eq!(names.of(IpAddr::V4(1.into()), 0), Some("x"));
    }
}
