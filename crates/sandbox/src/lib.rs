//! A simulated Meta: WhatsApp and Instagram as a business sees them, on a laptop, without a Meta account.
//!
//! It answers Graph requests as strictly as Meta does, lets customers write, posts signed webhooks and repeats them until
//! 200, and keeps a ledger of all of it. Nothing that talks to it needs to know: only base URLs and credentials differ.
//!
//! Where to read next: [`Options`] and [`Sandbox`] to start one; `graph` for requests; `webhooks` for what is posted;
//! `customers` for people and scripts; `limits` and `accounts` for what numbers and accounts may do; `faults` for what goes wrong on
//! purpose; `ledger` for what happened; `mail` for the SMTP sink; `control` for the API that the pages and tests use; `engine` for what
//! is due and what waits.
//!
//! It shares no code with what reads webhooks: they are built as JSON after the reference, so that a misreading on one side
//! can't be agreed to by the other. Facts about Meta name the section of the reference they come from.
//!
//! # The control API
//!
//! On the same address as Graph, and nothing that exists at Meta. JSON with camelCase names; an error is
//! `{"error": {"code", "message"}}`. All of it is there as methods of [`Sandbox`] too, unless it says so.
//!
//! | call | what it does |
//! | --- | --- |
//! | `GET /phone`, `GET /desk` | pages for people: be a customer; make things go wrong |
//! | `GET /sandbox/state` | the clock, numbers, accounts, customers, templates (HTTP alone) |
//! | `GET /sandbox/stream` | server-sent events that say what to look at again (HTTP alone) |
//! | `POST /sandbox/numbers` · `PATCH …/{number}` | adds a number ([`NewNumber`]); changes throughput, status, quality, allowed numbers, limits ([`NumberChange`]) |
//! | `POST /sandbox/instagram-accounts` · `PATCH …/{account}` | the same for Instagram ([`NewInstagramAccount`], [`AccountChange`]) |
//! | `GET`, `POST …/{account}/posts` · `PATCH`, `DELETE /sandbox/posts/{post}` · `GET …/comments` | what an account has posted ([`NewPost`], [`PostChange`]), and what is written under it |
//! | `PATCH /sandbox/apps/{app}` `{requiresProof}` | whether each call of the app needs an `appsecret_proof` |
//! | `POST /sandbox/logins` | somebody lets the app act for an account ([`Login`]); answers the code that it exchanges for a token |
//! | `POST /sandbox/tokens` `{account, scopes?, expiresInMs?}` | mints a token that works like those that the account has |
//! | `POST /sandbox/tokens/expire`, `…/revoke` `{account}` or `{token}` | ends all tokens of an account, or one |
//! | `PATCH /sandbox/templates/{name}/{language}` | status, quality, category, wording of a template ([`TemplateChange`]); [`TemplateRules`] says what happens by itself |
//! | `POST /sandbox/customers` · `PATCH …/{customer}` | adds a customer ([`NewCustomer`]); changes their habits |
//! | `GET …/{customer}/threads/{account}` · `POST …/messages` · `POST …/read` | what their phone shows; they do something ([`Content`]); they look |
//! | `GET`, `POST`, `DELETE /sandbox/faults` · `DELETE …/{fault}` | what goes wrong ([`FaultRequest`], [`FaultKind`]) |
//! | `GET /sandbox/errors` | every error of Meta's tables, which an `error` fault brings ([`ERRORS`]) |
//! | `POST /sandbox/script` | follows a script, given as YAML ([`Script`]) |
//! | `GET /ledger?after=&kind=&limit=` · `DELETE /ledger` | everything that happened; empties it |
//! | `GET /ledger/summary` | what it adds up to ([`Summary`]): counts and most in any second for each account, doubles, disorder |
//! | `GET /mailbox?to=&after=&limit=` · `DELETE /mailbox?to=` | the e-mails that came ([`Mail`]) |
//! | `GET /clock` · `POST /clock/advance` `{ms}` | the time; moves a stepped clock |
//!
//! # Limits
//!
//! How long and how many the parts of one message may be is in [`MESSAGE_LIMITS`]. The limits on how fast and how much are settings:
//! [`Number::throughput`], [`NumberLimits`], [`AccountLimits`] and [`Rules`] hold them, each with Meta's value and each off at 0. They go by
//! the sandbox's clock, so that a day passes in no time. All are looked at before any of them counts a message. What the reference
//! leaves open is a setting: the code of the messaging limit, the strict reading of the pair limit, whether what customers write
//! counts towards the throughput.
//!
//! # Without sockets
//!
//! [`Sandbox::embed`] makes a sandbox that opens none: requests go in by [`Sandbox::call`] or [`Sandbox::router`], webhooks come out by a
//! [`Subscriber`], and a stepped clock moves with [`Sandbox::advance`] (each thing at its time) or [`Sandbox::pass`] (in one go). On a
//! runtime of one thread, the same seed then gives the same history, byte for byte.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use tidings_sandbox::{Content, Object, Options, Sandbox, Time};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let options = Options {
//!     time: Time::Stepped { start_millis: 1_795_000_000_000 },
//!     ..Options::default()
//! };
//! // Any router can be the subscriber; this one answers nothing but 404, so that its handshake fails.
//! let sandbox = Sandbox::embed(options, Arc::new(axum::Router::new())).unwrap();
//! let refused = sandbox.subscribe(Object::WhatsApp, "http://hub.invalid/hook", "token").await;
//! assert_eq!(refused.unwrap_err().code, 2200);
//! let hello = Content::Text { text: "Hello".to_owned(), reply_to: None };
//! sandbox.write("amara", "200000000000001", hello).unwrap();
//! sandbox.advance(Duration::from_secs(60)).await;
//! assert_eq!(sandbox.summary().accounts["200000000000001"].written, 1);
//! # }
//! ```

