//! The `tidings` binary: the command line, and nothing else.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Before anything speaks TLS: of several providers in one process rustls takes none by itself.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let command_line = cli::CommandLine::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(anyhow::Error::new(error).context("the threads cannot be started")),
    };
    runtime.block_on(cli::run(command_line))
}
