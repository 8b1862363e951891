//! The channels that settings name: those of `[[channels]]` in the file, and those that variables give or change.

use std::collections::BTreeMap;

use secrecy::SecretString;
use toml::Value;

use super::layers::{Given, Written, did_you_mean, read_value};
use super::mistakes::{Mistake, Place};
use super::reading::{Reading, shown};
use super::settings::Show;
use super::{ChannelConfig, EffectiveSetting, PaceOverrides, values};
use crate::channels::model::ChannelKind;

/// A channel that variables alone can make.
pub(super) struct FromVariables {
    id: &'static str,
    kind: ChannelKind,
    account: &'static str,
    business_account: Option<&'static str>,
    credentials: &'static str,
    backup_for: Option<&'static str>,
}

impl FromVariables {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.account), self.business_account, Some(self.credentials)]
            .into_iter()
            .flatten()
    }

    fn variable_of(&self, field: &str) -> Option<&'static str> {
        match field {
            ACCOUNT => Some(self.account),
            BUSINESS_ACCOUNT => self.business_account,
            field if field == credentials_of(self.kind) => Some(self.credentials),
            _ => None,
        }
    }
}

/// The channels that variables alone can make.
pub(super) const FROM_VARIABLES: &[FromVariables] = &[
    FromVariables {
        id: "whatsapp",
        kind: ChannelKind::WhatsApp,
        account: "WHATSAPP_PHONE_NUMBER_ID",
        business_account: Some("WHATSAPP_BUSINESS_ACCOUNT_ID"),
        credentials: "WHATSAPP_ACCESS_TOKEN",
        backup_for: None,
    },
    FromVariables {
        id: "whatsapp-backup",
        kind: ChannelKind::WhatsApp,
        account: "WHATSAPP_BACKUP_PHONE_NUMBER_ID",
        business_account: None,
        credentials: "WHATSAPP_BACKUP_ACCESS_TOKEN",
        backup_for: Some("whatsapp"),
    },
    FromVariables {
        id: "instagram",
        kind: ChannelKind::Instagram,
        account: "META_IG_BUSINESS_ID",
        business_account: None,
        credentials: "META_IG_ACCESS_TOKEN",
        backup_for: None,
    },
    FromVariables {
        id: "email",
        kind: ChannelKind::Email,
        account: "SMTP_FROM",
        business_account: None,
        credentials: "SMTP_URL",
        backup_for: None,
    },
];

const ID: &str = "id";
const PLATFORM: &str = "platform";
const ACCOUNT: &str = "account";
const BUSINESS_ACCOUNT: &str = "business_account";
const ACCESS_TOKEN: &str = "access_token";
const SMTP_URL: &str = "smtp_url";
const PER_SECOND: &str = "messages_per_second";
const PAIR_PAUSE: &str = "pair_pause_secs";
const PAIR_BURST: &str = "pair_burst";
const PER_DAY: &str = "messages_per_day";
const CONTACTS_PER_DAY: &str = "contacts_per_day";
const CONTACT_PER_HOUR: &str = "messages_per_contact_hour";
const PER_HOUR: &str = "messages_per_hour";
const PRIVATE_PER_HOUR: &str = "private_replies_per_hour";
const MEDIA_PER_SECOND: &str = "media_per_second";
const PACE_FIELDS: [&str; 9] = [
    PER_SECOND,
    PAIR_PAUSE,
    PAIR_BURST,
    PER_DAY,
    CONTACTS_PER_DAY,
    CONTACT_PER_HOUR,
    PER_HOUR,
    PRIVATE_PER_HOUR,
    MEDIA_PER_SECOND,
];
const FIELDS: [&str; 15] = [
    ID,
    PLATFORM,
    ACCOUNT,
    BUSINESS_ACCOUNT,
    ACCESS_TOKEN,
    SMTP_URL,
    PER_SECOND,
    PAIR_PAUSE,
    PAIR_BURST,
    PER_DAY,
    CONTACTS_PER_DAY,
    CONTACT_PER_HOUR,
    PER_HOUR,
    PRIVATE_PER_HOUR,
    MEDIA_PER_SECOND,
];