mod accounts;
mod clock;
mod control;
mod customers;
mod desk;
mod engine;
mod faults;
mod graph;
mod ids;
mod ledger;
mod limits;
mod mail;
mod media;
mod options;
mod phone;
mod posts;
mod samples;
mod state;
mod templates;
mod webhooks;
mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use accounts::{
    AccountChange, AccountError, AddedInstagramAccount, AddedNumber, Login, NewInstagramAccount, NewNumber,
    NumberChange,
};
pub use clock::Time;
pub use customers::acts::{Attachment, AttachmentKind, Content, OrderItem, Shared, WriteError};
pub use customers::people::{Channel, Identity, NewCustomer, Reply};
pub use customers::script::{Line, Load, Script, ScriptError, TemplateLine};
pub use faults::{FaultKind, FaultRequest};
pub use graph::bounds::{LimitUnit, MESSAGE_LIMITS, MessageLimit};
pub use graph::catalogue::{CataloguedError, ERRORS};
pub use ledger::{AccountSummary, LedgerEntry, LedgerKind, Summary, Troubles};
pub use limits::{AccountLimits, NumberLimits, NumberStatus, Quality};
pub use mail::{Mail, SmtpAuth, SmtpOptions};
pub use media::TransferCount;
pub use options::{Delays, EchoTiming, Limits, Options, Rules, WebhookOptions, WindowRefusal};
pub use posts::{Audio, NewPost, PostChange, PostError, PostKind};
pub use state::AddCustomerError;
pub use templates::{TemplateChange, TemplateRules};
pub use webhooks::carry::Subscriber;
pub use webhooks::{EventId, Object};
pub use world::{App, InstagramAccount, Number, Template, TemplateQuality, TemplateStatus, Token, TokenKind, World};

use accounts::TokenEnd;
use clock::Clock;
use control::Changes;
use engine::{Act, Engine};
use ids::Ids;
use ledger::{Ledger, Subject};
use mail::{Mailbox, Wanted};
use media::Transfers;
use state::State;
use webhooks::Subscription;
use webhooks::carry::Carrier;
use webhooks::deliver::millis;

