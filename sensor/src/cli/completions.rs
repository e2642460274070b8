//! `farend completions` and `farend man`: what clap makes of the command line's own description.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, Failure, code, say};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for every command into this directory instead of one page to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "farend", &mut script);
    say::out(&String::from_utf8_lossy(&script))
}

pub(super) fn man(args: &ManArgs) -> Result<u8, Failure> {
    let command = Cli::command();
    let Some(dir) = &args.dir else {
        let page = page(command).map_err(Failure::runtime)?;
        return say::out(&String::from_utf8_lossy(&page));
    };
    let told = |e: io::Error, path: &Path| Failure::runtime(format!("{}: {}", path.display(), say::io(&e)));
    std::fs::create_dir_all(dir).map_err(|e| told(e, dir))?;
    clap_mangen::generate_to(command, dir).map_err(|e| told(e, dir))?;
    Ok(code::CLEAN)
}

/// All of it in one page: the program, then each command.
fn page(mut root: Command) -> io::Result<Vec<u8>> {
    root.build();
    let mut out = Vec::new();
    let man = Man::new(root.clone());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    let mut commands = Vec::new();
    leaves(&root, &mut commands);
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    roff.to_writer(&mut out)?;
    for command in commands {
        let mut section = Vec::new();
        let usage = command.clone().render_usage().to_string();
        let mut roff = Roff::new();
        roff.control("SS", [usage.trim_start_matches("Usage: ").trim()]);
        roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        roff.to_writer(&mut section)?;
        // The options follow as part of the command, not under a heading of their own.
        let mut options = Vec::new();
        Man::new(command.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options);
        section.extend(options.replace(".SH OPTIONS\n", "").into_bytes());
        out.extend(section);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (status, means) in code::MEANINGS {
        roff.control("TP", []);
        roff.text([bold(status.to_string())]);
        roff.text([roman(means)]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    roff.control("TP", []);
    roff.text([bold("NO_COLOR")]);
    roff.text([roman("If set and not empty, nothing is coloured.")]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// Commands that do something by themselves, in the order of the help.
fn leaves<'a>(command: &'a Command, into: &mut Vec<&'a Command>) {
    for sub in command.get_subcommands() {
        if sub.has_subcommands() {
            leaves(sub, into);
        } else {
            into.push(sub);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_man_page_has_every_command_and_every_exit_code() {
        let page = String::from_utf8(page(Cli::command()).expect("rendered")).expect("text");
        let mut root = Cli::command();
        root.build();
        let mut commands = Vec::new();
        leaves(&root, &mut commands);
        assert!(commands.len() >= 10);
        for command in commands {
            let name = command.get_bin_name().expect("built").to_owned();
            assert!(page.contains(&format!(".SS \"{name}")), "{name}");
        }
        for (status, _) in code::MEANINGS {
            assert!(page.contains(&format!("\\fB{status}\\fR")), "{status}");
        }
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "farend", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["replay", "analyzers", "lookup", "fail-on"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
