//! Meta is called, or the SMTP server, and what it answers is counted.

use std::sync::MutexGuard;
use std::time::Duration;

use secrecy::SecretString;
use tidings_meta::client::{CallError, Exchange, GraphClient, Sent, Usage};
use tidings_meta::error;
use tidings_meta::notification::Platform;
use tokio::time::Instant;

use super::{Answer, Below, Ended, InHand, Line, Sender};
use crate::channels::check::{self, CheckError};
use crate::channels::model::ChannelKind;
use crate::conversations::model::{ChannelId, Failure};
use crate::conversations::projection::CLOCKS_APART;
use crate::sending::model::{self, Outcome};
use crate::sending::{outcome, request};
use crate::store::StoreError;

/// For how long it counts that Meta answered, or did not.
const ANSWERS_FRESH: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How many ids that were found below comments are remembered: more than may be in hand at once, and so not be kept yet.
const FOUND_BELOW_MAX: usize = 4_096;
/// How many pages of answers are looked through for one of ours.
const LOOK_PAGES_MAX: usize = 4;

impl Sender {
    /// Calls Meta, or the SMTP server.
    pub(in crate::sending) async fn call(&self, in_hand: &InHand) -> Answer {
        let body = &in_hand.body;
        if let Some(answer) = self.look_below(in_hand).await {
            return answer;
        }
        self.note_posting(in_hand);
        let (platform, exchange) = match &self.line {
            Line::Meta {
                platform: platform @ Platform::WhatsApp,
                client,
                token,
            } => (
                *platform,
                client.send_whatsapp(token, &self.channel.account, body).await,
            ),
            Line::Meta {
                platform: platform @ Platform::Instagram,
                client,
                token,
            } => (*platform, self.call_instagram(client, token, body).await),
            Line::Email(mailer) => {
                let began = Instant::now();
                let posted = mailer.send(body).await;
                return Answer {
                    outcome: posted.outcome,
                    http_status: None,
                    text: posted.answer,
                    elapsed: began.elapsed(),
                    usage: Usage::default(),
                    class: None,
                };
            }
        };
        let class = match &exchange.outcome {
            Err(CallError::Refused(refusal)) => Some(error::explain(platform, refusal).class.as_str()),
            _ => None,
        };
        let mut outcome = outcome::of(platform, request::is_repeatable(body), &exchange);
        if in_hand.is_maybe_double && request::is_private_reply(body) && outcome::is_answered_already(&outcome) {
            outcome = self.private_reply_before(body).await;
        }
        Answer {
            outcome,
            http_status: exchange.http_status,
            text: exchange.answer,
            elapsed: exchange.elapsed,
            usage: exchange.usage,
            class,
        }
    }

    /// What came of an attempt to answer a comment privately, if Meta refuses to do it again. It takes one such reply for each comment, and says the
    /// same of a comment that is gone (reference `instagram.md` 7): of one that is there, the attempt whose outcome was unknown has made it.
    async fn private_reply_before(&self, body: &serde_json::Value) -> Outcome {
        let (Line::Meta { client, token, .. }, Some(comment_id)) =
            (&self.line, body["recipient"]["comment_id"].as_str())
        else {
            return Outcome::Unknown {
                failure: Failure::ours("it cannot be asked whether the comment is there"),
                answered: true,
            };
        };
        match client.replies_to_comment(token, comment_id, None).await.outcome {
            Ok(_) => Outcome::Accepted {
                external_id: None,
                recipient: model::Recipient::default(),
            },
            Err(error) => Outcome::Unknown {
                failure: Failure::ours(format!(
                    "the comment cannot be answered privately, nor be read: {error}"
                )),
                answered: true,
            },
        }
    }

