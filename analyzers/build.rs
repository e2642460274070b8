//! Generates the analyzer registry from the files in `src/proto/` and the label table from `config/labels.tsv`,
//! so that a protocol is added by adding one file.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let proto = Path::new(&root).join("src/proto");
    let labels = Path::new(&root).join("../config/labels.tsv");
    println!("cargo::rerun-if-changed={}", proto.display());
    println!("cargo::rerun-if-changed={}", labels.display());
    fs::write(Path::new(&out).join("registry.rs"), registry(&proto)).expect("OUT_DIR is writable");
    let inside = Path::new(&root).join("src/inside_tls");
    println!("cargo::rerun-if-changed={}", inside.display());
    fs::write(Path::new(&out).join("inside_tls.rs"), rules(&inside)).expect("OUT_DIR is writable");
    fs::write(Path::new(&out).join("labels.rs"), label_table(&labels)).expect("OUT_DIR is writable");
}

/// Names of the modules in a folder, sorted so that the order is stable.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().expect("a file name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn camel(name: &str) -> String {
    name.split('_').map(|p| p[..1].to_uppercase() + &p[1..]).collect::<Vec<_>>().concat()
}

/// Modules, metadata and dispatch of the rules for what is inside TLS.
fn rules(folder: &Path) -> String {
    let names = names_in(folder);
    let mut s = String::new();
    for name in &names {
        let file = folder.join(format!("{name}.rs"));
        writeln!(s, "#[path = {:?}]\npub mod {name};", file.display().to_string()).unwrap();
    }
    let each = |f: &dyn Fn(usize, &str) -> String| {
        names.iter().enumerate().map(|(i, n)| f(i, n)).collect::<Vec<_>>().concat()
    };
    writeln!(
        s,
        "/// Metadata of every rule, sorted by name.
pub static METAS: [&Meta; {}] = [{}];
/// A rule at work on one session.
#[derive(Debug)]
pub(crate) enum Running {{ {} }}
impl Running {{
    fn start(id: usize) -> Option<Self> {{ match id {{ {} _ => None }} }}
    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {{ match self {{ {} }} }}
    fn on_midstream(&mut self) -> Answer {{ match self {{ {} }} }}
    fn on_record(&mut self, tls: &Tls, record: &Record, out: &mut Out) -> Answer {{ match self {{ {} }} }}
}}
/// Sessions that rules ship for the tests: (rule, its fixtures).
#[cfg(test)]
fn all_fixtures() -> Vec<(&'static str, Vec<Fixture>)> {{ vec![{}] }}",
        names.len(),
        each(&|_, n| format!("&<{n}::State as Rule>::META, ")),
        each(&|_, n| format!("{}({n}::State), ", camel(n))),
        each(&|i, n| format!("{i} => Some(Self::{}(Default::default())), ", camel(n))),
        each(&|_, n| format!("Self::{}(rule) => rule.on_hellos(tls, out), ", camel(n))),
        each(&|_, n| format!("Self::{}(rule) => rule.on_midstream(), ", camel(n))),
        each(&|_, n| format!("Self::{}(rule) => rule.on_record(tls, record, out), ", camel(n))),
        each(&|_, n| format!("({n:?}, {n}::fixtures()), ")),
    )
    .unwrap();
    s
}

/// Modules, metadata, the `Running` enum and its static dispatch; names sorted so that the order is stable.
fn registry(proto: &Path) -> String {
    let names = names_in(proto);
    assert!(names.len() <= 128, "the candidate set of a flow is a 128-bit mask");
    let mut s = String::new();
    for name in &names {
        let file = proto.join(format!("{name}.rs"));
        writeln!(s, "#[path = {:?}]\npub mod {name};", file.display().to_string()).unwrap();
    }
    let each = |f: &dyn Fn(&str) -> String| names.iter().map(|n| f(n)).collect::<Vec<_>>().concat();
    writeln!(s, "/// Metadata of every analyzer, sorted by name; the position is the analyzer's [`Id`].")
        .unwrap();
    writeln!(
        s,
        "pub static METAS: [&Meta; {}] = [{}];",
        names.len(),
        each(&|n| format!("&<{n}::State as Analyzer>::META, "))
    )
    .unwrap();
    writeln!(
        s,
        "/// An analyzer at work on one layer of one flow.\n#[derive(Debug)]\npub enum Running {{ {} }}",
        each(&|n| format!("#[allow(missing_docs)] {}({n}::State), ", camel(n)))
    )
    .unwrap();
    let arms = |f: &dyn Fn(usize, &str) -> String| {
        names.iter().enumerate().map(|(i, n)| f(i, n)).collect::<Vec<_>>().concat()
    };
    writeln!(
        s,
        "impl Running {{
    /// A fresh state of analyzer `id`; `None` for a number that is no analyzer's.
    #[must_use] pub fn start(id: Id) -> Option<Self> {{ match id.0 {{ {} _ => None }} }}
    /// The analyzer's id.
    #[must_use] pub const fn id(&self) -> Id {{ match self {{ {} }} }}
    /// Hands a segment to the analyzer.
    pub fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {{ match self {{ {} }} }}
}}",
        arms(&|i, n| format!("{i} => Some(Self::{}(Default::default())), ", camel(n))),
        arms(&|i, n| format!("Self::{}(_) => Id({i}), ", camel(n))),
        arms(&|_, n| format!("Self::{}(state) => state.on_data(seg, out), ", camel(n))),
    )
    .unwrap();
    writeln!(
        s,
        "/// Asks analyzer `id` whether the payload could be its own.
#[must_use] pub fn probe(id: Id, p: &Probe<'_>) -> Verdict {{ match id.0 {{ {} _ => Verdict::No }} }}",
        arms(&|i, n| format!("{i} => <{n}::State as Analyzer>::probe(p), "))
    )
    .unwrap();
    writeln!(
        s,
        "/// Conversations that analyzers ship for the compliance test: (analyzer, its fixtures).
#[cfg(test)]
pub(crate) static FIXTURES: [(&str, &[fixture::Fixture]); {}] = [{}];",
        names.len(),
        each(&|n| format!("({n:?}, {n}::FIXTURES), "))
    )
    .unwrap();
    s
}

/// `LABELS`, sorted by label so that look-ups are a binary search.
fn label_table(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("config/labels.tsv exists");
    let mut rows: Vec<Vec<&str>> = text.lines().skip(1).map(|l| l.split('\t').collect()).collect();
    rows.sort();
    let mut s = String::from(
        "/// Every label farend can give, sorted by name.\npub static LABELS: &[LabelInfo] = &[\n",
    );
    for row in rows {
        let &[label, category, name, attack] = &row[..] else {
            panic!("config/labels.tsv: four columns, got {row:?}")
        };
        let category: String =
            category.split('_').map(|p| p[..1].to_uppercase() + &p[1..]).collect::<Vec<_>>().concat();
        writeln!(
            s,
            "    LabelInfo {{ label: {label:?}, category: Category::{category}, name: {name:?}, attack: {attack:?} }},"
        )
        .unwrap();
    }
    s.push_str("];\n");
    s
}