/// The field that holds the credentials of a kind of channel.
fn credentials_of(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::WhatsApp | ChannelKind::Instagram => ACCESS_TOKEN,
        ChannelKind::Email => SMTP_URL,
    }
}

/// A channel as far as the sources have told of it.
struct Draft {
    id: String,
    /// Told in errors.
    name: String,
    /// Where it was first told of.
    place: Place,
    fields: BTreeMap<&'static str, Given>,
    /// Set where variables make the channel and no file names it.
    kind: Option<ChannelKind>,
}

/// Reads all channels, in the order of the variables and then of the file.
pub(super) fn read(reading: &mut Reading<'_>) -> Vec<ChannelConfig> {
    let drafts = from_file(reading);
    let drafts = with_variables(reading, drafts);
    let channels: Vec<_> = drafts.into_iter().filter_map(|draft| finish(reading, draft)).collect();
    refuse_shared_accounts(reading, &channels);
    channels.into_iter().map(|finished| finished.channel).collect()
}

fn from_file(reading: &mut Reading<'_>) -> Vec<Draft> {
    let Some((place, value)) = &reading.layers.channels else {
        return Vec::new();
    };
    let Value::Array(tables) = value else {
        reading.mistakes.push(Mistake {
            name: "channels".to_owned(),
            place: place.clone(),
            problem: "is a list: begin each channel with a line [[channels]]".to_owned(),
        });
        return Vec::new();
    };
    let mut drafts: Vec<Draft> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        if let Some(draft) = draft_of(reading, place, index + 1, table) {
            if drafts.iter().any(|other| other.id == draft.id) {
                let problem = format!(
                    "another channel has the id {:?} already; each needs one of its own",
                    draft.id
                );
                reading.mistakes.push(Mistake {
                    name: draft.name,
                    place: draft.place,
                    problem,
                });
            } else {
                drafts.push(draft);
            }
        }
    }
    drafts
}

fn draft_of(reading: &mut Reading<'_>, place: &Place, number: usize, value: &Value) -> Option<Draft> {
    let nth = format!("channels, no. {number}");
    let mistake = |name: &str, problem: String| Mistake {
        name: name.to_owned(),
        place: place.clone(),
        problem,
    };
    let Value::Table(table) = value else {
        reading
            .mistakes
            .push(mistake(&nth, "begin each channel with a line [[channels]]".to_owned()));
        return None;
    };
    let mut fields = BTreeMap::new();
    for (key, value) in table {
        let name = format!("{nth}: {key}");
        let Some(field) = FIELDS.into_iter().find(|field| field == key) else {
            let problem = format!("a channel has no such setting{}", did_you_mean(key, FIELDS.into_iter()));
            reading.mistakes.push(mistake(&name, problem));
            continue;
        };
        match read_value(value.clone()) {
            Ok(Some(written)) => {
                fields.insert(
                    field,
                    Given {
                        name,
                        place: place.clone(),
                        written,
                    },
                );
            }
            Ok(None) => {}
            Err(problem) => reading.mistakes.push(mistake(&name, problem)),
        }
    }
    let Some(id) = fields.get(ID).cloned() else {
        reading.mistakes.push(mistake(
            &nth,
            "has no id; add one, such as id = \"whatsapp-nl\"".to_owned(),
        ));
        return None;
    };
    let id = field_text(reading, Some(&id), values::channel_id)?;
    Some(Draft {
        id,
        name: nth,
        place: place.clone(),
        fields,
        kind: None,
    })
}

