//! Where captures lie: those of the project, and a labelled corpus beside it where there is one.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// The project's captures, by name.
pub fn pcaps() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join("pcaps"), &mut found);
    assert!(!found.is_empty(), "no captures in pcaps/");
    found
}

/// A labelled corpus: the folder that `FAREND_CORPUS` names, else a folder `corpus` with a `public/manifest.tsv` in a
/// directory beside the workspace. Without one, tests over it say so and pass.
pub fn corpus() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("FAREND_CORPUS") {
        return Some(named.into());
    }
    let beside = root().parent()?.to_owned();
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(beside).ok()?.flatten().map(|e| e.path()).collect();
    dirs.sort();
    dirs.into_iter().map(|d| d.join("corpus")).find(|c| c.join("public/manifest.tsv").is_file())
}

/// All captures of the corpus, or none with a word about it.
pub fn corpus_captures() -> Vec<PathBuf> {
    let Some(dir) = corpus() else {
        println!("skipped: no corpus beside the workspace (set FAREND_CORPUS to its folder)");
        return Vec::new();
    };
    let mut found = Vec::new();
    collect(&dir, &mut found);
    assert!(!found.is_empty(), "{}: no captures", dir.display());
    found
}

/// A row of the public corpus' manifest.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: PathBuf,
    pub category: String,
    pub labels: Vec<String>,
}

/// The rows of the public corpus' manifest, or none with a word about it.
pub fn manifest() -> Vec<Row> {
    let Some(dir) = corpus() else {
        println!("skipped: no corpus beside the workspace (set FAREND_CORPUS to its folder)");
        return Vec::new();
    };
    let dir = dir.join("public");
    let text = std::fs::read_to_string(dir.join("manifest.tsv")).expect("a manifest");
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Row {
                path: dir.join(fields.next()?),
                category: fields.next()?.to_owned(),
                labels: fields.next()?.split(',').filter(|l| *l != "-").map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// A path as messages show it: relative to the folder that all of them share.
pub fn short(path: &Path) -> String {
    let base = corpus().unwrap_or_else(root);
    path.strip_prefix(base).or_else(|_| path.strip_prefix(root())).unwrap_or(path).display().to_string()
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, into);
        } else if is_capture(&path) {
            into.push(path);
        }
    }
}

/// By magic, as the program itself does it, so that no naming convention hides a capture.
fn is_capture(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0u8; 4];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic));
    read.is_ok()
        && (matches!(
            u32::from_be_bytes(magic),
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 | 0xa1b2_cd34 | 0x34cd_b2a1 | 0x0a0d_0d0a
        ) || magic[..2] == [0x1f, 0x8b]
            || magic == [0x28, 0xb5, 0x2f, 0xfd])
}
