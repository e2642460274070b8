//! The `farend` program.

fn main() -> std::process::ExitCode {
    farend::cli::main()
}
