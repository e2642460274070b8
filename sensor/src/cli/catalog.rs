//! `farend catalog`: the tools that are known by their names on the wire, and checks of files with more of them.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, columns, config, say};
use crate::catalog::{self, Catalogue, Fact, Pattern, Tool};
use crate::config::{Config, Format};

/// Names that are less alike are not worth telling.
const ALIKE: f64 = 0.5;
/// Names told where one was not found.
const TOLD: usize = 5;

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// List all tools
    List {
        #[command(flatten)]
        files: Files,
        /// As a table or as one JSON array
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
    /// Show one tool: label, technique, and every fact with its source
    Show {
        /// As in the list, or another name that the tool has or had
        name: String,
        #[command(flatten)]
        files: Files,
        /// As text or as one JSON object
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
    /// Check files of tools: every mistake with line and column
    Check {
        /// Files of the shape of config/catalogue/*.toml; several belong together
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Which catalogue.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Configuration whose [catalogue] files are laid over the built-in ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Files {
    fn catalogue(&self) -> Result<&'static Catalogue, Failure> {
        of(&config::load(self.config.as_deref())?)
    }
}

/// The catalogue in force.
pub(super) fn of(config: &Config) -> Result<&'static Catalogue, Failure> {
    Catalogue::with_files(&config.catalogue.files).map_err(config::mistakes)
}

pub(super) fn catalog(command: &CatalogCommand) -> Result<u8, Failure> {
    match command {
        CatalogCommand::List { files, format } => {
            let mut tools: Vec<&Tool> = files.catalogue()?.tools().iter().collect();
            tools.sort_by_key(|tool| tool.name.to_lowercase());
            match format {
                Format::Table => say::text(&list(&tools)),
                Format::Json => {
                    let all: Vec<Value> = tools.into_iter().map(object).collect();
                    say::out(&format!("{:#}\n", Value::Array(all)))
                }
            }
        }
        CatalogCommand::Show { name, files, format } => {
            let catalogue = files.catalogue()?;
            let tool = catalogue.tool(name).ok_or_else(|| unknown(name, catalogue))?;
            match format {
                Format::Table => say::text(&text(tool)),
                Format::Json => say::out(&format!("{:#}\n", object(tool))),
            }
        }
        CatalogCommand::Check { files } => {
            let tools = catalog::read(files).map_err(config::mistakes)?;
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            say::out(&format!("{}: good, {} tools\n", names.join(", "), tools.len()))
        }
    }
}

fn unknown(name: &str, catalogue: &Catalogue) -> Failure {
    let wanted = name.to_lowercase();
    let mut near: Vec<(f64, &str)> = catalogue
        .tools()
        .iter()
        .flat_map(|tool| std::iter::once(&tool.name).chain(&tool.also))
        .map(|known| {
            let lower = known.to_lowercase();
            // A part of a name is what people remember of it.
            let part = wanted.len() >= 3 && lower.contains(&wanted);
            (if part { 1.0 } else { strsim::normalized_damerau_levenshtein(&wanted, &lower) }, &**known)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let near: Vec<&str> = near.into_iter().take(TOLD).map(|(_, known)| known).collect();
    let way_out = if near.is_empty() {
        "farend catalog list shows all".to_owned()
    } else {
        format!("nearest: {}", near.join("; "))
    };
    Failure::usage(format!("{name}: no such tool ({way_out})"))
}

fn list(tools: &[&Tool]) -> String {
    let rows = tools.iter().map(|tool| {
        let count = |of: fn(&Fact) -> usize| match tool.facts.iter().map(of).sum::<usize>() {
            0 => "-".to_owned(),
            n => n.to_string(),
        };
        [
            tool.name.clone(),
            tool.label.label.to_owned(),
            tool.label.category.as_str().to_owned(),
            count(|fact| fact.session.len() + fact.alpn.len() + fact.subject.len() + fact.issuer.len()),
            count(|fact| fact.site.len()),
            sources(tool).join("; "),
        ]
    });
    columns::table(["tool", "label", "category", "session", "site", "source"], rows)
}

fn sources(tool: &Tool) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for fact in &tool.facts {
        if !all.contains(&&*fact.source) {
            all.push(&fact.source);
        }
    }
    all
}

fn text(tool: &Tool) -> String {
    let label = tool.label;
    let mut out = format!("{}\n", tool.name);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<9} {value}");
    };
    if !tool.also.is_empty() {
        row("also", &tool.also.join("; "));
    }
    row("label", &format!("{} ({}, category {})", label.label, label.name, label.category.as_str()));
    row("ATT&CK", label.attack);
    if !tool.via.is_empty() {
        row("via", &format!("{} (uses names of it, too)", tool.via.join("; ")));
    }
    for fact in &tool.facts {
        let _ = writeln!(out, "\n  {}", fact.source);
        let mut row = |name: &str, values: Vec<&str>| {
            if !values.is_empty() {
                let _ = writeln!(out, "    {name:<13} {}", values.join(", "));
            }
        };
        row("session", fact.session.iter().map(Pattern::as_str).collect());
        row("site", fact.site.iter().map(Pattern::as_str).collect());
        row("alpn", strs(&fact.alpn));
        row("subject", strs(&fact.subject));
        row("issuer", strs(&fact.issuer));
        for (name, values) in fact.device.rows() {
            row(name, strs(values));
        }
        row("ports", strs(&fact.ports));
        row("wire", fact.wire.iter().map(String::as_str).collect());
        if fact.is_bare() {
            let _ = writeln!(out, "    listed, with nothing that shows on a network");
        }
    }
    out
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn object(tool: &Tool) -> Value {
    let patterns = |list: &[Pattern]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    json!({
        "name": tool.name,
        "also": tool.also,
        "label": tool.label.label,
        "label_name": tool.label.name,
        "category": tool.label.category.as_str(),
        "mitre_technique_id": tool.label.attack,
        "via": tool.via,
        "facts": tool.facts.iter().map(|fact| json!({
            "source": fact.source,
            "session": patterns(&fact.session),
            "site": patterns(&fact.site),
            "alpn": fact.alpn,
            "subject": fact.subject,
            "issuer": fact.issuer,
            "device": fact.device.rows().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "ports": fact.ports,
            "wire": fact.wire,
        })).collect::<Vec<_>>(),
    })
}
