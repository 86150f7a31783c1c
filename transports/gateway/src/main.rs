//! The binary `eventwire`.

fn main() -> std::process::ExitCode {
    eventwire_gateway::cli::run(std::env::args_os())
}
