//! The reducer: reports of all workers in one order, to the ledger and the sinks.
//!
//! Within a tick, what happened comes in the order of the packets that caused it (names, sightings, and the alerts they lead to),
//! then the flows that ended, by their first packet. This order is the same for any number of workers.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::brand;
use super::counters::{Counters, Front};
use super::report::{Ended, FlowId, Report};
use super::shed::Level;
use super::switch::Switch;
use super::unit::Tick;
use farend_analyzers::Side;

use crate::catalog::Catalogue;
use crate::clock::SECOND_NS;
use crate::decode::proto;
use crate::home::Home;
use crate::host::{Context, Finding, HostRecord, Ledger, Loss, Names, Weights, far_side};
use crate::inspect::Verdict;
use crate::intel::{FarEnd, Intel};

/// Flow ids remembered for `flow.alerted`.
const MAX_ALERTED: usize = 65_536;

/// Where records go.
pub trait Sink {
    /// A flow has ended. `far` is its far end (side, what is known, name by DNS); `alerted`: a finding rests on it.
    fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool);
    /// A flow goes on; what it came to so far.
    fn lasting(&mut self, _so_far: &Ended, _far: &Far<'_>, _alerted: bool) {}
    /// A finding was raised at packet time `ts_ns`.
    fn alert(&mut self, finding: &Finding, weights: &Weights, ts_ns: i64);
    /// What is known of a host at the end.
    fn host(&mut self, record: &HostRecord, weights: &Weights, ts_ns: i64);
    /// Time has come to `now_ns`, and everything up to it has been handed out.
    fn tick(&mut self, _now_ns: i64) {}
    /// Whether host records are wanted at `now_ns`; at the end they come anyway.
    fn wants_hosts(&mut self, _now_ns: i64) -> bool {
        false
    }
    /// Whether [`Sink::counters`] is wanted at ticks.
    fn wants_counters(&self) -> bool {
        false
    }
    /// What has been counted up to `now_ns`, and the ledger at that moment.
    fn counters(&mut self, _now_ns: i64, _front: &Front, _flows: &Counters, _ledger: &Ledger) {}
    /// From now on workers leave this out, the most that any of them does.
    fn shed(&mut self, _level: Level) {}
    /// Whether a sink can take no more (disk full, closed pipe).
    fn failed(&self) -> bool;
    /// Whether [`Sink::flow`] is wanted for flows without a label.
    fn wants_all_flows(&self) -> bool;
}

/// The far end of a flow.
#[derive(Clone, Debug)]
pub struct Far<'a> {
    /// Its address: that of a side of the flow, or of the peer behind the relay that this side is.
    pub ip: IpAddr,
    /// Its port, if the protocol has any.
    pub port: Option<u16>,
    /// The relay it is reached through, where that is known.
    pub relay: Option<SocketAddr>,
    /// What intel knows.
    pub end: FarEnd,
    /// Name that an answer on the wire gave to it.
    pub name: Option<&'a str>,
}

impl<'a> Far<'a> {
    fn of(ended: &Ended, names: &'a Names, ctx: Context<'_>) -> Self {
        let (flow, verdict) = (&ended.flow, ended.verdict.as_deref());
        let side = far_side(flow, verdict, ctx);
        let own = SocketAddr::new(flow.ip[side], flow.port[side]);
        // A TURN server lends its address: whoever its client has a channel to is the far end, if that is outside.
        let behind = verdict
            .filter(|v| v.client.is_none_or(|client| (client == Side::Src) == (side == 1)))
            .and_then(|v| v.facts.stun.as_ref()?.peer)
            .filter(|peer| ctx.home.is_outside(peer.ip()));
        let end = behind.unwrap_or(own);
        let ports = matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP);
        Self {
            ip: end.ip(),
            port: ports.then_some(end.port()),
            relay: behind.map(|_| own),
            end: ctx.intel.lookup(end.ip()),
            name: names.of(end.ip(), flow.birth.first_ns.saturating_add(SECOND_NS)),
        }
    }
}

