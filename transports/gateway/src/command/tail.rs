//! tail
use super::Gateway;
/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}
/// run
/// # Errors
/// none
pub async fn run(_flags: TailArgs) -> Result<std::process::ExitCode, crate::cli::Failure> {
    Ok(std::process::ExitCode::SUCCESS)
}