/// A running sandbox. Dropping it without [`Sandbox::stop`] stops it too, without waiting.
#[derive(Debug)]
pub struct Sandbox {
    core: Arc<Core>,
    url: String,
    smtp_address: Option<SocketAddr>,
    environment: Vec<(String, String)>,
}

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A scaled clock needs a factor above 0.
    #[error("a scaled clock needs a factor above 0, not {0}")]
    Scale(f64),
    /// The HTTP client can't be made.
    #[error("can't make the HTTP client that posts webhooks")]
    Client(#[source] reqwest::Error),
    /// The script can't be followed.
    #[error("can't follow the script")]
    Script(#[from] ScriptError),
}

/// A request had no answer: its connection was cut, as a fault asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was cut")]
pub struct Cut;

/// Why a callback was not subscribed: what the Graph call would have answered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SubscribeError {
    /// Meta's error code; 2200 when the handshake failed.
    pub code: i64,
    /// The error's text.
    pub message: String,
}

/// The addresses of a customer, whether or not a business sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerAddresses {
    /// The phone number, digits only; WhatsApp only.
    pub phone: Option<String>,
    /// The business-scoped user id; WhatsApp only.
    pub user_id: Option<String>,
    /// The Instagram-scoped id; Instagram only.
    pub igsid: Option<String>,
}

/// What all parts of a sandbox share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    /// Where all of it is served.
    pub(crate) url: String,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) state: Mutex<State>,
    pub(crate) subscriptions: Mutex<HashMap<Object, Subscription>>,
    pub(crate) engine: Engine,
    pub(crate) ledger: Ledger,
    pub(crate) changes: Changes,
    pub(crate) mailbox: Mailbox,
    pub(crate) carrier: Carrier,
    pub(crate) transfers: Transfers,
    pub(crate) whatsapp_secret: String,
    pub(crate) instagram_secret: String,
    pub(crate) stopping: CancellationToken,
    /// The driver, the server, and each post under way.
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
    pub(crate) myself: Weak<Core>,
    /// One advance at a time, so that each is complete when it returns.
    advancing: tokio::sync::Mutex<()>,
    posts: AtomicU64,
    traces: AtomicU64,
    handshakes: AtomicU64,
    faults: AtomicU64,
    account_events: AtomicU64,
}

