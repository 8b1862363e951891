//! Where settings come from, as plain maps, so that a test can hand in its own; and the only place that reads the process's environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::mistakes::{ConfigErrors, Mistake, Place};
use super::settings;

/// Everything that settings are read from, before the built-in defaults. Variables are by name; an empty value is none.
// No `Debug`: it holds every secret as it was written.
#[derive(Clone, Default)]
pub struct Sources {
    /// `tidings.toml`.
    pub file: Option<ConfigFile>,
    /// The variables of the file `.env`.
    pub env_file: BTreeMap<String, String>,
    /// The variables of the environment; each goes before one of the same name in [`env_file`](Self::env_file).
    pub environment: BTreeMap<String, String>,
    /// What goes before all others: by the name of a variable, or by a key such as `webhooks.batch_size`.
    pub overrides: BTreeMap<String, String>,
}

/// A settings file.
#[derive(Clone)]
pub struct ConfigFile {
    /// Where it is, as shown to people.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// The settings file that is read when none is named.
const CONFIG_FILE: &str = "tidings.toml";

const ENV_FILE: &str = ".env";

impl Sources {
    /// What this process has: the file named (or `tidings.toml`, if there is one), `.env` in the working directory, the environment.
    /// Nothing is written to the environment.
    ///
    /// Fails, with all that is wrong, if a file is not there though it was named, cannot be read, or is not what it should be.
    pub fn from_process(config_file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let mut mistakes = Vec::new();
        let file = read_config_file(config_file, &mut mistakes);
        let env_file = match read(Path::new(ENV_FILE)) {
            Ok(text) => parse_env_file(&text.unwrap_or_default(), &mut mistakes),
            Err(problem) => {
                mistakes.push(Mistake {
                    name: String::new(),
                    place: Place::EnvFile,
                    problem,
                });
                BTreeMap::new()
            }
        };
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment = parse_environment(std::env::vars_os(), &mut mistakes);
        if mistakes.is_empty() {
            Ok(Self {
                file,
                env_file,
                environment,
                overrides: BTreeMap::new(),
            })
        } else {
            Err(ConfigErrors(mistakes))
        }
    }

    /// A variable that is not a setting of the hub, such as the address at which the command line finds it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        [&self.overrides, &self.environment, &self.env_file]
            .into_iter()
            .filter_map(|variables| variables.get(name))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
    }
}

fn read_config_file(named: Option<&Path>, mistakes: &mut Vec<Mistake>) -> Option<ConfigFile> {
    let path = named.unwrap_or(Path::new(CONFIG_FILE)).to_owned();
    let problem = match read(&path) {
        Ok(Some(text)) => return Some(ConfigFile { path, text }),
        Ok(None) if named.is_none() => return None,
        Ok(None) => "there is no such file; mend the path after --config, or leave it out".to_owned(),
        Err(problem) => problem,
    };
    mistakes.push(Mistake {
        name: String::new(),
        place: Place::File(path),
        problem,
    });
    None
}

/// The text of a file; `None` if there is no file.
fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err("is not text in UTF-8".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn parse_env_file(text: &str, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((name, value)) => {
                // As a shell would have it: the last one holds.
                variables.insert(name, value);
            }
            Err(error) => mistakes.push(Mistake {
                name: String::new(),
                place: Place::EnvFile,
                problem: env_file_problem(text, &error),
            }),
        }
    }
    variables
}

/// The line is named by its number: its text may be a secret.
fn env_file_problem(text: &str, error: &dotenvy::Error) -> String {
    // The error bears the end of the line that it is about.
    let number = match error {
        dotenvy::Error::LineParse(rest, _) => text.lines().position(|line| {
            line.trim().ends_with(rest.trim()) && dotenvy::from_read_iter(line.as_bytes()).any(|item| item.is_err())
        }),
        _ => None,
    };
    let place = number.map_or_else(|| "a line".to_owned(), |index| format!("line {}", index + 1));
    format!("{place} is not of the form NAME=value; a value with spaces, quotes, # or $ stands in 'single quotes'")
}

fn parse_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, String> {
    let mut parsed = BTreeMap::new();
    for (name, value) in variables {
        // A name that is not text is none of ours.
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                parsed.insert(name, value);
            }
            Err(_) if settings::is_known_variable(&name) => mistakes.push(Mistake {
                name,
                place: Place::Environment,
                problem: "the value is not text in UTF-8".to_owned(),
            }),
            Err(_) => {}
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_env_file_without_touching_the_environment() {
        let text = "# ours\nexport WEBHOOK_BATCH_SIZE=7\nWHATSAPP_APP_SECRET='a#b$c d'\nTIDINGS_LOG=\"debug\" # loud\nTIDINGS_LOG=warn\nEMPTY=\n";
        let mut mistakes = Vec::new();
        let variables = parse_env_file(text, &mut mistakes);
        assert_eq!(mistakes, []);
        let expected = [
            ("EMPTY", ""),
            ("TIDINGS_LOG", "warn"),
            ("WEBHOOK_BATCH_SIZE", "7"),
            ("WHATSAPP_APP_SECRET", "a#b$c d"),
        ];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_alone() {
        let mut mistakes = Vec::new();
        let variables = parse_env_file("A=1\n\nSECRET = my secret value\nB=2\n", &mut mistakes);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        let told = mistakes[0].to_string();
        assert!(told.starts_with(".env: line 3 is not of the form NAME=value"), "{told}");
        assert!(!told.contains("my secret"), "{told}");
        assert_eq!(variables["A"], "1");
    }

    #[test]
    fn a_named_file_has_to_be_there() {
        let mut mistakes = Vec::new();
        assert!(read_config_file(Some(Path::new("/nowhere/tidings.toml")), &mut mistakes).is_none());
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0]
                .to_string()
                .starts_with("/nowhere/tidings.toml: there is no such file"),
            "{}",
            mistakes[0]
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidings.toml");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read(&path), Err("is not text in UTF-8".to_owned()));
        assert_eq!(read(&folder.path().join("absent")), Ok(None));
        assert!(read(folder.path()).unwrap_err().starts_with("cannot be read: "));
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_a_mistake_where_it_is_ours() {
        use std::os::unix::ffi::OsStringExt;
        let broken = || OsString::from_vec(vec![0xff]);
        let variables = [
            (OsString::from("DATABASE_URL"), broken()),
            ("LS_COLORS".into(), broken()),
            (broken(), "x".into()),
        ];
        let mut mistakes = Vec::new();
        let parsed = parse_environment(variables.into_iter(), &mut mistakes);
        assert!(parsed.is_empty());
        assert_eq!(mistakes.len(), 1);
        assert_eq!(
            mistakes[0].to_string(),
            "DATABASE_URL (environment): the value is not text in UTF-8"
        );
    }
}
