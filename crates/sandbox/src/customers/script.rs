//! Scripts: YAML that makes customers act by themselves.
//!
//! ```yaml
//! numbers:              # added to those of the world, like instagramAccounts
//!   - {name: Backup, throughput: 20, limits: {contactsPerDay: 250}}
//! customers:            # added to those of the world
//!   - name: Ines Prado
//!     kind: whatsapp
//!     identity: bsuid
//!     replies:
//!       - {to: "how many", say: "Two, please", afterMs: 800}
//! posts:                # what the Instagram account posts, before the start or at a time
//!   - {kind: reel, caption: "New in: jazz", agoMs: 86400000, likes: 42, views: 1500}
//! lines:                # conversations that repeat
//!   - {atMs: 500, from: Ines Prado, text: "Do you have a table tonight?"}
//!   - {atMs: 9000, from: Ines Prado, do: {type: image, link: "https://pictures.example/menu.jpg"}}
//! load:                 # many customers, writing at a rate
//!   - {kind: whatsapp, customers: 200, perSecond: 50, count: 5000, text: "Message {n}"}
//! faults:               # as in the control API
//!   - {endpoint: any, kind: outage, afterMs: 60000, forMs: 30000}
//! ```

use serde::{Deserialize, Serialize};

use super::acts::{self, Content};
use super::people::{Channel, NewCustomer};
use crate::Core;
use crate::accounts::{AccountError, NewInstagramAccount, NewNumber};
use crate::engine::Act;
use crate::faults::FaultRequest;
use crate::lock;
use crate::posts::{NewPost, PostError};
use crate::state::State;
use crate::templates::TemplateChange;
use crate::world::Template;

/// Customers who act by themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// Numbers, besides those of the world.
    #[serde(default)]
    pub numbers: Vec<NewNumber>,
    /// Instagram accounts, besides those of the world.
    #[serde(default)]
    pub instagram_accounts: Vec<NewInstagramAccount>,
    /// Templates, besides those of the world.
    #[serde(default)]
    pub templates: Vec<Template>,
    /// What becomes of templates, each at its time.
    #[serde(default)]
    pub template_changes: Vec<TemplateLine>,
    /// What goes wrong; `afterMs` counts from the script's start.
    #[serde(default)]
    pub faults: Vec<FaultRequest>,
    /// What Instagram accounts post, each at its time.
    #[serde(default)]
    pub posts: Vec<NewPost>,
    /// Customers, besides those of the world.
    #[serde(default)]
    pub customers: Vec<NewCustomer>,
    /// What they do, each at its time.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Many customers who write at a rate.
    #[serde(default)]
    pub load: Vec<Load>,
}

/// One thing that one customer does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// When, after the script's start.
    pub at_ms: u64,
    /// The customer's id or name.
    pub from: String,
    /// The phone number id or Instagram account id; the first one of the customer's kind if left out.
    #[serde(default)]
    pub to: Option<String>,
    /// What they write.
    #[serde(default)]
    pub text: Option<String>,
    /// Or what else they do.
    #[serde(default, rename = "do")]
    pub act: Option<Content>,
}

/// One thing that becomes of one template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateLine {
    /// When, after the script's start.
    pub at_ms: u64,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What is changed of it.
    pub change: TemplateChange,
}

/// Many customers who write at a rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Where.
    #[serde(default = "on_whatsapp")]
    pub kind: Channel,
    /// The account written to; the first one of that kind if left out.
    #[serde(default)]
    pub to: Option<String>,
    /// How many customers take turns; they are made for it.
    pub customers: u32,
    /// Messages a second, all together.
    pub per_second: f64,
    /// How many messages in all; without an end if left out.
    #[serde(default)]
    pub count: Option<u64>,
    /// What they write; `{n}` stands for the number of the message.
    #[serde(default = "load_text")]
    pub text: String,
    /// When, after the script's start.
    #[serde(default)]
    pub at_ms: u64,
}

fn on_whatsapp() -> Channel {
    Channel::WhatsApp
}

fn load_text() -> String {
    "Message {n}".to_owned()
}

