//! Comments as a business reads, writes and moderates them; and mentions (instagram.md 4).

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::error::GraphError;
use super::fields::{self, Field};
use super::params::Params;
use super::params::percent_encode;
use super::posts::{iso, permit};
use super::tokens::Caller;
use super::{After, Answer, Said, bounds};
use crate::Core;
use crate::control::ChangeKind;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::options::EchoTiming;
use crate::posts::comments::{Comment, MentioningPost};
use crate::state::State;
use crate::state::threads::ThreadKey;
use crate::webhooks::instagram;

const SCOPES: &[&str] = &["instagram_business_manage_comments", "instagram_manage_comments"];
const KIND: &str = "IGComment";
/// Most comments of a page, which is also how many there are where nobody asks for fewer.
const LIMIT: usize = 50;
/// What older pages of Meta's say of a comment's text (instagram.md 4).
const HASHTAGS_MAX: usize = 4;
const LINKS_MAX: usize = 1;

/// `GET /{media-id}/comments` and `GET /{comment-id}/replies`; `None` where the path is neither.
pub(super) fn list(
    core: &Core,
    state: &State,
    (id, edge): (&str, &str),
    caller: &Caller,
    params: &Params,
    version: &str,
) -> Option<Result<Value, GraphError>> {
    let (account, newest_first) = match edge {
        "comments" => (state.posts.get(id)?.account.as_str(), true),
        "replies" => (own(state, id)?.key.account.as_str(), false),
        _ => return None,
    };
    let read = || {
        caller.may_use(account).map_err(|_| GraphError::no_object("GET", id))?;
        permit(caller, SCOPES)?;
        let media_id = state.comments.get(id).map_or(id, |comment| comment.media_id.as_str());
        let parent = (edge == "replies").then_some(id);
        // Those on a broadcast cannot be read.
        let under = state.comments.under(media_id).filter(|comment| !comment.is_live);
        let mut listed: Vec<&Comment> = under.filter(|comment| comment.parent_id.as_deref() == parent).collect();
        if newest_first {
            listed.reverse();
        }
        page(core, state, (id, edge), &listed, params, version)
    };
    Some(read())
}

fn page(
    core: &Core,
    state: &State,
    (id, edge): (&str, &str),
    listed: &[&Comment],
    params: &Params,
    version: &str,
) -> Result<Value, GraphError> {
    let asked = asked(params)?;
    let limit = match params.get("limit") {
        None => LIMIT,
        Some(limit) => {
            let number = limit.as_u64().or_else(|| limit.as_str()?.parse().ok());
            let number = number.ok_or_else(|| GraphError::parameter("Param limit must be an integer"))?;
            usize::try_from(number).unwrap_or(LIMIT).clamp(1, LIMIT)
        }
    };
    let start = match params.text("after") {
        None => 0,
        Some(after) => {
            let last = after.strip_prefix("QVFD").and_then(|place| hex::decode(place).ok());
            let last = last.and_then(|bytes| String::from_utf8(bytes).ok());
            let place = last.and_then(|last| listed.iter().position(|comment| comment.id == last));
            place.ok_or_else(|| GraphError::parameter("Invalid cursor"))? + 1
        }
    };
    let shown = &listed[start.min(listed.len())..(start + limit).min(listed.len())];
    let data: Result<Vec<Value>, GraphError> = shown.iter().map(|comment| node(state, comment, &asked)).collect();
    let mut answer = json!({ "data": data? });
    if let Some(last) = shown.last() {
        let after = format!("QVFD{}", hex::encode(&last.id));
        answer["paging"]["cursors"] = json!({ "after": after });
        if start + limit < listed.len() {
            let mut next = format!("{}/{version}/{id}/{edge}?after={after}&limit={limit}", core.url);
            if let Some(fields) = params.text("fields") {
                next = format!("{next}&fields={}", percent_encode(fields));
            }
            answer["paging"]["next"] = json!(next);
        }
    }
    Ok(answer)
}

/// `GET /{comment-id}`; `None` where there is none.
pub(super) fn look_up(state: &State, id: &str, caller: &Caller, params: &Params) -> Option<Result<Value, GraphError>> {
    let comment = own(state, id).filter(|comment| !comment.is_live)?;
    let read = || {
        caller
            .may_use(&comment.key.account)
            .map_err(|_| GraphError::no_object("GET", id))?;
        permit(caller, SCOPES)?;
        node(state, comment, &asked(params)?)
    };
    Some(read())
}

