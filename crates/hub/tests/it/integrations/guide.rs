//! What `docs/guides/bookings.md` tells people to copy, run as they would: each snippet whose runtime is on this machine.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tidings::clock::Clock;
use tidings_sandbox::{LedgerKind, NewCustomer};

use crate::harness::{Setup, on_both_with};

const SECRET: &str = "the-secret-of-the-guide";

/// The word after a snippet's fence, the program that runs it, how it is told what to run, and as which file.
const RUNTIMES: [(&str, &str, &[&str], &str); 4] = [
    ("sh", "sh", &[], "snippet.sh"),
    ("js", "node", &[], "snippet.mjs"),
    ("python", "python3", &[], "snippet.py"),
    ("php", "php", &[], "snippet.php"),
];

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/bookings.md");
    std::fs::read_to_string(path).unwrap()
}

fn snippet(guide: &str, language: &str) -> String {
    let (_, rest) = guide
        .split_once(&format!("```{language}\n"))
        .unwrap_or_else(|| panic!("the guide has no snippet in {language}"));
    rest.split_once("```\n").unwrap().0.to_owned()
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program)
        .arg(if program == "sh" { "-c" } else { "--version" })
        .args((program == "sh").then_some("curl --version && openssl version"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

#[test]
fn the_guide_has_a_snippet_in_every_language() {
    let guide = guide();
    for language in ["sh", "js", "python", "php", "rust"] {
        let snippet = snippet(&guide, language);
        for part in [
            "/integrations/whatsapp/booking-confirmation",
            "X-Integration-Signature",
            "SECRET",
            "HUB",
        ] {
            assert!(snippet.contains(part), "{language} lacks {part}");
        }
    }
}

#[tokio::test]
async fn the_snippets_of_the_guide_confirm_the_booking_once() {
    let mut setup = Setup::default().with("WHATSAPP_INTEGRATION_SECRETS", SECRET);
    setup.sandbox.world.customers.push(NewCustomer {
        id: Some("guest".to_owned()),
        name: "A guest".to_owned(),
        phone: Some("31612345678".to_owned()),
        ..NewCustomer::default()
    });
    on_both_with(setup, async |harness| {
        let guide = guide();
        // The snippets look at the machine's clock.
        let now = Clock::system().now_millis();
        harness.clock.shift(now - harness.clock.now_millis());
        let folder = tempfile::tempdir().unwrap();
        let mut ids = Vec::new();
        for (language, program, arguments, name) in RUNTIMES {
            if !is_there(program) {
                println!("skipped: there is no {program} here to run the snippet in {language}");
                continue;
            }
            let file = folder.path().join(name);
            std::fs::write(&file, snippet(&guide, language)).unwrap();
            let mut command = Command::new(program);
            command
                .args(arguments)
                .arg(&file)
                .env("HUB", harness.url(""))
                .env("SECRET", SECRET)
                .env("NO_PROXY", "*")
                .env("no_proxy", "*");
            let output = tokio::task::spawn_blocking(move || command.output().unwrap())
                .await
                .unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            let failed = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{language}: {told}{failed}");
            let answer: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(answer["status"], "accepted", "{language}: {answer}");
            ids.push(answer["messageId"].clone());
        }
        assert!(!ids.is_empty(), "none of the runtimes is here");
        // They all confirm the same booking, under the same key.
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(harness.ledger(LedgerKind::Accepted).len(), 1);
        let events = harness.phone("guest", crate::harness::NUMBER).await;
        assert!(events[0].to_string().contains("De Pier, Scheveningen"), "{events:?}");
    })
    .await;
}