/// Adds what variables say: to the channel of the file that has the id, or as a channel before those of the file.
fn with_variables(reading: &mut Reading<'_>, mut from_file: Vec<Draft>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for made in FROM_VARIABLES {
        let mut fields = BTreeMap::new();
        for field in [ACCOUNT, BUSINESS_ACCOUNT, ACCESS_TOKEN, SMTP_URL] {
            let given = made
                .variable_of(field)
                .and_then(|variable| reading.layers.variable(variable));
            fields.extend(given.map(|given| (field, given)));
        }
        if fields.is_empty() {
            continue;
        }
        if let Some(known) = from_file.iter_mut().find(|draft| draft.id == made.id) {
            known.fields.extend(fields);
            continue;
        }
        if !fields.contains_key(ACCOUNT) {
            for given in fields.values() {
                let what = match made.kind {
                    ChannelKind::WhatsApp | ChannelKind::Instagram => "Meta's id of it",
                    ChannelKind::Email => "the e-mail address that it writes as",
                };
                let problem = format!(
                    "belongs to an account that is not named; set {} to {what}, or leave out {}",
                    made.account, given.name
                );
                reading.mistakes.push(given.mistake(problem));
            }
            continue;
        }
        let place = fields[ACCOUNT].place.clone();
        let kind = Some(made.kind);
        drafts.push(Draft {
            id: made.id.to_owned(),
            name: made.account.to_owned(),
            place,
            fields,
            kind,
        });
    }
    drafts.append(&mut from_file);
    drafts
}

struct Finished {
    channel: ChannelConfig,
    /// Where its account stands.
    account: Given,
}

fn finish(reading: &mut Reading<'_>, draft: Draft) -> Option<Finished> {
    note(reading, &draft);
    let missing = |field: &str, example: &str| Mistake {
        name: draft.name.clone(),
        place: draft.place.clone(),
        problem: format!("has no {field}; add it, such as {field} = \"{example}\""),
    };
    let kind = match (draft.kind, draft.fields.get(PLATFORM)) {
        (Some(kind), _) => Some(kind),
        (None, Some(given)) => field_text(reading, Some(given), kind_of),
        (None, None) => {
            reading.mistakes.push(missing(PLATFORM, "whatsapp"));
            None
        }
    };
    let account = match kind {
        Some(ChannelKind::Email) => field_text(reading, draft.fields.get(ACCOUNT), values::mailbox),
        _ => field_text(reading, draft.fields.get(ACCOUNT), values::meta_id),
    };
    if !draft.fields.contains_key(ACCOUNT) {
        reading.mistakes.push(missing(ACCOUNT, "106540352242922"));
    }
    let business_account = field_text(reading, draft.fields.get(BUSINESS_ACCOUNT), values::meta_id);
    if let (Some(ChannelKind::Instagram | ChannelKind::Email), Some(given)) = (kind, draft.fields.get(BUSINESS_ACCOUNT))
    {
        reading
            .mistakes
            .push(given.mistake("only a WhatsApp channel has a business account; leave it out"));
    }
    let credentials = credentials(reading, &draft, kind);
    let made = FROM_VARIABLES.iter().find(|made| made.id == draft.id);
    let pace = pace_of(reading, &draft);
    Some(Finished {
        account: draft.fields.get(ACCOUNT)?.clone(),
        channel: ChannelConfig {
            id: draft.id,
            kind: kind?,
            account: account?,
            business_account,
            credentials,
            backup_for: made.and_then(|made| made.backup_for).map(str::to_owned),
            pace,
        },
    })
}

/// The credentials of a channel; those of another kind are a mistake.
fn credentials(reading: &mut Reading<'_>, draft: &Draft, kind: Option<ChannelKind>) -> Option<SecretString> {
    let own = kind.map_or(ACCESS_TOKEN, credentials_of);
    let others = [ACCESS_TOKEN, SMTP_URL].into_iter().filter(|field| *field != own);
    if let Some(kind) = kind {
        for given in others.filter_map(|field| draft.fields.get(field)) {
            let problem = format!("is not what a channel of the platform {kind} has; it has {own}");
            reading.mistakes.push(given.mistake(problem));
        }
    }
    let given = draft.fields.get(own)?;
    match own {
        SMTP_URL => one_field(reading, given, Show::Masked, values::smtp_url),
        _ => one_field(reading, given, Show::Masked, values::secret),
    }
}