    /// Whether Meta answers at all: a question that changes nothing is asked, once for all who want to know within a moment.
    ///
    /// What may have arrived is sent once more and not again, so that is not to be spent on a Meta that is away.
    pub(in crate::sending) async fn meta_answers(&self) -> bool {
        let (Line::Meta { .. }, Some(credentials)) = (&self.line, &self.channel.credentials) else {
            return true;
        };
        let mut known = self.answers.lock().await;
        if let Some((at, answers)) = *known
            && at.elapsed() < ANSWERS_FRESH
        {
            return answers;
        }
        let (kind, account) = (self.channel.kind, &self.channel.account);
        let asked = check::works_again(&self.app, kind, account, credentials);
        // Whatever it says of the credentials, it says something.
        let answers = match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(()) | Err(CheckError::Credentials(_) | CheckError::Account(_))) => true,
            Ok(Err(CheckError::Unanswered(_))) | Err(_) => false,
        };
        *known = Some((Instant::now(), answers));
        answers
    }

    async fn call_instagram(
        &self,
        client: &GraphClient,
        token: &SecretString,
        body: &serde_json::Value,
    ) -> Exchange<Sent> {
        if !request::is_comment(body) {
            return client.send_instagram(token, &self.channel.account, body).await;
        }
        let text = |name: &str| body[name].as_str();
        let message = text("message").unwrap_or_default();
        match (text("media_id"), text("comment_id")) {
            (Some(media_id), comment_id) => {
                let account = &self.channel.account;
                client
                    .reply_to_mention(token, account, media_id, comment_id, message)
                    .await
            }
            (None, comment_id) => {
                let comment_id = comment_id.unwrap_or_default();
                client.reply_to_comment(token, comment_id, message).await
            }
        }
    }

    /// Those of these ids of Meta's that are not another message of ours: the same may have been answered to two people.
    async fn of_nobody(&self, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        let keys: Vec<(ChannelId, String)> = ids.iter().map(|id| (self.channel.id.clone(), id.clone())).collect();
        let ours = self
            .app
            .store
            .read(move |tx| {
                let known = tx.message_ids_by_external_ids(&keys)?;
                let messages = tx.messages_by_ids(&known.into_values().collect::<Vec<_>>())?;
                // One that an event has told of may be the echo of what is looked for.
                let ours = messages.into_iter().filter(|message| message.event_id.is_none());
                Ok::<_, StoreError>(ours.filter_map(|message| message.external_id).collect::<Vec<_>>())
            })
            .await?;
        Ok(ids.into_iter().filter(|id| !ours.contains(id)).collect())
    }

    /// The first of these that is not taken for another message by somebody who looks at the same time, and may not have kept it yet.
    fn claim_one(&self, ids: Vec<String>) -> Option<String> {
        let found = &mut self.below().found;
        let first = ids.into_iter().find(|id| !found.contains(id))?;
        found.push_back(first.clone());
        if found.len() > FOUND_BELOW_MAX {
            found.pop_front();
        }
        Some(first)
    }

    /// An answer is about to be posted; it is until its outcome is kept.
    fn note_posting(&self, in_hand: &InHand) {
        if let (Some(comment), Some(words)) = (&in_hand.below, in_hand.body["message"].as_str()) {
            let posting = (comment.clone(), words.to_owned());
            self.below().posting.insert(in_hand.entry.message_id, posting);
        }
    }

    fn is_being_posted(&self, comment: &str, words: Option<&str>) -> bool {
        let below = self.below();
        let mut posting = below.posting.values();
        posting.any(|(under, says)| under == comment && Some(says.as_str()) == words)
    }

    /// What became of these is kept, or will not be.
    pub(in crate::sending) fn note_kept(&self, group: &[Ended]) {
        let mut below = self.below();
        if !below.posting.is_empty() {
            for ended in group {
                below.posting.remove(&ended.in_hand.entry.message_id);
            }
        }
    }

    fn below(&self) -> MutexGuard<'_, Below> {
        self.below.lock().expect("no thread panics while it holds this lock")
    }

    /// Looks whether an attempt whose outcome stayed unknown has left its answer below the comment: then nothing is said again. `None` if there is
    /// none. Instagram's requests bear no mark, and the webhook of an own comment may be lost.
    async fn look_below(&self, in_hand: &InHand) -> Option<Answer> {
        let comment_id = in_hand.below.as_deref().filter(|_| in_hand.looks_below)?;
        let Line::Meta { client, token, .. } = &self.line else {
            return None;
        };
        let (words, account) = (in_hand.body["message"].as_str(), self.channel.account.as_str());
        let since = in_hand.entry.queued_at - CLOCKS_APART;
        let mut after: Option<String> = None;
        for _ in 0..LOOK_PAGES_MAX {
            let exchange = client.replies_to_comment(token, comment_id, after.as_deref()).await;
            let answer = |outcome: Outcome| Answer {
                outcome,
                http_status: exchange.http_status,
                text: exchange.answer.clone(),
                elapsed: exchange.elapsed,
                usage: exchange.usage,
                class: None,
            };
            let as_unknown_as_before = |why: String| {
                answer(Outcome::Unknown {
                    failure: Failure::ours(why),
                    answered: true,
                })
            };
            let page = match &exchange.outcome {
                Ok(page) => page,
                Err(error) => {
                    let why = format!("what is below the comment could not be read: {error}");
                    return Some(as_unknown_as_before(why));
                }
            };
            let like_ours = page.comments.iter().filter(|comment| {
                comment.text.as_deref() == words
                    && comment.at.is_none_or(|at| at >= since)
                    && comment.from_id.as_deref().is_none_or(|from| from == account)
            });
            let ids: Vec<String> = like_ours.filter_map(|comment| comment.id.clone()).collect();
            if !ids.is_empty() && self.is_being_posted(comment_id, words) {
                let why = "the same is being said to somebody else below the comment: which of them is there is not known yet";
                return Some(as_unknown_as_before(why.to_owned()));
            }
            let found = match self.of_nobody(ids).await {
                Ok(ids) => self.claim_one(ids),
                Err(error) => {
                    let why = format!("whose the answers below the comment are could not be read: {error}");
                    return Some(as_unknown_as_before(why));
                }
            };
            if let Some(found) = found {
                return Some(answer(Outcome::Accepted {
                    external_id: Some(found),
                    recipient: model::Recipient::default(),
                }));
            }
            after = Some(page.after.clone()?);
        }
        None
    }

    pub(in crate::sending) fn count(&self, answer: &Answer, in_hand: &InHand) {
        let outcome = &answer.outcome;
        let error = outcome
            .failure()
            .map(|failure| (failure.code, answer.class.unwrap_or_else(|| outcome.as_str())));
        if let (Some((code, class)), Some(failure)) = (error, outcome.failure()) {
            // Without a code of Meta's there was no answer in time, or none that can be understood.
            let said = if code == 0 {
                "nothing usable".to_owned()
            } else {
                code.to_string()
            };
            tracing::warn!(
                message = %in_hand.entry.message_id,
                attempt = %in_hand.attempt_id,
                channel = %self.channel.id,
                code,
                class,
                http_status = answer.http_status,
                "{} API responded {said}: {}",
                match self.channel.kind {
                    ChannelKind::WhatsApp => "WhatsApp",
                    ChannelKind::Instagram => "Instagram",
                    ChannelKind::Email => "SMTP",
                },
                failure.text,
            );
        }
        self.app.metrics.observe_send(answer.elapsed);
        // The counters of the runbook are those of Meta's products.
        let Some(platform) = self.channel.platform() else {
            return;
        };
        self.app.metrics.count_call(platform, "messages", error);
        match outcome {
            Outcome::Accepted { .. } => self.app.metrics.count_sent(platform, true, in_hand.kind),
            Outcome::Failed { .. } => self.app.metrics.count_sent(platform, false, in_hand.kind),
            Outcome::Again { .. } | Outcome::Unknown { .. } => {}
        }
    }
}