impl Sandbox {
    /// Starts a sandbox; it serves once this returns.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let address = options.listen;
        let listening = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let mut sink = None;
        if let Some(smtp) = options.smtp.clone() {
            let address = smtp.listen;
            let listening = |source| StartError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(listening)?;
            let address = listener.local_addr().map_err(listening)?;
            sink = Some((smtp, listener, address));
        }
        let carrier = Carrier::http(options.webhooks.timeout).map_err(StartError::Client)?;
        let mut sandbox = Self::new(options, &format!("http://{address}"), carrier)?;
        let core = &sandbox.core;
        if let Some((smtp, listener, address)) = sink {
            sandbox.environment.extend(smtp_environment(&smtp, address));
            sandbox.smtp_address = Some(address);
            core.tasks.spawn(mail::smtp::serve(Arc::clone(core), smtp, listener));
        }
        core.tasks.spawn(serve(Arc::clone(core), listener));
        Ok(sandbox)
    }

    /// A sandbox without sockets: it is called with [`Sandbox::call`] or through [`Sandbox::router`], and calls the subscriber within the
    /// process. Has to be called within a tokio runtime; with one thread, a stepped clock and a subscriber that is as
    /// deterministic, everything happens in the same order each time.
    pub fn embed(options: Options, subscriber: Arc<dyn Subscriber>) -> Result<Self, StartError> {
        Self::new(options, "http://sandbox.invalid", Carrier::Within(subscriber))
    }

    fn new(options: Options, address: &str, carrier: Carrier) -> Result<Self, StartError> {
        if let Time::Scaled(factor) = options.time
            && !(factor.is_finite() && factor > 0.0)
        {
            return Err(StartError::Scale(factor));
        }
        let url = options.url.clone().unwrap_or_else(|| address.to_owned());
        let url = url.trim_end_matches('/').to_owned();
        let environment = environment(&options.world, &url);
        let ids = Ids::new(options.seed);
        let limits = options.limits;
        let core = Arc::new_cyclic(|myself| Core {
            url: url.clone(),
            clock: Clock::new(options.time),
            ids,
            whatsapp_secret: options.world.app.secret.clone(),
            instagram_secret: options.world.instagram_app.secret.clone(),
            state: Mutex::new(State::new(options.world.clone(), ids, limits)),
            subscriptions: Mutex::default(),
            engine: Engine::new(limits.planned, options.webhooks.waiting_max),
            ledger: Ledger::new(limits.ledger_entries, limits.summary_keys),
            changes: Changes::new(),
            mailbox: Mailbox::new(&options.smtp.clone().unwrap_or_default()),
            carrier,
            transfers: Transfers::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            myself: Weak::clone(myself),
            advancing: tokio::sync::Mutex::default(),
            posts: AtomicU64::default(),
            traces: AtomicU64::default(),
            handshakes: AtomicU64::default(),
            faults: AtomicU64::default(),
            account_events: AtomicU64::default(),
            options,
        });
        if let Some(script) = &core.options.script {
            customers::script::start(&core, script)?;
        }
        core.tasks.spawn(drive(Arc::clone(&core)));
        Ok(Self {
            core,
            url,
            smtp_address: None,
            environment,
        })
    }

    /// Everything that is served: Graph, control API, pages.
    pub fn router(&self) -> Router {
        router(Arc::clone(&self.core))
    }

    /// Answers a request without a socket. The error is a connection that was cut.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Cut> {
        let Ok(answer) = self.router().oneshot(request.map(Body::from)).await;
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Cut)?;
        Ok(Response::from_parts(parts, body))
    }

    /// The address of everything: Graph, control API, phone page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many files are, and were, on their way.
    pub fn transfers(&self) -> TransferCount {
        self.core.transfers.count()
    }

    /// Where the SMTP sink listens, if there is one.
    pub fn smtp_address(&self) -> Option<SocketAddr> {
        self.smtp_address
    }

    /// What came to the SMTP sink and is still kept, oldest first.
    pub fn mailbox(&self) -> Vec<Mail> {
        self.core.mailbox.read(&Wanted::default(), usize::MAX)
    }

    /// Empties the mailbox.
    pub fn clear_mailbox(&self) {
        self.core.mailbox.remove(&Wanted::default());
    }

    /// What a hub has to be configured with, as environment variables.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    /// Subscribes a callback to every field of the object: what `POST /{app}/subscriptions` does, handshake included.
    pub async fn subscribe(
        &self,
        object: Object,
        callback_url: &str,
        verify_token: &str,
    ) -> Result<(), SubscribeError> {
        let fields = object.fields().iter().map(|field| (*field).to_owned()).collect();
        graph::subscriptions::subscribe(&self.core, object, callback_url, verify_token, fields, graph::VERSION)
            .await
            .map_err(|error| SubscribeError {
                code: error.code,
                message: error.message,
            })
    }

    /// The customer does this, now, in the thread with this phone number id or Instagram account id. The answer is the id
    /// of the event, which is the message's id where the act brings a message.
    pub fn write(&self, customer: &str, to_account: &str, content: Content) -> Result<EventId, WriteError> {
        customers::acts::write(&self.core, customer, to_account, content)
    }

    /// Starts another script, now; [`Options::script`] starts with the sandbox, when nobody may be subscribed yet.
    pub fn play(&self, script: &Script) -> Result<(), ScriptError> {
        customers::script::start(&self.core, script)
    }

    /// The customer looks at the thread: everything delivered is read.
    pub fn look(&self, customer: &str, account: &str) -> Result<(), WriteError> {
        customers::acts::look(&self.core, customer, account)
    }

    /// Adds a customer; answers their id in the control API.
    pub fn add_customer(&self, new: NewCustomer) -> Result<String, AddCustomerError> {
        let mut state = lock(&self.core.state);
        let ids = state.ids;
        let customer = state.customers.add(new, ids)?;
        Ok(customer.id.clone())
    }

    /// The addresses of a customer.
    pub fn customer(&self, id: &str) -> Option<CustomerAddresses> {
        let state = lock(&self.core.state);
        let customer = state.customers.get(id)?;
        Some(CustomerAddresses {
            phone: customer.phone.clone(),
            user_id: customer.user_id.clone(),
            igsid: customer.igsid.clone(),
        })
    }

    /// Adds a WhatsApp number, with a token of its own.
    pub fn add_number(&self, new: NewNumber) -> Result<AddedNumber, AccountError> {
        self.core.add_number(new)
    }

    /// Adds an Instagram account, with a token of its own.
    pub fn add_instagram_account(&self, new: NewInstagramAccount) -> Result<AddedInstagramAccount, AccountError> {
        self.core.add_instagram_account(new)
    }

    /// Changes what a number may do, and posts the webhooks that tell of it.
    pub fn change_number(&self, phone_number_id: &str, change: NumberChange) -> Result<(), AccountError> {
        self.core.change_number(phone_number_id, change)
    }

    /// Changes what an Instagram account may do.
    pub fn change_instagram_account(&self, id: &str, change: AccountChange) -> Result<(), AccountError> {
        self.core.change_account(id, change)
    }

    /// Changes a template, such as where it is in its life, and posts the webhooks that tell of it.
    pub fn change_template(
        &self,
        name: &str,
        language: &str,
        change: impl Into<TemplateChange>,
    ) -> Result<(), AccountError> {
        self.core.change_template(name, language, &change.into())
    }

    /// Makes one more token for a number or an account, as good as those that it has; it ends when told to, or never.
    pub fn mint_token(&self, account: &str, expires_in: Option<Duration>) -> Result<String, AccountError> {
        let expires_in = expires_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.core.mint_token(account, None, expires_in)
    }

    /// Has somebody log in and let the app act for an account; answers the code that the app exchanges for a token.
    pub fn log_in(&self, login: Login) -> Result<String, AccountError> {
        self.core.log_in(login)
    }

    /// Says whether every call of an app has to come with an `appsecret_proof`.
    pub fn require_proof(&self, app_id: &str, required: bool) -> Result<(), AccountError> {
        self.core.require_proof(app_id, required)
    }

    /// Lets every token of a number or an account, or this one token, expire; answers how many.
    pub fn expire_tokens(&self, account_or_token: &str) -> Result<usize, AccountError> {
        self.core.end_tokens(account_or_token, TokenEnd::Expired)
    }

    /// Revokes every token of a number or an account, or this one token; answers how many.
    pub fn revoke_tokens(&self, account_or_token: &str) -> Result<usize, AccountError> {
        self.core.end_tokens(account_or_token, TokenEnd::Revoked)
    }

    /// Has an Instagram account post something; answers with the post's id.
    pub fn post(&self, new: NewPost) -> Result<String, PostError> {
        self.core.add_post(new)
    }

    /// Changes a post.
    pub fn change_post(&self, id: &str, change: PostChange) -> Result<(), PostError> {
        self.core.change_post(id, change).map(drop)
    }

    /// Deletes a post, as its owner would on their phone.
    pub fn delete_post(&self, id: &str) -> Result<(), PostError> {
        self.core.remove_post(id)
    }

    /// Puts a fault in force until it is used up or [`Sandbox::clear_faults`]. The error says what is wrong with it.
    pub fn fault(&self, request: FaultRequest) -> Result<(), &'static str> {
        self.core.add_fault(request).map(|_| ())
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.core.state).faults.clear();
    }

    /// What is still kept of everything that happened, in order.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.core.ledger.all()
    }

    /// What everything that happened adds up to, also what is no longer kept.
    pub fn summary(&self) -> Summary {
        self.core.ledger.summary()
    }

    /// Empties the ledger and its summary.
    pub fn clear_ledger(&self) {
        self.core.ledger.clear();
    }

    /// The time by the sandbox's clock, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.core.clock.now()
    }

    /// Moves a stepped clock, from one thing that is due to the next; each is done, and its webhooks are answered, before the
    /// clock moves on. Other clocks are left alone.
    pub async fn advance(&self, by: Duration) {
        self.core.advance(by).await;
    }

    /// Moves a stepped clock in one go, without waiting for what becomes due: [`Sandbox::settled`] waits for it. What
    /// follows of it is planned from where the clock then stands, so that a message that is sent and delivered takes two such steps.
    pub fn pass(&self, by: Duration) {
        self.core.clock.advance_to(self.core.after(by));
    }

    /// When the next thing is due, by the sandbox's clock.
    pub fn next_due(&self) -> Option<i64> {
        self.core.engine.next_due()
    }

    /// Resolves when no webhook waits. With a stepped clock, what is due later doesn't count, since only
    /// [`Sandbox::advance`] makes it due; otherwise it does, and a script without an end never settles.
    pub async fn settled(&self) {
        self.core.settled().await;
    }

    /// Stops serving and posting; resolves when both have ended.
    pub async fn stop(self) {
        self.core.stopping.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.core.stopping.cancel();
    }
}

