//! The whole pipeline in this process: a source in, EVE records and counters out.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use farend::home::Home;
use farend::host::{Finding, HostRecord, Weights};
use farend::inspect::Limits;
use farend::intel::Intel;
use farend::pipeline::{
    Ended, Far, Reducer, Settings, Sink, Summary, Timeouts, WorkerConfig, run as run_pipeline,
};
use farend::sink::eve::{Eve, Types};
use farend::sink::stats;
use farend::source::{Problem, Source};

use super::capture::Capture;
use super::records::Records;

static INTEL: LazyLock<Arc<Intel>> = LazyLock::new(|| Arc::new(Intel::embedded()));

/// How to run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub workers: usize,
    pub batch: Option<usize>,
    pub seed: Option<u64>,
    pub capacity: u32,
    pub limits: Limits,
    pub home: Home,
    /// See [`WorkerConfig::flow_interval_ns`].
    pub flow_interval_ns: Option<i64>,
    pub timeouts: Timeouts,
    pub types: Types,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 1,
            batch: None,
            seed: Some(1),
            capacity: 65_536,
            limits: Limits { flows: 256, bytes: 256 * 1024 },
            home: Home::default(),
            flow_interval_ns: None,
            timeouts: Timeouts::default(),
            types: Types::default(),
        }
    }
}

/// What came out.
pub struct Outcome {
    pub eve: Vec<u8>,
    pub summary: Summary,
    pub problems: Vec<Problem>,
    /// Frames that the source handed out.
    pub frames: u64,
}

impl Outcome {
    /// The EVE records.
    pub fn records(&self) -> Records {
        Records::parse(&self.eve)
    }
}

/// Runs a source to its end.
pub fn run(source: &mut (dyn Source + Send), setup: &Setup) -> Outcome {
    let buffer = Buffer::default();
    let files = source.files().iter().map(|f| file_name(&f.path)).collect();
    let inputs: Vec<String> = source.files().iter().map(|f| f.path.clone()).collect();
    let types = setup.types;
    let sink = ToEve { eve: Eve::new(buffer.clone(), types, files) };
    let mut reducer = Reducer::new(Arc::clone(&INTEL), setup.home.clone(), Weights::default(), sink)
        .with_losses(source.losses());
    let settings = Settings {
        worker: WorkerConfig {
            capacity: setup.capacity,
            timeouts: setup.timeouts,
            limits: setup.limits,
            catalogue: farend::catalog::Catalogue::embedded(),
            all_flows: types.flow,
            flow_interval_ns: setup.flow_interval_ns,
            home: setup.home.clone(),
            hash_seed: setup.seed,
        },
        workers: setup.workers,
        batch: setup.batch,
        switch: None,
        cpus: Vec::new(),
    };
    let summary = run_pipeline(source, &settings, &mut reducer, &mut |_, _| {}).expect("the pipeline runs");
    let problems: Vec<String> = source.problems().iter().map(ToString::to_string).collect();
    let eve = &mut reducer.sink_mut().eve;
    eve.stats(
        summary.span.map_or(0, |s| s[1]),
        &stats::suricata(&summary, summary.span, source.counters()),
        &stats::ours(&summary, &inputs, source.counters(), &problems),
    );
    eve.finish().expect("memory takes every record");
    Outcome {
        eve: buffer.take(),
        summary,
        problems: source.problems().to_vec(),
        frames: source.counters().frames,
    }
}

/// Runs a capture that was built in memory.
pub fn run_capture(capture: &Capture, setup: &Setup) -> Outcome {
    run(&mut capture.source(), setup)
}

/// The records of a capture that was built in memory, with the default setup.
pub fn records_of(capture: &Capture) -> Records {
    run_capture(capture, &Setup::default()).records()
}

/// Runs a capture file.
pub fn run_file(path: &Path, setup: &Setup) -> Outcome {
    let mut source = farend::source::open(&[path.to_owned()], &Default::default())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    run(&mut *source, setup)
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned())
}

struct ToEve {
    eve: Eve<Buffer>,
}

impl Sink for ToEve {
    fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool) {
        self.eve.flow(ended, far, alerted);
    }

    fn lasting(&mut self, so_far: &Ended, far: &Far<'_>, alerted: bool) {
        self.eve.lasting(so_far, far, alerted);
    }

    fn alert(&mut self, finding: &Finding, weights: &Weights, ts_ns: i64) {
        self.eve.alert(finding, weights, ts_ns);
    }

    fn host(&mut self, record: &HostRecord, weights: &Weights, ts_ns: i64) {
        self.eve.host(record, weights, ts_ns);
    }

    fn failed(&self) -> bool {
        self.eve.failed()
    }

    fn wants_all_flows(&self) -> bool {
        self.eve.types().flow
    }
}

/// A writer whose bytes can be taken out behind the pipeline's back.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("nothing panics while writing"))
    }
}

impl farend::sink::Records for Buffer {}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nothing panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