fn pace_of(reading: &mut Reading<'_>, draft: &Draft) -> PaceOverrides {
    let given = |field: &str| draft.fields.get(field);
    PaceOverrides {
        per_second: field_text(reading, given(PER_SECOND), values::pace),
        pair_pause: field_text(reading, given(PAIR_PAUSE), values::seconds(0..=3_600)),
        pair_burst: field_text(reading, given(PAIR_BURST), values::number(1..=1_000)),
        per_day: field_text(reading, given(PER_DAY), values::count),
        contacts_per_day: field_text(reading, given(CONTACTS_PER_DAY), values::count),
        contact_per_hour: field_text(reading, given(CONTACT_PER_HOUR), values::pace),
        per_hour: field_text(reading, given(PER_HOUR), values::count),
        private_per_hour: field_text(reading, given(PRIVATE_PER_HOUR), values::pace),
        media_per_second: field_text(reading, given(MEDIA_PER_SECOND), values::pace),
    }
}

fn refuse_shared_accounts(reading: &mut Reading<'_>, channels: &[Finished]) {
    for (index, later) in channels.iter().enumerate() {
        let same = |other: &&Finished| {
            other.channel.kind == later.channel.kind && other.channel.account == later.channel.account
        };
        if let Some(earlier) = channels[..index].iter().find(same) {
            let problem = format!(
                "the channels {:?} and {:?} have the same account; {} ({}) names it too: leave out one of them",
                earlier.channel.id, later.channel.id, earlier.account.name, earlier.account.place
            );
            reading.mistakes.push(later.account.mistake(problem));
        }
    }
}

fn kind_of(text: &str) -> values::Parsed<ChannelKind> {
    ChannelKind::from_word(text)
        .ok_or_else(|| values::NotAValue("is not \"whatsapp\", \"instagram\" or \"email\"".to_owned()))
}

fn field_text<T>(
    reading: &mut Reading<'_>,
    given: Option<&Given>,
    parse: impl Fn(&str) -> values::Parsed<T>,
) -> Option<T> {
    one_field(reading, given?, Show::Plain, parse)
}

fn one_field<T>(
    reading: &mut Reading<'_>,
    given: &Given,
    show: Show,
    parse: impl Fn(&str) -> values::Parsed<T>,
) -> Option<T> {
    match &given.written {
        Written::Text(text) => reading.parse(show, given, text, parse),
        Written::List(_) => {
            reading.mistakes.push(given.mistake("is one value, not a list"));
            None
        }
    }
}

fn note(reading: &mut Reading<'_>, draft: &Draft) {
    let made = FROM_VARIABLES.iter().find(|made| made.id == draft.id);
    let email = draft.kind == Some(ChannelKind::Email) || draft.fields.contains_key(SMTP_URL);
    let other = credentials_of(if email {
        ChannelKind::WhatsApp
    } else {
        ChannelKind::Email
    });
    for field in FIELDS[1..].iter().filter(|field| **field != other) {
        let given = draft.fields.get(field);
        if given.is_none() && PACE_FIELDS.contains(field) {
            // What its platform has holds, and is shown there.
            continue;
        }
        let text = given.and_then(|given| match &given.written {
            Written::Text(text) => Some(text.as_str()),
            Written::List(_) => None,
        });
        let (value, source) = match (*field, draft.kind) {
            (PLATFORM, Some(kind)) => (Some(kind.to_string()), format!("{}: {}", draft.place, draft.name)),
            (field, _) => {
                let show = match field {
                    ACCESS_TOKEN => Show::Masked,
                    SMTP_URL => Show::Address,
                    _ => Show::Plain,
                };
                let source = given.map_or_else(|| "not set".to_owned(), source_of);
                (text.map(|text| shown(show, text)), source)
            }
        };
        reading.effective.push(EffectiveSetting {
            key: format!("channels.{}.{field}", draft.id),
            variables: made.and_then(|made| made.variable_of(field)).into_iter().collect(),
            value,
            source,
        });
    }
}

fn source_of(given: &Given) -> String {
    match given.place {
        Place::File(_) => given.place.to_string(),
        _ => format!("{}: {}", given.place, given.name),
    }
}