impl Core {
    /// The time that long from now.
    pub(crate) fn after(&self, delay: Duration) -> i64 {
        self.clock.now().saturating_add(millis(delay))
    }

    pub(crate) fn count_post(&self) -> u64 {
        self.posts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_trace(&self) -> u64 {
        self.traces.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_handshake(&self) -> u64 {
        self.handshakes.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_fault(&self) -> u64 {
        self.faults.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_account_event(&self) -> u64 {
        self.account_events.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) async fn advance(&self, by: Duration) {
        let _one_at_a_time = self.advancing.lock().await;
        let target = self.after(by);
        loop {
            self.settled_until_now().await;
            match self.engine.next_due() {
                Some(due) if due <= target => self.clock.advance_to(due),
                _ => break,
            }
        }
        self.clock.advance_to(target);
        self.settled_until_now().await;
    }

    async fn settled(&self) {
        let planned_too = !self.clock.is_stepped();
        self.settle(planned_too).await;
    }

    async fn settled_until_now(&self) {
        self.settle(false).await;
    }

    async fn settle(&self, planned_too: bool) {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            () = self.engine.idle(|| self.clock.now(), planned_too) => {}
        }
    }

    fn run(&self, act: Act) {
        match act {
            Act::Progress(step) => webhooks::status::take(self, *step),
            Act::Arrive {
                customer,
                account,
                message_id,
            } => {
                let subject = Subject {
                    account: Some(&account),
                    customer: Some(&customer),
                    message_id: Some(&message_id),
                };
                self.ledger
                    .write(self.clock.now(), LedgerKind::Delivered, &subject, Value::Null);
                let key = state::threads::ThreadKey {
                    customer: customer.clone(),
                    account: account.clone(),
                };
                customers::acts::arrived(self, &mut lock(&self.state), &key, &message_id);
            }
            Act::Look { customer, account } => {
                if let Err(error) = customers::acts::look(self, &customer, &account) {
                    tracing::warn!(%error, "a customer could not look at a thread");
                }
            }
            Act::Write {
                customer,
                account,
                content,
            } => {
                if let Err(error) = customers::acts::write(self, &customer, &account, *content) {
                    tracing::warn!(%error, "a customer could not do what was planned");
                }
            }
            Act::TemplateLine(line) => {
                if let Err(error) = self.change_template(&line.name, &line.language, &line.change) {
                    tracing::warn!(%error, "a template could not be changed as planned");
                }
            }
            Act::Template(turn) => self.take_template_turn(&turn),
            Act::Script(turn) => customers::script::take_turn(self, *turn),
            Act::Post(new) => {
                if let Err(error) = self.add_post(*new) {
                    tracing::warn!(%error, "a post could not be made as planned");
                }
            }
            Act::Flush(object) => {
                self.engine.flushed(object);
                self.pump(object);
            }
            Act::Repeat(post) => {
                let object = post.object;
                self.engine.enqueue_repeat(*post);
                self.pump(object);
            }
        }
    }
}

/// Does what is due, in order, until the sandbox stops.
async fn drive(core: Arc<Core>) {
    let mut changed = core.engine.watch();
    loop {
        changed.mark_unchanged();
        while let Some(act) = core.engine.take_due(core.clock.now()) {
            core.run(act);
            core.engine.finish();
            if core.stopping.is_cancelled() {
                return;
            }
            // A long row of acts lets posts and requests have their turn.
            tokio::task::coop::consume_budget().await;
        }
        let next_due = core.engine.next_due();
        let due = async {
            match next_due {
                Some(due) => core.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            _ = changed.changed() => {}
            () = due => {}
        }
    }
}

async fn serve(core: Arc<Core>, listener: TcpListener) {
    let stopping = core.stopping.clone();
    let served = axum::serve(listener, router(core))
        .with_graceful_shutdown(async move { stopping.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the sandbox's server has ended");
    }
}

fn router(core: Arc<Core>) -> Router {
    control::routes()
        .merge(phone::routes())
        .merge(desk::routes())
        .fallback(graph::handle)
        .with_state(core)
}

/// Locks, also when a holder has panicked: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn smtp_environment(options: &SmtpOptions, address: SocketAddr) -> [(String, String); 2] {
    let login = match &options.auth {
        SmtpAuth::Only { user, password } => format!("{user}:{password}@"),
        SmtpAuth::Anybody | SmtpAuth::Nobody => String::new(),
    };
    [
        ("SMTP_URL".to_owned(), format!("smtp://{login}{address}")),
        (
            "SMTP_FROM".to_owned(),
            "Sandbox Records <records@sandbox.example>".to_owned(),
        ),
    ]
}

fn environment(world: &World, url: &str) -> Vec<(String, String)> {
    let number = world.numbers.first();
    let backup = world.numbers.get(1);
    let account = world.instagram_accounts.first();
    let token = |asset: &str| {
        let token = world
            .tokens
            .iter()
            .find(|token| token.assets.iter().any(|granted| granted == asset));
        token.map(|token| token.value.as_str())
    };
    let token_of = |number: &Number| token(&number.business_account_id);
    let variables = [
        ("WHATSAPP_API_BASE_URL", Some(url)),
        ("META_GRAPH_API_BASE_URL", Some(url)),
        ("META_GRAPH_API_VERSION", Some(graph::VERSION)),
        ("WHATSAPP_PHONE_NUMBER_ID", number.map(|number| number.id.as_str())),
        (
            "WHATSAPP_BUSINESS_ACCOUNT_ID",
            number.map(|number| number.business_account_id.as_str()),
        ),
        ("WHATSAPP_ACCESS_TOKEN", number.and_then(token_of)),
        (
            "WHATSAPP_BACKUP_PHONE_NUMBER_ID",
            backup.map(|number| number.id.as_str()),
        ),
        ("WHATSAPP_BACKUP_ACCESS_TOKEN", backup.and_then(token_of)),
        ("WHATSAPP_APP_SECRET", Some(&world.app.secret)),
        ("WHATSAPP_VERIFY_TOKEN", Some(&world.whatsapp_verify_token)),
        ("META_APP_ID", Some(&world.app.id)),
        ("META_IG_BUSINESS_ID", account.map(|account| account.id.as_str())),
        ("META_IG_ACCESS_TOKEN", account.and_then(|account| token(&account.id))),
        ("INSTAGRAM_APP_ID", Some(&world.instagram_app.id)),
        ("INSTAGRAM_APP_SECRET", Some(&world.instagram_app.secret)),
        ("INSTAGRAM_VERIFY_TOKEN", Some(&world.instagram_verify_token)),
    ];
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}
