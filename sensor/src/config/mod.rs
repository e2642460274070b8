//! The configuration file.
//!
//! In: TOML. Out: a [`Config`], or every mistake with line and column ([`Mistake`]). `config/farend.toml` is the commented
//! default, and [`Config::to_commented_toml`] puts other values into it. Flags are laid over a `Config` by the command line.

mod check;
mod home;
mod live;
mod show;
mod whole;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::Mistake;
pub(crate) use check::typed;
pub use home::HomeNet;
pub use live::{LiveSection, LiveSource, RotateSection, Timestamps};
pub use whole::Whole;

use crate::flow::SHARDS;
use crate::host::{Severity, Weights};
use crate::inspect::Limits;
use crate::pipeline::Timeouts;
use crate::sink::eve::Types;

/// The commented file with the defaults.
pub const TEMPLATE: &str = include_str!("../../../config/farend.toml");

/// A day, in seconds.
const DAY: u64 = 86_400;
/// Shards, as a bound of figures that are shared out among them.
const EACH_SHARD: u64 = SHARDS as u64;

/// Seconds of a timeout: a shorter one than a second would end flows between two packets, a longer one than a week never acts.
pub type Seconds = Whole<1, { 7 * DAY }>;

/// How farend runs: all keys have defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Worker threads: 0 = as many as there are cores, 1 = everything in one thread.
    pub workers: Whole<0, 256>,
    /// Frames taken at a time from files: 0 = farend's own choice.
    pub batch: Whole<0, 65_536>,
    /// What is inside.
    pub home: HomeSection,
    /// What is read.
    pub input: InputSection,
    /// What is known of addresses.
    pub intel: IntelSection,
    /// What is known of tools.
    pub catalogue: CatalogueSection,
    /// What evidence weighs.
    pub weights: WeightsSection,
    /// The flow table.
    pub flow: FlowSection,
    /// Bounds of looking into payload.
    pub inspect: InspectSection,
    /// Listening on interfaces.
    pub live: LiveSection,
    /// What is written.
    pub output: OutputSection,
}

/// `[home]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HomeSection {
    /// Networks that are inside; "auto" stands for the private ranges.
    pub networks: Vec<HomeNet>,
}

/// `[input]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InputSection {
    /// Only frames that this filter accepts (tcpdump's syntax, applied to the outer headers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// `[intel]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntelSection {
    /// Further address databases in MaxMind format, or lists of networks; later ones win.
    pub files: Vec<PathBuf>,
}

/// `[catalogue]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogueSection {
    /// Further catalogue files, laid over the built-in ones.
    pub files: Vec<PathBuf>,
}

/// `[weights]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WeightsSection {
    /// A weights file in the place of the built-in one (config/weights.toml).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// `[flow]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSection {
    /// Flows in the table, of all workers together. At the capacity the least valuable ones make way.
    pub capacity: Whole<EACH_SHARD, { 1 << 26 }>,
    /// Seconds without a packet after which a flow ends.
    pub timeouts: TimeoutsSection,
}

/// `[flow.timeouts]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutsSection {
    /// TCP after FIN from both sides, or RST.
    pub closed: Seconds,
    /// TCP of which one side was seen.
    pub tcp_new: Seconds,
    /// TCP of which both sides were seen.
    pub tcp_established: Seconds,
    /// UDP and others of which one side was seen.
    pub other_new: Seconds,
    /// UDP and others of which both sides were seen.
    pub other_established: Seconds,
}

/// `[inspect]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InspectSection {
    /// Flows under inspection at a time, shared out among 256 shards.
    pub flows: Whole<EACH_SHARD, { 1 << 24 }>,
    /// Payload bytes held for them at a time, shared out among 256 shards.
    pub bytes: Whole<{ EACH_SHARD << 14 }, { 1 << 36 }>,
}

/// `[output]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSection {
    /// File for EVE records (NDJSON), or "-" for standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eve: Option<PathBuf>,
    /// Which EVE records.
    pub eve_types: Vec<EveType>,
    /// The summary as a table or as one JSON object.
    pub format: Format,
    /// Exit with 1 when a finding is at least this severe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<FailOn>,
}

/// A type of EVE record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum EveType {
    /// Every flow when it ends.
    Flow,
    /// Every finding.
    Alert,
    /// Every internal host with evidence, at the end.
    Host,
    /// Counters.
    Stats,
}

/// How the summary is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The least severity that changes the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(missing_docs)] // the names are the documentation
pub enum FailOn {
    Low,
    Medium,
    High,
    Critical,
}

impl From<FailOn> for Severity {
    fn from(value: FailOn) -> Self {
        match value {
            FailOn::Low => Self::Low,
            FailOn::Medium => Self::Medium,
            FailOn::High => Self::High,
            FailOn::Critical => Self::Critical,
        }
    }
}

impl Default for Whole<0, 256> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Default for Whole<0, 65_536> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Default for HomeSection {
    fn default() -> Self {
        Self { networks: vec![HomeNet::auto()] }
    }
}

impl Default for FlowSection {
    fn default() -> Self {
        Self { capacity: const { Whole::new(1 << 20) }, timeouts: TimeoutsSection::default() }
    }
}

impl Default for TimeoutsSection {
    fn default() -> Self {
        let seconds = |s: i64| Seconds::new(s.unsigned_abs());
        let t = Timeouts::default();
        Self {
            closed: seconds(t.closed),
            tcp_new: seconds(t.tcp_new),
            tcp_established: seconds(t.tcp_established),
            other_new: seconds(t.other_new),
            other_established: seconds(t.other_established),
        }
    }
}