/// A comment under a post of an account.
fn own<'a>(state: &'a State, id: &str) -> Option<&'a Comment> {
    state.comments.get(id).filter(|comment| !comment.is_mention)
}

fn asked(params: &Params) -> Result<Vec<Field>, GraphError> {
    fields::parse(params.text("fields").unwrap_or("id,timestamp,text"))
}

fn node(state: &State, comment: &Comment, asked: &[Field]) -> Result<Value, GraphError> {
    let (author, username) = state.author_of(comment);
    let value = json!({
        "id": comment.id, "text": comment.text, "timestamp": iso(comment.at), "username": username,
        "from": {"id": author, "username": username}, "user": null, "like_count": 0, "hidden": comment.is_hidden,
        "parent_id": comment.parent_id, "media": {"id": comment.media_id}, "legacy_instagram_comment_id": null,
        "replies": null,
    });
    let Value::Object(mut object) = value else {
        return Ok(Value::Null);
    };
    if let Some(below) = asked.iter().find(|field| field.name == "replies") {
        let fields = match &below.fields {
            Some(fields) => fields.clone(),
            None => fields::parse("id,timestamp,text")?,
        };
        let answers = state.comments.under(&comment.media_id);
        let answers = answers.filter(|answer| answer.parent_id.as_deref() == Some(&comment.id));
        let data: Result<Vec<Value>, GraphError> = answers.map(|answer| node(state, answer, &fields)).collect();
        let data = data?;
        object.insert(
            "replies".to_owned(),
            if data.is_empty() {
                Value::Null
            } else {
                json!({ "data": data })
            },
        );
    }
    fields::select(&object, asked, KIND).map(Value::Object)
}

/// `POST /{media-id}/comments`, `POST /{comment-id}/replies`, `POST /{ig-id}/mentions`, `POST /{comment-id}?hide=`, `POST /{media-id}?comment_enabled=`.
/// `None` where the path is none of them.
pub(super) fn post(core: &Core, path: &[&str], caller: &Caller, params: &Params) -> Option<Result<Answer, GraphError>> {
    let mut state = lock(&core.state);
    let state = &mut *state;
    match path {
        [id, "comments"] => {
            let post = state.posts.get(id)?;
            let key = ThreadKey {
                customer: String::new(),
                account: post.account.clone(),
            };
            let place = Place {
                key,
                media_id: post.id.clone(),
                parent_id: None,
                is_mention: false,
            };
            let is_live = post.is_live;
            Some(if is_live {
                Err(no_answer("A live broadcast cannot be commented on"))
            } else if post.comments_off {
                Err(no_answer("Comments are turned off for this media"))
            } else {
                write(core, state, caller, params, place)
            })
        }
        [id, "replies"] => {
            let comment = own(state, id)?;
            let refusal = if comment.is_hidden {
                Some("A hidden comment cannot be replied to")
            } else if comment.is_live {
                Some("A comment on a live broadcast cannot be replied to")
            } else {
                None
            };
            // An answer to an answer is put under the first comment.
            let first = state.first_comment(id)?;
            let place = Place {
                key: first.key.clone(),
                media_id: first.media_id.clone(),
                parent_id: Some(first.id.clone()),
                is_mention: false,
            };
            Some(match refusal {
                Some(refusal) => Err(no_answer(refusal)),
                None => write(core, state, caller, params, place),
            })
        }
        [id, "mentions"] => {
            let account = state.account(id)?.id.clone();
            Some(mentioned(state, &account, params).and_then(|place| write(core, state, caller, params, place)))
        }
        [id] if params.get("hide").is_some() => {
            let comment = own(state, id)?;
            let (account, customer) = (comment.key.account.clone(), comment.key.customer.clone());
            let mut hide = || {
                caller.may_use(&account)?;
                permit(caller, SCOPES)?;
                let hide = flag(params, "hide")?;
                // The owner's own stay visible all the same.
                if let Some(comment) = state.comments.get_mut(id).filter(|comment| !comment.by_business) {
                    comment.is_hidden = hide;
                }
                note(
                    core,
                    id,
                    &account,
                    &customer,
                    json!({"kind": if hide { "comment_hidden" } else { "comment_shown" }}),
                );
                Ok(Answer::just(json!({"success": true})))
            };
            Some(hide())
        }
        [id] if params.get("comment_enabled").is_some() => {
            let account = state.posts.get(id)?.account.clone();
            let mut turn = || {
                caller.may_use(&account)?;
                permit(caller, SCOPES)?;
                let enabled = flag(params, "comment_enabled")?;
                state.posts.turn_comments(id, enabled);
                Ok(Answer::just(json!({"success": true})))
            };
            Some(turn())
        }
        _ => None,
    }
}