/// The reducer.
pub struct Reducer<S> {
    intel: Arc<Intel>,
    home: Home,
    ledger: Ledger,
    names: Names,
    catalogue: &'static Catalogue,
    sink: S,
    alerted: HashSet<u64>,
    /// Findings raised while nothing was known to be inside: given at the end if that has not changed.
    time_ns: i64,
    ended: bool,
    loss: Loss,
    shed: Level,
    switch: Option<Arc<Switch>>,
    generation: u64,
}

impl<S: Sink> Reducer<S> {
    /// A reducer that writes to `sink`.
    pub fn new(intel: Arc<Intel>, home: Home, weights: Weights, sink: S) -> Self {
        Self {
            intel,
            home,
            ledger: Ledger::new(weights),
            names: Names::default(),
            catalogue: Catalogue::embedded(),
            sink,
            alerted: HashSet::new(),
            time_ns: i64::MIN,
            ended: false,
            loss: Loss::default(),
            shed: Level::Nothing,
            switch: None,
            generation: 0,
        }
    }

    /// Takes settings from here while it runs.
    #[must_use]
    pub fn with_switch(self, switch: Arc<Switch>) -> Self {
        Self { switch: Some(switch), ..self }
    }

    /// Names and devices are what this catalogue says; without it, what the built-in one says.
    #[must_use]
    pub fn with_catalogue(mut self, catalogue: &'static Catalogue) -> Self {
        self.ledger.set_catalogue(catalogue);
        Self { catalogue, ..self }
    }

    /// What is known from the start of frames that were never captured.
    #[must_use]
    pub fn with_losses(self, losses: Option<[u64; 2]>) -> Self {
        Self { loss: Loss::whole(losses), ..self }
    }

    /// Whether the sink can take no more.
    pub fn failed(&self) -> bool {
        self.sink.failed()
    }

    /// Puts the brand over a VPN's protocol, where the far end's name tells it.
    fn brand(&self, flow: &FlowId, verdict: &mut Verdict, ctx: Context<'_>) {
        if verdict.labels.label.is_none() {
            return;
        }
        let far = flow.ip[far_side(flow, Some(verdict), ctx)];
        let name = self.names.of(far, flow.birth.first_ns.saturating_add(SECOND_NS));
        brand::add(verdict, far, name, flow.birth.number, self.catalogue);
    }