/// Why a script can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Not YAML, or not a script.
    #[error("the script can't be read")]
    Unreadable(#[source] Box<serde_saphyr::Error>),
    /// A number or an Instagram account of the script can't be made.
    #[error("a number or Instagram account of the script can't be made")]
    Account(#[from] AccountError),
    /// A post of the script can't be made.
    #[error("a post of the script can't be made")]
    Post(#[from] PostError),
    /// A fault of the script can't be.
    #[error("fault {number} of the script can't be: {why}")]
    Fault {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A customer of the script can't be made.
    #[error("a customer of the script can't be made: {0}")]
    Customer(String),
    /// A line has both `text` and `do`, or neither.
    #[error("line {0} of the script needs either text or do")]
    Line(usize),
    /// A line names somebody or something that doesn't exist.
    #[error("line {line} of the script: there is no {what}")]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// Whom or what it names.
        what: String,
    },
    /// A load can't be made.
    #[error("load {0} of the script needs customers, a rate above 0, and an account of its kind")]
    Load(usize),
}

impl Script {
    /// Reads a script from YAML.
    pub fn parse(yaml: &str) -> Result<Self, ScriptError> {
        serde_saphyr::from_str(yaml).map_err(|error| ScriptError::Unreadable(Box::new(error)))
    }
}

/// A load on its way.
#[derive(Debug)]
pub(crate) struct Turn {
    account: String,
    customers: Vec<String>,
    text: String,
    per_second: f64,
    count: Option<u64>,
    started_at: i64,
    /// How many were written.
    written: u64,
}

/// Most messages of a load that are written in one go, so that a load that fell behind doesn't hold up everything else.
const TURN_MAX: u64 = 500;

/// Adds the script's customers and plans what they do.
pub(crate) fn start(core: &Core, script: &Script) -> Result<(), ScriptError> {
    let start = core.clock.now();
    for number in &script.numbers {
        core.add_number(number.clone())?;
    }
    for account in &script.instagram_accounts {
        core.add_instagram_account(account.clone())?;
    }
    for post in &script.posts {
        match post.at_ms {
            0 => drop(core.add_post(post.clone())?),
            at_ms => core
                .engine
                .plan(start + clamp(at_ms), Act::Post(Box::new(post.clone()))),
        }
    }
    for (position, fault) in script.faults.iter().enumerate() {
        core.add_fault(fault.clone()).map_err(|why| ScriptError::Fault {
            number: position + 1,
            why,
        })?;
    }
    let mut state = lock(&core.state);
    let state = &mut *state;
    let ids = state.ids;
    for template in &script.templates {
        state.templates.add(template, ids);
    }
    for line in &script.template_changes {
        let at = start.saturating_add(i64::try_from(line.at_ms).unwrap_or(i64::MAX));
        core.engine.plan(at, Act::TemplateLine(Box::new(line.clone())));
    }
    for customer in &script.customers {
        state
            .customers
            .add(customer.clone(), ids)
            .map_err(|error| ScriptError::Customer(error.to_string()))?;
    }
    for (position, line) in script.lines.iter().enumerate() {
        let (customer, account) = who(state, line, position + 1)?;
        let content = match (&line.text, &line.act) {
            (Some(text), None) => Content::Text {
                text: text.clone(),
                reply_to: None,
            },
            (None, Some(act)) => act.clone(),
            _ => return Err(ScriptError::Line(position + 1)),
        };
        let act = Act::Write {
            customer,
            account,
            content: Box::new(content),
        };
        core.engine.plan(start + clamp(line.at_ms), act);
    }
    for (position, load) in script.load.iter().enumerate() {
        let refusal = || ScriptError::Load(position + 1);
        let valid = load.customers > 0 && load.per_second > 0.0 && load.per_second.is_finite();
        let account = account(state, load.kind, load.to.as_deref())
            .filter(|_| valid)
            .ok_or_else(refusal)?;
        let mut customers = Vec::new();
        for number in 1..=load.customers {
            let new = NewCustomer {
                id: Some(format!("load-{}-{number}", position + 1)),
                name: format!("Load {number}"),
                kind: Some(load.kind),
                ..NewCustomer::default()
            };
            let customer = state
                .customers
                .add(new, ids)
                .map_err(|error| ScriptError::Customer(error.to_string()))?;
            customers.push(customer.id.clone());
        }
        let started_at = start + clamp(load.at_ms);
        let turn = Turn {
            account,
            customers,
            text: load.text.clone(),
            per_second: load.per_second,
            count: load.count,
            started_at,
            written: 0,
        };
        core.engine.plan(started_at, Act::Script(Box::new(turn)));
    }
    Ok(())
}

/// Writes what is due of a load, and plans the next turn.
pub(crate) fn take_turn(core: &Core, mut turn: Turn) {
    let now = core.clock.now();
    let mut left = TURN_MAX;
    let next = loop {
        if turn.count.is_some_and(|count| turn.written >= count) {
            return;
        }
        let due = turn.started_at + (turn.written as f64 * 1000.0 / turn.per_second) as i64;
        if due > now || left == 0 {
            break due.max(now);
        }
        left -= 1;
        turn.written += 1;
        let customer = &turn.customers[((turn.written - 1) % turn.customers.len() as u64) as usize];
        let content = Content::Text {
            text: turn.text.replace("{n}", &turn.written.to_string()),
            reply_to: None,
        };
        if let Err(error) = acts::write(core, customer, &turn.account, content) {
            tracing::warn!(%error, "a load stops");
            return;
        }
    };
    core.engine.plan(next, Act::Script(Box::new(turn)));
}

fn who(state: &State, line: &Line, number: usize) -> Result<(String, String), ScriptError> {
    let unknown = |what: String| ScriptError::Unknown { line: number, what };
    let customer = state
        .customers
        .get(&line.from)
        .or_else(|| state.customers.iter().find(|customer| customer.name == line.from))
        .ok_or_else(|| unknown(format!("customer {}", line.from)))?;
    let account = account(state, customer.channel, line.to.as_deref())
        .ok_or_else(|| unknown("account that this customer could write to".to_owned()))?;
    Ok((customer.id.clone(), account))
}

/// This account, or the first one of the kind.
fn account(state: &State, channel: Channel, id: Option<&str>) -> Option<String> {
    match id {
        Some(id) => (state.channel(id) == Some(channel)).then(|| id.to_owned()),
        None => match channel {
            Channel::WhatsApp => state.numbers.first().map(|number| number.id.clone()),
            Channel::Instagram => state.accounts.first().map(|account| account.id.clone()),
        },
    }
}

fn clamp(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX / 4)
}
