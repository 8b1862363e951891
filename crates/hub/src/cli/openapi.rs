//! `tidings openapi`: the document of the API, as a running hub serves it.

use anyhow::Context;

use super::failure::Failure;
use super::output;

pub(super) fn run() -> Result<(), Failure> {
    let document = tidings::routes::openapi();
    output::line(
        document
            .to_pretty_json()
            .context("the document cannot be written as JSON")?,
    );
    Ok(())
}
