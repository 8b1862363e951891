//! Consent: what contacts want to be sent, by purpose, and who has said so, how and when.
//!
//! - [`model`]: statements, which of them stand, and what they forbid. Pure.
//! - [`words`]: the words by which a contact says so. Pure.
//! - [`api`]: how it looks to callers, and is changed by them.
//!
//! Statements are added and never changed; what stands is always the latest of each list. So the order in which events tell them, or how
//! often, makes no difference, and contacts that turn out to be one have said what either has said
//! ([0019](../../../../../docs/decisions/0019-consent-is-what-was-said-last.md)).
//!
//! Guarantee: the unit that keeps an opt-out withdraws what it forbids of all that waits, and a sender looks at what stands in the unit that
//! takes a message in hand. So once an opt-out is kept, nothing goes out against it but calls to Meta that were under way.

pub mod api;
pub mod model;
pub mod words;

use serde_json::json;

use crate::app::App;
use crate::audit::Auditor;
use crate::conversations::model::{Message, Millis};
use crate::ids::{ConsentId, ContactId};
use crate::sending::cancel;
use crate::sending::model::Purpose;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;
use model::{Consents, Keeper, Source, Statement};

/// What was noted.
#[derive(Debug, Default)]
pub struct Noted {
    /// The statements that were not known yet.
    pub new: Vec<Statement>,
    /// Messages that may not be sent any more, as they are now.
    pub withdrawn: Vec<(ContactId, Message)>,
}

/// Keeps what contacts have said, and withdraws what they forbid thereby. The contacts are locked.
pub fn note(tx: &mut Tx<'_>, said: &[Statement]) -> Result<Noted, StoreError> {
    let new = tx.insert_consent_statements(said)?;
    let mut opted_out: Vec<ContactId> = new.iter().filter(|of| of.opted_out).map(|of| of.contact_id).collect();
    opted_out.sort_unstable();
    opted_out.dedup();
    let mut noted = Noted {
        new,
        withdrawn: Vec::new(),
    };
    for contact in opted_out {
        let withdrawn = cancel::withdraw_forbidden(tx, contact)?;
        noted
            .withdrawn
            .extend(withdrawn.into_iter().map(|message| (contact, message)));
    }
    Ok(noted)
}

/// How many statements of one moment are looked at for one that is noted again.
const OF_ONE_MOMENT_MAX: u32 = 50;

/// What a caller notes of a contact.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of each purpose that is spoken of, whether they want no more of it.
    pub opted_out: Vec<(Purpose, bool)>,
    /// When they said so; `None`: now.
    pub at: Option<Millis>,
    /// Where it is known from, in the caller's words.
    pub note: Option<String>,
}

/// Notes what a caller says of a contact, with who has said it; what is known already is not noted again. Answers with the id of the contact, which
/// may have been merged; `None` if there is none.
pub async fn set(app: &App, actor: &str, contact: ContactId, wanted: Wanted) -> Result<Option<ContactId>, StoreError> {
    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, actor, now);
    let id: ConsentId = app.ids.next();
    let actor = actor.to_owned();
    let write = app.store.write(move |tx| {
        let Some(contact) = tx.lock_contact(contact)? else {
            return Ok(None);
        };
        let before = Consents::of(tx.standing_consent_statements(&[contact])?);
        // What was said at a time of its own is known if it was noted of that time; else, if it is what stands.
        let known: Vec<Statement> = match wanted.at {
            Some(at) => {
                let from_then_on = (at, ConsentId::MAX, Purpose::Service);
                let mut known = tx.consent_statements(contact, Some(from_then_on), OF_ONE_MOMENT_MAX)?;
                known.retain(|of| of.at == at && of.source.keeper() == Keeper::Tidings);
                known
            }
            None => Purpose::ALL
                .iter()
                .filter_map(|purpose| before.kept_by(contact, *purpose, Keeper::Tidings).cloned())
                .collect(),
        };
        let is_known = |purpose: Purpose, opted_out: bool| {
            known
                .iter()
                .any(|of| of.purpose == purpose && of.opted_out == opted_out)
        };
        let said: Vec<Statement> = wanted
            .opted_out
            .iter()
            .filter(|(purpose, opted_out)| !is_known(*purpose, *opted_out))
            .map(|(purpose, opted_out)| Statement {
                id,
                contact_id: contact,
                purpose: *purpose,
                opted_out: *opted_out,
                source: Source::Api,
                at: wanted.at.unwrap_or(now),
                channel_id: None,
                detail: wanted.note.clone(),
                actor: Some(actor.clone()),
                noted_at: now,
            })
            .collect();
        if said.is_empty() {
            return Ok(Some((contact, Vec::new())));
        }
        let noted = note(tx, &said)?;
        let after = Consents::of(tx.standing_consent_statements(&[contact])?);
        let statuses = |of: &Consents| {
            let status = |purpose| of.status(contact, purpose).as_str();
            json!({"marketing": status(Purpose::Marketing), "service": status(Purpose::Service)})
        };
        let detail = json!({"before": statuses(&before), "after": statuses(&after)});
        tx.insert_audit(&audit.contact("contact.consent", contact, detail))?;
        let told = NewStreamRow {
            at: now,
            channel_id: None,
            event_id: None,
            changes: vec![Change::ConsentChanged { contact }],
        };
        let withdrawn = noted.withdrawn.iter().map(|(_, message)| NewStreamRow {
            at: now,
            channel_id: Some(message.channel_id.clone()),
            event_id: None,
            changes: vec![Change::status_of(message)],
        });
        let rows: Vec<NewStreamRow> = std::iter::once(told).chain(withdrawn).collect();
        tx.insert_stream(&rows)?;
        let channels: Vec<_> = noted
            .withdrawn
            .into_iter()
            .map(|(_, message)| message.channel_id)
            .collect();
        Ok::<_, StoreError>(Some((contact, channels)))
    });
    let Some((contact, channels)) = write.await? else {
        return Ok(None);
    };
    for channel in &channels {
        app.senders.nudge(channel);
    }
    app.stream.nudge();
    Ok(Some(contact))
}
