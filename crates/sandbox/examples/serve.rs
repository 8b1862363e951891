//! A sandbox by itself, for trying out and for the tests in a browser: prints its address, and serves until its input ends.

use std::error::Error;

use tidings_sandbox::{Options, Sandbox};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start(Options::default()).await?;
    #[expect(clippy::print_stdout, reason = "it is what the caller reads")]
    {
        println!("{}", sandbox.url());
    }
    // Nothing else runs on this thread: the sandbox has its own.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    sandbox.stop().await;
    Ok(())
}
