//! Turns what stands in the sources into values, and notes on the way what holds, where it comes from, and every mistake.

use super::EffectiveSetting;
use super::layers::{Given, Layers, Written};
use super::mistakes::Mistake;
use super::settings::{self, Setting, Show};
use super::values::{self, NotAValue, Parsed};

/// One pass over the settings.
pub(super) struct Reading<'a> {
    pub(super) layers: &'a Layers,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) effective: Vec<EffectiveSetting>,
}

impl Reading<'_> {
    /// A setting that has a default. After a mistake it has that default, so that reading goes on to the next mistake.
    pub(super) fn required<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        if let Some(value) = self.optional(key, &parse) {
            return value;
        }
        let default = self
            .layers
            .default(setting(key))
            .expect("a test holds the defaults against the settings");
        let text = one_text(default).expect("a default that is one value is written as one");
        parse(text).unwrap_or_else(|NotAValue(reason)| panic!("the built-in default of {key} {reason}"))
    }

    /// Whether somebody has set a setting that has a default.
    pub(super) fn is_set(&self, key: &'static str) -> bool {
        self.layers.is_set(setting(key))
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let setting = setting(key);
        let found = self.layers.find(setting);
        self.note(setting, &found.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        let first = found.first()?;
        if let Some(other) = found.iter().find(|other| other.written != first.written) {
            self.mistakes
                .push(first.mistake(format!("{} says otherwise; leave out one of them", other.name)));
            return None;
        }
        let Some(text) = one_text(first) else {
            self.mistakes.push(first.mistake("is one value, not a list"));
            return None;
        };
        self.parse(setting.show, first, text, parse)
    }

    /// A setting that is a list, empty if it is absent. What is in it twice is in it once.
    pub(super) fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
        let setting = setting(key);
        let found = self.layers.find(setting);
        self.note(setting, &found.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        let mut seen: Vec<&str> = Vec::new();
        let mut values = Vec::new();
        for given in &found {
            for text in all_texts(given) {
                if !seen.contains(&text) {
                    seen.push(text);
                    values.extend(self.parse(setting.show, given, text, &parse));
                }
            }
        }
        values
    }

    /// Shows a value with what a name in it stands for.
    pub(super) fn show_filled(&mut self, key: &str, name: &str, meaning: &str) {
        for shown in self.effective.iter_mut().filter(|shown| shown.key == key) {
            shown.value = shown.value.take().map(|value| value.replace(name, meaning));
        }
    }

    /// Parses a text; a failure becomes a mistake that quotes of it what may be shown.
    pub(super) fn parse<T>(
        &mut self,
        show: Show,
        given: &Given,
        text: &str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(NotAValue(reason)) => {
                let quoted = match show {
                    Show::Masked => "the value".to_owned(),
                    Show::Plain | Show::Address => format!("{:?}", shorten(&shown(show, text))),
                };
                self.mistakes.push(given.mistake(format!("{quoted} {reason}")));
                None
            }
        }
    }

    fn note(&mut self, setting: &'static Setting, found: &[&Given]) {
        let texts: Vec<String> = found
            .iter()
            .flat_map(|given| all_texts_or_one(setting, given))
            .map(|text| shown(setting.show, text))
            .collect();
        let mut source: Vec<String> = Vec::new();
        for given in found {
            let place = given.place.to_string();
            let from = if given.name == setting.key {
                place
            } else {
                format!("{place}: {}", given.name)
            };
            source.push(from);
        }
        self.effective.push(EffectiveSetting {
            key: setting.key.to_owned(),
            variables: setting.variables.to_vec(),
            value: (!texts.is_empty()).then(|| texts.join(", ")),
            source: if source.is_empty() {
                "not set".to_owned()
            } else {
                source.join(", ")
            },
        });
    }
}

fn setting(key: &'static str) -> &'static Setting {
    settings::by_key(key).expect("every key that is read is in the table")
}

/// What may be shown of a value.
pub(super) fn shown(show: Show, text: &str) -> String {
    match show {
        Show::Plain => text.to_owned(),
        Show::Address => values::shown_address(text),
        Show::Masked => values::MASKED.to_owned(),
    }
}

/// Longer texts than this are not quoted whole.
const QUOTED_CHARS_MAX: usize = 80;

fn shorten(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(QUOTED_CHARS_MAX).chain(['…']).collect()
}

fn one_text(given: &Given) -> Option<&str> {
    match &given.written {
        Written::Text(text) => Some(text),
        Written::List(_) => None,
    }
}

fn all_texts(given: &Given) -> Vec<&str> {
    match &given.written {
        Written::Text(text) => text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect(),
        Written::List(texts) => texts.iter().map(String::as_str).collect(),
    }
}

/// A secret's commas count, so that the number of secrets can be seen; any other text is shown as it was written.
fn all_texts_or_one<'g>(setting: &Setting, given: &'g Given) -> Vec<&'g str> {
    match (&given.written, setting.show) {
        (Written::Text(text), Show::Plain | Show::Address) => vec![text],
        _ => all_texts(given),
    }
}
