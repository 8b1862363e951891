//! Which of the sources says what a setting is.
//!
//! The highest source that gives a setting a value wins; all the variables that it gives one by count, so that those of a list add up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::mistakes::{Mistake, Place};
use super::nearest::nearest;
use super::settings::{self, SETTINGS, Setting};
use super::sources::Sources;

/// A value as it was written, which is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The variable, or the key of a file.
    pub(super) name: String,
    /// Where it stands.
    pub(super) place: Place,
    /// What it says.
    pub(super) written: Written,
}

/// How a value was written: a variable cannot tell a list from a text with commas, a file can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Text(String),
    List(Vec<String>),
}

impl Given {
    /// A mistake in this value.
    pub(super) fn mistake(&self, problem: impl Into<String>) -> Mistake {
        Mistake {
            name: self.name.clone(),
            place: self.place.clone(),
            problem: problem.into(),
        }
    }
}

/// The sources, ready to be asked.
pub(super) struct Layers {
    pub(super) sources: Sources,
    file: BTreeMap<String, Given>,
    defaults: BTreeMap<String, Given>,
    /// What stands under `[[channels]]`.
    pub(super) channels: Option<(Place, Value)>,
    /// What stands under `[[routes]]`.
    pub(super) routes: Option<(Place, Value)>,
}

/// The built-in defaults.
pub(super) const DEFAULTS: &str = include_str!("../../tidings.default.toml");

const CHANNELS: &str = "channels";
const ROUTES: &str = "routes";

impl Layers {
    /// Reads the files; what they say that is no setting becomes a mistake.
    pub(super) fn new(sources: Sources, mistakes: &mut Vec<Mistake>) -> Self {
        let defaults = DEFAULTS.parse::<Table>().expect("a test reads the built-in defaults");
        let defaults = flatten(defaults, &Place::Default, mistakes);
        let (mut channels, mut routes) = (None, None);
        let file = sources.file.as_ref().map(|file| {
            let place = Place::File(file.path.clone());
            let mut table = parse_file(&file.path, &file.text, mistakes);
            channels = table.remove(CHANNELS).map(|value| (place.clone(), value));
            routes = table.remove(ROUTES).map(|value| (place.clone(), value));
            flatten(table, &place, mistakes)
        });
        check_overrides(&sources, mistakes);
        Self {
            sources,
            file: file.unwrap_or_default(),
            defaults,
            channels,
            routes,
        }
    }

    /// What the highest source says that says anything; empty if the setting is not set at all.
    pub(super) fn find(&self, setting: &Setting) -> Vec<Cow<'_, Given>> {
        let overridden = setting
            .variables
            .iter()
            .chain([&setting.key])
            .filter_map(|name| self.overridden(name));
        let overridden: Vec<_> = overridden.map(Cow::Owned).collect();
        if !overridden.is_empty() {
            return overridden;
        }
        let variables = setting.variables.iter().filter_map(|name| self.in_environment(name));
        let variables: Vec<_> = variables.map(Cow::Owned).collect();
        if !variables.is_empty() {
            return variables;
        }
        let in_files = self.file.get(setting.key).or_else(|| self.default(setting));
        in_files.map(Cow::Borrowed).into_iter().collect()
    }

    /// Whether somebody has set it.
    pub(super) fn is_set(&self, setting: &Setting) -> bool {
        let names = || setting.variables.iter().chain([&setting.key]);
        names().any(|name| self.overridden(name).is_some() || self.in_environment(name).is_some())
            || self.file.contains_key(setting.key)
    }

    /// The built-in default, if there is one.
    pub(super) fn default(&self, setting: &Setting) -> Option<&Given> {
        self.defaults.get(setting.key)
    }

    /// What a variable says, wherever variables can stand.
    pub(super) fn variable(&self, name: &str) -> Option<Given> {
        self.overridden(name).or_else(|| self.in_environment(name))
    }

    fn overridden(&self, name: &str) -> Option<Given> {
        given(name, Place::CommandLine, self.sources.overrides.get(name)?)
    }

    fn in_environment(&self, name: &str) -> Option<Given> {
        let from = |variables: &BTreeMap<String, String>, place| given(name, place, variables.get(name)?);
        from(&self.sources.environment, Place::Environment).or_else(|| from(&self.sources.env_file, Place::EnvFile))
    }
}

fn given(name: &str, place: Place, value: &str) -> Option<Given> {
    let value = value.trim();
    (!value.is_empty()).then(|| Given {
        name: name.to_owned(),
        place,
        written: Written::Text(value.to_owned()),
    })
}

fn check_overrides(sources: &Sources, mistakes: &mut Vec<Mistake>) {
    for name in sources.overrides.keys() {
        if settings::by_key(name).is_none() && !settings::is_known_variable(name) {
            let known = settings::known_variables().chain(SETTINGS.iter().map(|setting| setting.key));
            mistakes.push(Mistake {
                name: name.clone(),
                place: Place::CommandLine,
                problem: format!("there is no such setting{}", did_you_mean(name, known)),
            });
        }
    }
}

/// The end of a sentence about an unknown name.
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

fn parse_file(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Table {
    match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            // The line itself stays unsaid: it may be a secret.
            let line = error
                .span()
                .map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!("line {line} "));
            mistakes.push(Mistake {
                name: String::new(),
                place: Place::File(path.to_owned()),
                problem: format!("{place}is not TOML: {}", error.message()),
            });
            Table::new()
        }
    }
}

/// The settings of a file by their whole keys. What is empty is left out.
fn flatten(table: Table, place: &Place, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Given> {
    let mut flat = BTreeMap::new();
    let mut sections = vec![(String::new(), table)];
    while let Some((section, table)) = sections.pop() {
        for (name, value) in table {
            let key = if section.is_empty() {
                name
            } else {
                format!("{section}.{name}")
            };
            match value {
                Value::Table(inner) if settings::by_key(&key).is_none() => sections.push((key, inner)),
                value => match read_setting(&key, value) {
                    Ok(Some(written)) => {
                        flat.insert(
                            key.clone(),
                            Given {
                                name: key,
                                place: place.clone(),
                                written,
                            },
                        );
                    }
                    Ok(None) => {}
                    Err(problem) => mistakes.push(Mistake {
                        name: key,
                        place: place.clone(),
                        problem,
                    }),
                },
            }
        }
    }
    flat
}

fn read_setting(key: &str, value: Value) -> Result<Option<Written>, String> {
    if settings::by_key(key).is_none() {
        let keys = || SETTINGS.iter().map(|setting| setting.key);
        if keys().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))) {
            return Err(format!("is a section: write its settings below a line [{key}]"));
        }
        return Err(format!("there is no such setting{}", did_you_mean(key, keys())));
    }
    read_value(value)
}

/// A value as text; `None` if it is empty.
pub(super) fn read_value(value: Value) -> Result<Option<Written>, String> {
    match value {
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.into_iter().map(scalar).collect();
            let mut items = items.ok_or("a list may have texts and numbers in it, nothing else")?;
            items.retain(|item| !item.is_empty());
            Ok((!items.is_empty()).then_some(Written::List(items)))
        }
        value => {
            let text = scalar(value).ok_or("has to be a value, not a section")?;
            Ok((!text.is_empty()).then_some(Written::Text(text)))
        }
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(boolean) => Some(boolean.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}