fn flag(params: &Params, name: &str) -> Result<bool, GraphError> {
    match params.get(name) {
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        _ => Err(GraphError::parameter(format!("Param {name} must be a boolean"))),
    }
}

fn no_answer(message: &str) -> GraphError {
    GraphError::parameter(message).kind("IGApiException")
}

/// Where a comment of the business goes.
struct Place {
    /// Whom it answers, and who it is by.
    key: ThreadKey,
    media_id: String,
    parent_id: Option<String>,
    is_mention: bool,
}

/// What names the account: a comment, or a caption.
fn mentioned(state: &State, account: &str, params: &Params) -> Result<Place, GraphError> {
    let media_id = params.required("media_id")?;
    let missing = || GraphError::no_object("POST", media_id);
    if let Some(id) = params.text("comment_id") {
        let comment = state.comments.get(id);
        let comment = comment.filter(|comment| comment.is_mention && comment.key.account == account);
        let comment = comment
            .filter(|comment| comment.media_id == media_id)
            .ok_or_else(missing)?;
        return Ok(Place {
            key: comment.key.clone(),
            media_id: media_id.to_owned(),
            parent_id: Some(comment.parent_id.clone().unwrap_or_else(|| id.to_owned())),
            is_mention: true,
        });
    }
    let post = state.comments.mentioning(media_id);
    let post = post.filter(|post| post.key.account == account).ok_or_else(missing)?;
    Ok(Place {
        key: post.key.clone(),
        media_id: media_id.to_owned(),
        parent_id: None,
        is_mention: true,
    })
}

fn write(core: &Core, state: &mut State, caller: &Caller, params: &Params, place: Place) -> Result<Answer, GraphError> {
    let account = place.key.account.clone();
    caller.may_use(&account)?;
    permit(caller, SCOPES)?;
    let text = bounds::IG_COMMENT.text(params.whole(), "message")?;
    check(&text)?;
    let now = core.clock.now();
    let number = state.comments.count();
    let id = state.ids.digits("own comment", &[&account], number, 17);
    let comment = Comment {
        id: id.clone(),
        key: place.key,
        media_id: place.media_id,
        parent_id: place.parent_id,
        text,
        at: now,
        by_business: true,
        is_hidden: false,
        is_answered: false,
        is_live: false,
        is_mention: place.is_mention,
    };
    let detail =
        json!({"kind": "comment", "text": comment.text, "mediaId": comment.media_id, "parentId": comment.parent_id});
    note(core, &id, &account, &comment.key.customer, detail);
    // Under the post of somebody else nobody is told of it.
    let told = (!comment.is_mention).then(|| instagram::comment(state, &comment));
    core.changes.tell(ChangeKind::Message, &comment.key.customer, &account);
    state.comments.add(comment);
    let after = match (core.options.rules.echo, told) {
        (EchoTiming::Never, _) | (_, None) => After::Nothing,
        (EchoTiming::AfterAnswer, Some(event)) => After::Emit(Box::new(event)),
        (EchoTiming::BeforeAnswer, Some(mut event)) => {
            let (told, attempted) = oneshot::channel();
            event.attempted = Some(told);
            core.emit(state, Some(event));
            After::Wait(attempted)
        }
    };
    Ok(Answer {
        said: Said::Json(json!({ "id": id })),
        after,
    })
}

/// What older pages of Meta's say of a comment's text (instagram.md 4).
fn check(text: &str) -> Result<(), GraphError> {
    let hashtags = text
        .split('#')
        .skip(1)
        .filter(|rest| rest.starts_with(char::is_alphanumeric))
        .count();
    let is_link = |word: &&str| word.starts_with("http://") || word.starts_with("https://") || word.starts_with("www.");
    let links = text.split_whitespace().filter(is_link).count();
    let letters: Vec<char> = text.chars().filter(|letter| letter.is_alphabetic()).collect();
    let refusal = if hashtags > HASHTAGS_MAX {
        "A comment has at most 4 hashtags"
    } else if links > LINKS_MAX {
        "A comment has at most 1 URL"
    } else if letters.len() > 1 && letters.iter().all(|letter| letter.is_uppercase()) {
        "A comment cannot be in capital letters alone"
    } else {
        return Ok(());
    };
    Err(no_answer(refusal))
}