    /// Takes the reports of all workers for one tick.
    pub fn tick(&mut self, tick: &Tick, reports: Vec<Report>) {
        if let Some(newer) = self.switch.as_ref().and_then(|switch| switch.newer(&mut self.generation)) {
            self.intel = Arc::clone(&newer.intel);
            self.home.clone_from(&newer.home);
            self.catalogue = newer.catalogue;
            self.ledger.set_weights(newer.weights.clone());
            self.ledger.set_catalogue(newer.catalogue);
        }
        if let Some(front) = &tick.front {
            // What a filter left out was captured, too.
            let captured = front.decode.delivered + front.source.filtered;
            self.loss.observe(tick.now_ns, captured, front.source.kernel_drops);
        }
        let intel = Arc::clone(&self.intel);
        let home = self.home.clone();
        let ctx = Context { intel: &intel, home: &home, private_seen: tick.private_seen };
        let mut all = Report::default();
        for mut report in reports {
            all.shed = all.shed.max(report.shed);
            all.names.append(&mut report.names);
            all.neighbours.append(&mut report.neighbours);
            all.sightings.append(&mut report.sightings);
            all.ended.append(&mut report.ended);
            all.lasting.append(&mut report.lasting);
            all.counters.add(&report.counters);
            if all.exchanged.is_empty() {
                all.exchanged = report.exchanged;
            } else {
                all.exchanged.append(&mut report.exchanged);
            }
        }
        all.names.sort_by(|a, b| {
            (a.seq, a.ts_ns, a.name.addr, &a.name.name).cmp(&(b.seq, b.ts_ns, b.name.addr, &b.name.name))
        });
        all.sightings.sort_by_key(|s| (s.seq, s.flow.id));
        all.ended.sort_by_key(|e| (e.flow.birth.input, e.flow.birth.number, e.flow.birth.layer));
        all.neighbours.extend(tick.neighbours.iter().flat_map(|seen| seen.iter().copied()));
        all.neighbours.sort_unstable();
        for learned in &all.names {
            self.names.learn(learned.name.addr, &learned.name.name, learned.name.ttl, learned.ts_ns);
        }
        for sighting in &mut all.sightings {
            self.brand(&sighting.flow, &mut sighting.verdict, ctx);
        }
        for ended in all.ended.iter_mut().chain(&mut all.lasting) {
            if let Some(verdict) = ended.verdict.as_deref_mut() {
                self.brand(&ended.flow, verdict, ctx);
            }
        }
        // While nobody is known to be inside, a finding may be about the wrong side: it waits for the end.
        let may_raise = !home.is_auto() || tick.private_seen || tick.last;
        for neighbour in &all.neighbours {
            self.ledger.neighbour(neighbour, ctx);
            if may_raise {
                self.raise(&mut [], neighbour.ts_ns);
            }
        }
        for sighting in &all.sightings {
            self.time_ns = self.time_ns.max(sighting.ts_ns);
            self.ledger.sighted(sighting, ctx);
            if may_raise {
                self.raise(&mut sighting.flow.ip.clone(), sighting.ts_ns);
            }
        }
        self.ledger.bytes(&all.ended, &all.exchanged, ctx);
        for ended in &all.ended {
            self.time_ns = self.time_ns.max(ended.hot.last_ns);
            self.ledger.ended(ended, ctx);
            if may_raise {
                self.raise(&mut ended.flow.ip.clone(), ended.hot.last_ns);
            }
            let labelled = ended.verdict.as_ref().is_some_and(|v| v.labels.label.is_some());
            if labelled || self.sink.wants_all_flows() {
                let far = Far::of(ended, &self.names, ctx);
                let alerted = self.alerted.remove(&ended.flow.id);
                self.sink.flow(ended, &far, alerted);
            }
        }
        all.lasting.sort_by_key(|e| (e.flow.birth.input, e.flow.birth.number, e.flow.birth.layer));
        for so_far in &all.lasting {
            let far = Far::of(so_far, &self.names, ctx);
            self.sink.lasting(so_far, &far, self.alerted.contains(&so_far.flow.id));
        }
        self.sink.tick(tick.now_ns);
        if all.shed != self.shed {
            self.shed = all.shed;
            self.sink.shed(all.shed);
        }
        if !tick.last
            && let Some(front) = &tick.front
            && self.sink.wants_counters()
        {
            self.sink.counters(tick.now_ns, front, &all.counters, &self.ledger);
        }
        if tick.last && !self.ended {
            self.ended = true;
            self.ledger.settle();
            let mut hosts: Vec<IpAddr> = self.ledger.records().map(|r| r.host).collect();
            self.raise(&mut hosts, self.time_ns);
            self.tell_hosts(&home, tick.private_seen, self.time_ns);
        } else if self.sink.wants_hosts(tick.now_ns) {
            self.tell_hosts(&home, tick.private_seen, tick.now_ns);
        }
    }

    fn tell_hosts(&mut self, home: &Home, private_seen: bool, ts_ns: i64) {
        for record in self.ledger.records() {
            // A host that nothing inside was ever known of is not reported as inside once something is.
            if home.holds(record.host, private_seen) {
                self.sink.host(&record, self.ledger.weights(), ts_ns);
            }
        }
    }

    fn raise(&mut self, hosts: &mut [IpAddr], ts_ns: i64) {
        let Self { ledger, sink, alerted, loss, .. } = self;
        // A device's address need not be one of the flow that tells of it: DHCP's clients have none yet.
        let mut devices = ledger.devices_told();
        let hosts = if devices.is_empty() {
            hosts
        } else {
            devices.extend_from_slice(hosts);
            &mut devices
        };
        ledger.raise(hosts, loss, |finding, weights| {
            if alerted.len() < MAX_ALERTED {
                alerted.insert(finding.flow.id);
            }
            sink.alert(finding, weights, ts_ns);
        });
    }

    /// The ledger, for the summary.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Names learned.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The sink, to finish it.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }
}
