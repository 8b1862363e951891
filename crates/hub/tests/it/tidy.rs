//! Reads our own sources and refuses what neither the compiler nor clippy sees: which folder may name a database, what a `model.rs`
//! may know, where routes are declared, which words mean one thing here.
//!
//! Every rule looks at Rust with comments and strings told apart from code ([`Source::parse`]), so that a rule can be named in a
//! sentence without breaking it. A finding bears file and line; [`our_sources_are_tidy`] shows all of them at once. A rule has to be
//! precise: one that needs exceptions is not for here. `clippy.toml` holds what clippy can see.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Finding, Source};

/// The crates that speak to a database; the product names them in `store/` alone.
const DATABASES: &[&str] = &["rusqlite", "postgres", "tokio_postgres"];

/// What a `model.rs` may not know of: rules are pure, so that a test needs neither server, database nor runtime.
const FRAMEWORKS: &[&str] = &[
    "axum",
    "hyper",
    "postgres",
    "reqwest",
    "rusqlite",
    "tokio",
    "tokio_postgres",
    "tower",
];

/// How axum and utoipa-axum are told an address.
const ROUTE_METHODS: &[&str] = &["nest", "nest_service", "route", "route_service"];

/// Words that have another name in the product, after the list of words in CONTRIBUTING.md.
const WORDS: &[(&str, &str)] = &[
    ("chat", "conversation"),
    ("hsm", "template"),
    ("msg", "message"),
    ("msgs", "messages"),
    ("waba", "the channel's account; Meta's own words stop at crates/meta"),
    ("wamid", "external id; Meta's own words stop at crates/meta"),
];

/// File names that say nothing of what is inside.
const NAMELESS: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "service", "services", "util", "utils",
];

/// Crates that each of ours must do without: it is what makes it a crate of its own.
const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        "crates/meta/Cargo.toml",
        &[
            "axum",
            "postgres",
            "rusqlite",
            "tidings",
            "tidings-sandbox",
            "tokio-postgres",
        ],
    ),
    (
        "crates/sandbox/Cargo.toml",
        &["postgres", "rusqlite", "tidings", "tokio-postgres"],
    ),
];

const RULES: &[fn(&Source, &mut Vec<Finding>)] = &[
    databases_stay_in_the_store,
    models_are_pure,
    routes_are_declared_together,
    nothing_is_put_off,
    tests_do_not_sleep,
    chances_are_drawn_in_one_place,
    words_mean_one_thing,
    files_have_a_subject,
];