/// `DELETE /{comment-id}`; `None` where there is none.
pub(super) fn delete(core: &Core, id: &str, caller: &Caller) -> Option<Result<Value, GraphError>> {
    let mut state = lock(&core.state);
    let comment = own(&state, id)?;
    let (account, customer) = (comment.key.account.clone(), comment.key.customer.clone());
    if let Err(error) = caller.may_use(&account).and_then(|()| permit(caller, SCOPES)) {
        return Some(Err(error));
    }
    state.comments.remove(id);
    note(core, id, &account, &customer, json!({"kind": "comment_deleted"}));
    Some(Ok(json!({"success": true})))
}

fn note(core: &Core, id: &str, account: &str, customer: &str, detail: Value) {
    let subject = Subject {
        account: Some(account),
        customer: Some(customer).filter(|customer| !customer.is_empty()),
        message_id: Some(id),
    };
    core.ledger
        .write(core.clock.now(), LedgerKind::Accepted, &subject, detail);
    core.changes.tell(ChangeKind::Message, customer, account);
}

/// `GET /{ig-id}?fields=mentioned_comment.comment_id(…){…},mentioned_media.media_id(…){…}`; `None` where neither is asked for.
pub(super) fn mentions(
    state: &State,
    account: &str,
    caller: &Caller,
    params: &Params,
) -> Option<Result<Value, GraphError>> {
    let text = params.text("fields").filter(|text| text.contains("mentioned_"))?;
    let read = || {
        caller.may_use(account)?;
        permit(caller, SCOPES)?;
        let mut answer = Map::new();
        for field in fields::parse(text)? {
            let below = field.fields.clone().unwrap_or_default();
            let value = match field.name.as_str() {
                "mentioned_comment" => mentioned_comment(state, account, &field, &below)?,
                "mentioned_media" => mentioned_media(state, account, &field, &below)?,
                "id" => continue,
                other => return Err(fields::unknown(other, "IGUser")),
            };
            answer.insert(field.name, value);
        }
        answer.insert("id".to_owned(), json!(account));
        Ok(Value::Object(answer))
    };
    Some(read())
}

fn mentioned_comment(state: &State, account: &str, field: &Field, below: &[Field]) -> Result<Value, GraphError> {
    let id = field
        .modifier("comment_id")
        .ok_or_else(|| GraphError::parameter("The parameter comment_id is required."))?;
    let comment = state.comments.get(id);
    let comment = comment.filter(|comment| comment.is_mention && comment.key.account == account);
    let comment = comment.ok_or_else(|| GraphError::no_object("GET", id))?;
    let (_, username) = state.author_of(comment);
    let value = json!({
        "id": comment.id, "text": comment.text, "timestamp": iso(comment.at), "username": username, "like_count": 0,
        "media": {"id": comment.media_id},
    });
    select(&value, below)
}

fn mentioned_media(state: &State, account: &str, field: &Field, below: &[Field]) -> Result<Value, GraphError> {
    let id = field
        .modifier("media_id")
        .ok_or_else(|| GraphError::parameter("The parameter media_id is required."))?;
    let post = state.comments.mentioning(id).filter(|post| post.key.account == account);
    let MentioningPost { id, key, caption, at } = post.ok_or_else(|| GraphError::no_object("GET", id))?;
    let customer = state.customers.get(&key.customer);
    let value = json!({
        "id": id, "caption": caption, "media_type": "IMAGE", "media_url": null, "timestamp": iso(*at),
        "permalink": format!("https://www.instagram.com/p/{id}/"), "like_count": 0, "comments_count": 0,
        "username": customer.and_then(|customer| customer.username.clone()),
    });
    select(&value, below)
}

fn select(value: &Value, asked: &[Field]) -> Result<Value, GraphError> {
    let object = value.as_object().cloned().unwrap_or_default();
    fields::select(&object, asked, KIND).map(Value::Object)
}
