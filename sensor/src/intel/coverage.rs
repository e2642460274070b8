//! What each class of the built-in data rests on, and how much of it there is.

use std::collections::{BTreeMap, HashSet};

use super::reports::Reports;
use super::{Class, EMBEDDED, Intel};

/// One ground for one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The class.
    pub class: Class,
    /// Its basis as look-ups name it, without what differs from prefix to prefix: `asn:hosting-table`, `prefix:iporigin`, `report`.
    pub basis: String,
    /// Autonomous systems in it; those of single prefixes count as well.
    pub ases: usize,
    /// IPv4 prefixes.
    pub v4: usize,
    /// IPv6 prefixes.
    pub v6: usize,
}

#[derive(Default)]
struct Count {
    ases: HashSet<u32>,
    v4: usize,
    v6: usize,
}

impl Intel {
    /// What the classes of the built-in data rest on, by class and basis. Goes through the whole database: a second or so.
    pub fn embedded_coverage() -> Vec<Coverage> {
        let mut counts: BTreeMap<(Class, String), Count> = BTreeMap::new();
        for (record, net) in EMBEDDED.records() {
            if record.class == Class::Unknown {
                continue;
            }
            let basis = record.basis.split(' ').next().unwrap_or_default();
            let count = counts.entry((record.class, basis.to_owned())).or_default();
            count.ases.extend(record.asn);
            if net.addr().is_ipv4() {
                count.v4 += 1;
            } else {
                count.v6 += 1;
            }
        }
        for (ip, class) in Reports::embedded().classes() {
            let count = counts.entry((class, "report".to_owned())).or_default();
            if ip.is_ipv4() {
                count.v4 += 1;
            } else {
                count.v6 += 1;
            }
        }
        counts
            .into_iter()
            .map(|((class, basis), count)| Coverage {
                class,
                basis,
                ases: count.ases.len(),
                v4: count.v4,
                v6: count.v6,
            })
            .collect()
    }
}