#[test]
fn our_sources_are_tidy() {
    let root = workspace();
    let mut findings = Vec::new();
    let mut sources = 0;
    for path in files(&root.join("crates")) {
        let name = relative(&root, &path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
        if path.extension().is_some_and(|extension| extension == "rs") {
            sources += 1;
            findings.extend(check(&name, &text));
        } else {
            findings.extend(check_manifest(&name, &text));
        }
    }
    assert!(
        sources > 10,
        "only {sources} sources found under {}: the search is broken",
        root.display()
    );
    let report: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(
        report.is_empty(),
        "{} untidy places:\n{}",
        report.len(),
        report.join("\n")
    );
}

/// Every finding in one Rust source; `file` is its path from the workspace's folder.
fn check(file: &str, text: &str) -> Vec<Finding> {
    let source = Source::parse(file, text);
    let mut findings = Vec::new();
    for rule in RULES {
        rule(&source, &mut findings);
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

fn databases_stay_in_the_store(source: &Source, findings: &mut Vec<Finding>) {
    if !source.file.starts_with("crates/hub/src/")
        || source.file.starts_with("crates/hub/src/store/")
        || source.file == "crates/hub/src/store.rs"
    {
        return;
    }
    for word in source.product().filter(|word| word.names_crate(DATABASES)) {
        findings.push(word.finding(
            source,
            format!("`{}` is named outside crates/hub/src/store/", word.text),
        ));
    }
}

fn models_are_pure(source: &Source, findings: &mut Vec<Finding>) {
    if !source.file.starts_with("crates/hub/src/") || source.stem() != "model" {
        return;
    }
    for word in source.product().filter(|word| word.names_crate(FRAMEWORKS)) {
        findings.push(word.finding(
            source,
            format!("a model.rs holds types and rules: it may not name `{}`", word.text),
        ));
    }
}

fn routes_are_declared_together(source: &Source, findings: &mut Vec<Finding>) {
    if !source.file.starts_with("crates/hub/src/") || matches!(source.stem(), "api" | "routes") {
        return;
    }
    for word in source
        .product()
        .filter(|word| ROUTE_METHODS.contains(&word.text) && word.before().ends_with('.'))
    {
        let Some(opened) = word.after().strip_prefix('(') else {
            continue;
        };
        // The code has a string's quotes but not its content; both views have the same length up to here.
        let at = source.code.len() - opened.trim_start().len();
        if opened.trim_start().starts_with('"') && source.code_and_strings[at..].starts_with("\"/") {
            findings.push(word.finding(source, "a route is declared outside routes.rs and api.rs".to_owned()));
        }
    }
}

fn nothing_is_put_off(source: &Source, findings: &mut Vec<Finding>) {
    for word in source.words() {
        let reason = match word.text {
            "todo" | "unimplemented" if word.after().starts_with('!') => "is unfinished work",
            "ignore" if word.before().ends_with("#[") || word.is_in_attribute("cfg_attr") => "switches a test off",
            _ => continue,
        };
        findings.push(word.finding(source, format!("`{}` {reason}", word.text)));
    }
    for (index, line) in source.comments.lines().enumerate() {
        for mark in ["TODO", "FIXME"] {
            if line.contains(mark) {
                findings.push(source.finding(index + 1, format!("`{mark}` is unfinished work")));
            }
        }
    }
}

fn tests_do_not_sleep(source: &Source, findings: &mut Vec<Finding>) {
    // There time is simulated: whoever sleeps moves the clock.
    if source.file.contains("/tests/sim/") {
        return;
    }
    let in_test_folder = source.file.contains("/tests/");
    let sleeps = source
        .words()
        .filter(|word| word.text == "sleep" && word.after().starts_with('(') && !word.before().ends_with('.'));
    for word in sleeps.filter(|word| in_test_folder || word.start >= source.product_end) {
        if !word.before().ends_with("fn") {
            findings.push(word.finding(source, "a test sleeps: move the clock or await a signal".to_owned()));
        }
    }
}

/// Without `biased` a `select!` takes what is ready by chance, which no seed decides: a simulated history could not be repeated.
fn chances_are_drawn_in_one_place(source: &Source, findings: &mut Vec<Finding>) {
    if !source.file.starts_with("crates/hub/src/") || source.file.starts_with("crates/hub/src/cli/") {
        return;
    }
    for word in source.product().filter(|word| word.text == "select") {
        let Some(opened) = word.after().strip_prefix('!') else {
            continue;
        };
        let branches = opened.trim_start().trim_start_matches(['{', '(']).trim_start();
        if !branches.starts_with("biased;") {
            findings.push(word.finding(
                source,
                "`select!` begins with `biased;`: what is ready is taken in the order in which it stands".to_owned(),
            ));
        }
    }
}

fn words_mean_one_thing(source: &Source, findings: &mut Vec<Finding>) {
    if !source.file.starts_with("crates/hub/") {
        return;
    }
    for word in source.words() {
        let parts = segments(word.text);
        for (wrong, right) in WORDS {
            if parts.iter().any(|part| part == wrong) {
                findings.push(word.finding(source, format!("`{}` says `{wrong}`: say {right}", word.text)));
            }
        }
    }
}

fn files_have_a_subject(source: &Source, findings: &mut Vec<Finding>) {
    let folder = Path::new(&source.file)
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    for name in [source.stem(), folder] {
        if NAMELESS.contains(&name) {
            findings.push(source.finding(
                1,
                format!("`{name}` does not say what is inside: find the owner of each thing in it"),
            ));
        }
    }
}

/// A dependency in any table of a manifest but `[dev-dependencies]`, whose crates no user of ours gets.
fn check_manifest(file: &str, text: &str) -> Vec<Finding> {
    let Some((_, forbidden)) = FORBIDDEN_DEPENDENCIES.iter().find(|(manifest, _)| *manifest == file) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut table = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        } else if table.ends_with("dependencies") && !table.ends_with("dev-dependencies") {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if forbidden.contains(&name) {
                findings.push(Finding {
                    file: file.to_owned(),
                    line: index + 1,
                    reason: format!("this crate does without `{name}`"),
                });
            }
        }
    }
    findings
}

/// The parts of a name, in lower case: `SendMsgError` and `send_msg_error` have the same.
fn segments(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for character in name.chars() {
        if character == '_' || (character.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        if character != '_' {
            parts
                .last_mut()
                .expect("there is always a part")
                .extend(character.to_lowercase());
        }
        after_lower = character.is_lowercase() || character.is_numeric();
    }
    parts
}

fn workspace() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .ancestors()
        .nth(2)
        .expect("the crate is two folders deep in the workspace")
        .to_owned()
}

/// Every file below `folder`, in the order of their paths.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
        for entry in entries {
            let path = entry
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()))
                .path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "toml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