impl Default for InspectSection {
    fn default() -> Self {
        Self { flows: const { Whole::new(1 << 16) }, bytes: const { Whole::new(1 << 26) } }
    }
}

impl Default for OutputSection {
    fn default() -> Self {
        let eve_types = vec![EveType::Flow, EveType::Alert, EveType::Host, EveType::Stats];
        Self { eve: None, eve_types, format: Format::default(), fail_on: None }
    }
}

impl Config {
    /// Reads a file. Relative paths in it are taken from the folder it lies in.
    ///
    /// # Errors
    /// All mistakes that can be told at once; one without a place where the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Vec<Mistake>> {
        let mut config = check::parse(path, &read_text(path)?)?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            config.move_to(folder);
        }
        Ok(config)
    }

    /// The JSON Schema of the file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        let settings =
            schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Self>().to_value()
    }

    fn move_to(&mut self, folder: &Path) {
        let output = self.output.eve.iter_mut().filter(|p| p.as_os_str() != "-");
        let files = self.intel.files.iter_mut().chain(&mut self.catalogue.files);
        for path in files.chain(&mut self.weights.file).chain(output) {
            *path = folder.join(&*path);
        }
    }
}

/// What the system says of an error, without its number: `no such file or directory`.
pub(crate) fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The text of a file of settings.
pub(crate) fn read_text(path: &Path) -> Result<String, Vec<Mistake>> {
    std::fs::read_to_string(path).map_err(|e| {
        let what = match e.kind() {
            std::io::ErrorKind::InvalidData => "not a text file (UTF-8)".to_owned(),
            _ => in_words(&e),
        };
        vec![Mistake::of_file(path, what)]
    })
}

impl WeightsSection {
    /// The weights in force.
    ///
    /// # Errors
    /// A file that cannot be read or is no weights file.
    pub fn load(&self) -> Result<Weights, Vec<Mistake>> {
        let Some(path) = &self.file else { return Ok(Weights::default()) };
        let text = read_text(path)?;
        typed::<Weights>(path, &text)?;
        Weights::parse(&text).map_err(|e| vec![Mistake::of_file(path, e.to_string())])
    }
}

impl FlowSection {
    /// The capacity as the tables want it.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.capacity.get()).unwrap_or(u32::MAX)
    }
}

impl TimeoutsSection {
    /// As the workers want them.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        let seconds = |s: Seconds| s.get().cast_signed();
        Timeouts {
            closed: seconds(self.closed),
            tcp_new: seconds(self.tcp_new),
            tcp_established: seconds(self.tcp_established),
            other_new: seconds(self.other_new),
            other_established: seconds(self.other_established),
        }
    }
}

impl InspectSection {
    /// The bounds of one shard.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let share = |whole: u64| whole / EACH_SHARD;
        Limits {
            flows: u32::try_from(share(self.flows.get())).unwrap_or(u32::MAX),
            bytes: usize::try_from(share(self.bytes.get())).unwrap_or(usize::MAX),
        }
    }
}

impl OutputSection {
    /// The wanted types as the writer wants them.
    #[must_use]
    pub fn types(&self) -> Types {
        let has = |t| self.eve_types.contains(&t);
        Types {
            flow: has(EveType::Flow),
            alert: has(EveType::Alert),
            host: has(EveType::Host),
            stats: has(EveType::Stats),
        }
    }
}

impl EveType {
    /// As the file lists them.
    #[must_use]
    pub fn list(types: Types) -> Vec<Self> {
        let Types { flow, alert, host, stats } = types;
        let each = [(flow, Self::Flow), (alert, Self::Alert), (host, Self::Host), (stats, Self::Stats)];
        each.into_iter().filter_map(|(wanted, t)| wanted.then_some(t)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        check::parse(Path::new("f.toml"), text)
            .map_err(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_shipped_file_says_exactly_the_defaults_and_so_does_an_empty_one() {
        assert_eq!(parse(TEMPLATE), Ok(Config::default()));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn every_section_reaches_what_it_configures() {
        let config = parse(
            "workers = 3\n[flow]\ncapacity = 512\n[flow.timeouts]\nclosed = 1\ntcp_new = 2\ntcp_established = 3\n\
             other_new = 4\nother_established = 5\n[inspect]\nflows = 512\nbytes = 8388608\n\
             [output]\neve_types = [\"alert\"]\nfail_on = \"high\"\nformat = \"json\"\n",
        )
        .expect("valid");
        assert_eq!((config.workers.get(), config.flow.capacity()), (3, 512));
        let t = config.flow.timeouts.timeouts();
        assert_eq!(
            [t.closed, t.tcp_new, t.tcp_established, t.other_new, t.other_established],
            [1, 2, 3, 4, 5]
        );
        let limits = config.inspect.limits();
        assert_eq!((limits.flows, limits.bytes), (2, 32 << 10));
        let types = config.output.types();
        assert!(types.alert && !types.flow && !types.host && !types.stats);
        assert_eq!(config.output.fail_on, Some(FailOn::High));
        assert_eq!(config.output.format, Format::Json);
    }

    #[test]
    fn relative_paths_are_taken_from_the_folder_of_the_file() {
        let mut config =
            parse("[intel]\nfiles = [\"a.mmdb\", \"/b.txt\"]\n[output]\neve = \"-\"\n").expect("valid");
        config.move_to(Path::new("/etc/farend"));
        assert_eq!(config.intel.files, [PathBuf::from("/etc/farend/a.mmdb"), PathBuf::from("/b.txt")]);
        assert_eq!(config.output.eve.as_deref(), Some(Path::new("-")));
    }
}
