//! Reads the sources of the store and of this suite: a method that nobody calls here is not known to work on both engines.

use std::fs;
use std::path::Path;

#[test]
fn the_conformance_suite_calls_every_store_method() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = rust_files(&crate_folder.join("tests/store"))
        .into_iter()
        .map(|(_, text)| text)
        .collect::<String>();
    let mut methods = 0;
    let mut missing = Vec::new();
    for (file, text) in rust_files(&crate_folder.join("src/store")) {
        for method in public_methods_of_tx(&text) {
            methods += 1;
            if !tests.contains(&format!(".{method}(")) {
                missing.push(format!("{file}: {method}"));
            }
        }
    }
    assert!(
        methods > 50,
        "only {methods} methods were found: is this still how they are written?"
    );
    assert!(missing.is_empty(), "no test calls\n{}", missing.join("\n"));
}

/// The names of the `pub fn`s inside `impl Tx` blocks. Sources are formatted, so that a block ends at the first `}` in the first column.
fn public_methods_of_tx(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("impl") {
            inside = line.contains(" Tx<") && !line.contains(" for ");
        } else if line.starts_with('}') {
            inside = false;
        } else if inside && let Some(rest) = line.strip_prefix("    pub fn ") {
            names.extend(rest.split(['(', '<']).next().map(str::to_owned));
        }
    }
    names
}

fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn methods_of_tx_are_told_from_others() {
    let text = "impl Store {\n    pub fn other(&self) {}\n}\n\nimpl Tx<'_> {\n    pub fn one(&mut self) {\n    }\n\n    fn private() {}\n\n    pub fn two<T>(&mut self) {}\n}\n\npub fn three() {}\n";
    assert_eq!(public_methods_of_tx(text), ["one", "two"]);
}