/// The rules themselves, on small sources: each must find what it is for, and only that.
mod rules {
    use super::{check, check_manifest};

    /// Asserts on which lines of `text` a rule finds something, were it the file `file`.
    #[track_caller]
    fn finds(file: &str, text: &str, lines: &[usize]) {
        let findings = check(file, text);
        let found: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, lines, "in {file}:\n{text}\nfound: {report:#?}");
    }

    #[test]
    fn a_database_is_named_in_the_store_alone() {
        let text =
            "use rusqlite::Connection;\nuse postgres;\nfn f(c: &mut postgres::Client) {}\nuse ::tokio_postgres::Row;\n";
        finds("crates/hub/src/ingest/mod.rs", text, &[1, 2, 3, 4]);
        finds("crates/hub/src/app.rs", text, &[1, 2, 3, 4]);
        finds("crates/hub/src/store/ingest.rs", text, &[]);
        finds("crates/hub/tests/it/harness.rs", text, &[]);
        finds("crates/bench/src/main.rs", text, &[]);
    }

    #[test]
    fn a_choice_is_made_in_order() {
        let text =
            "let a = tokio::select! {\n    biased;\n    () = b => 1,\n};\ntokio::select! {\n    () = b => {}\n}\n";
        finds("crates/hub/src/ingest/mod.rs", text, &[5]);
        finds("crates/hub/src/cli/demo.rs", text, &[]);
        finds("crates/hub/tests/it/harness.rs", text, &[]);
    }

    #[test]
    fn a_word_that_only_looks_like_a_database_is_none() {
        finds(
            "crates/hub/src/config.rs",
            "use crate::store::postgres::Pool;\nlet postgres = url;\nStore::Postgres(postgres)\n",
            &[],
        );
        finds(
            "crates/hub/src/config.rs",
            "// rusqlite::Connection\nlet scheme = \"postgres://\";\nf(r#\"\"rusqlite::X\"#);\n",
            &[],
        );
    }

    #[test]
    fn a_model_names_no_framework() {
        let text =
            "use jiff::Timestamp;\nuse tokio::time::Instant;\npub struct A(axum::body::Bytes);\nuse reqwest::Url;\n";
        finds("crates/hub/src/sending/model.rs", text, &[2, 3, 4]);
        finds("crates/hub/src/sending/jobs.rs", text, &[]);
        finds(
            "crates/hub/src/sending/model.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use tokio::runtime;\n}\n",
            &[],
        );
        finds(
            "crates/hub/src/sending/model.rs",
            "#[cfg(test)]\nmod orders;\nuse tokio::runtime;\n",
            &[3],
        );
    }

    #[test]
    fn a_route_is_declared_in_routes_or_api() {
        let text = "Router::new()\n    .route(\"/health\", get(health))\n    .nest(\n        \"/api\", api())\n    .route(path, get(x))\n";
        finds("crates/hub/src/monitoring/mod.rs", text, &[2, 3]);
        finds("crates/hub/src/monitoring/api.rs", text, &[]);
        finds("crates/hub/src/routes.rs", text, &[]);
        finds("crates/sandbox/src/graph.rs", text, &[]);
        finds(
            "crates/hub/src/sending/mod.rs",
            "policy.route(\"whatsapp\"); route(\"/x\"); // .route(\"/x\")\n",
            &[],
        );
    }

    #[test]
    fn work_put_off_is_found_in_code_and_comments() {
        finds(
            "crates/meta/src/lib.rs",
            "fn f() { todo!() }\nfn g() { unimplemented! () }\n",
            &[1, 2],
        );
        finds(
            "crates/meta/src/lib.rs",
            "#[test]\n#[ignore]\nfn f() {}\n#[ignore = \"slow\"]\n#[cfg_attr(windows, ignore)]\n",
            &[2, 4, 5],
        );
        finds("crates/meta/src/lib.rs", "/* a\n TODO */\n// FIXME later\n", &[2, 3]);
        finds(
            "crates/meta/src/lib.rs",
            "let a = \"TODO todo!() #[ignore]\"; // todo!() means unfinished\nlet ignore = todo;\n",
            &[],
        );
    }

    #[test]
    fn a_test_does_not_sleep() {
        let text = "async fn f() {\n    tokio::time::sleep(pause).await;\n    clock.sleep(pause).await;\n}\n";
        finds("crates/sandbox/tests/graph.rs", text, &[2]);
        finds("crates/sandbox/src/clock.rs", text, &[]);
        finds(
            "crates/sandbox/src/clock.rs",
            "fn sleep() {}\n#[cfg(test)]\nmod tests {\n    fn f() { std::thread::sleep(x) }\n}\n",
            &[4],
        );
    }

    #[test]
    fn a_word_of_another_tongue_is_found_in_any_spelling() {
        finds(
            "crates/hub/src/a.rs",
            "let msg = 1;\nstruct SendMsgError;\nconst MAX_MSGS: u8 = 1;\nfn chat_id() {}\nlet wamid = x.waba_id;\n",
            &[1, 2, 3, 4, 5, 5],
        );
        finds(
            "crates/hub/src/a.rs",
            "let message = \"msg\"; // a wamid\nfn messages(chatter: X) {}\n",
            &[],
        );
        finds("crates/meta/src/a.rs", "let wamid = 1;\n", &[]);
    }

    #[test]
    fn a_file_is_named_after_its_subject() {
        finds("crates/hub/src/http/utils.rs", "\n", &[1]);
        finds("crates/hub/src/common/mod.rs", "\n", &[1]);
        finds("crates/hub/src/http/problem.rs", "\n", &[]);
    }

    #[test]
    fn characters_and_lifetimes_do_not_hide_code() {
        finds("crates/meta/src/a.rs", "let a = '\"'; todo!();\n", &[1]);
        finds("crates/meta/src/a.rs", "let a = '\\''; todo!();\n", &[1]);
        finds(
            "crates/meta/src/a.rs",
            "fn f<'a>(x: &'a str) { todo!() }\nlet é = 'é'; todo!();\n",
            &[1, 2],
        );
        finds(
            "crates/meta/src/a.rs",
            "let a = \"\\\\\"; todo!();\nlet r#type = br##\"\"# todo!()\"##; todo!();\n",
            &[1, 2],
        );
        finds(
            "crates/meta/src/a.rs",
            "/* a /* b */ todo!() */\nlet a = \"\n\";\ntodo!();\n",
            &[4],
        );
        finds("crates/meta/src/a.rs", "let open = \"never closed", &[]);
    }

    #[test]
    fn a_crate_does_without_what_makes_it_one() {
        let text = "[package]\nname = \"tidings-meta\"\n[dependencies]\nserde.workspace = true\naxum = \"0.8\"\n[dev-dependencies]\naxum.workspace = true\n";
        let lines = |file| {
            check_manifest(file, text)
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("crates/meta/Cargo.toml"), [5]);
        assert_eq!(lines("crates/hub/Cargo.toml"), [0_usize; 0]);
        let target = "[target.'cfg(unix)'.dependencies]\ntidings.workspace = true\n";
        assert_eq!(check_manifest("crates/sandbox/Cargo.toml", target).len(), 1);
    }
}
