//! What the simulated Meta remembers: accounts, customers, threads, and what is known about each message.
//!
//! One structure behind one lock; every request and every planned act takes the lock, decides, and lets go before anything
//! is waited for.

pub(crate) mod logins;
pub(crate) mod templates;
pub(crate) mod threads;
pub(crate) mod usage;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::customers::people::{Channel, Customer, Identity, NewCustomer};
use crate::faults::Fault;
use crate::ids::Ids;
use crate::limits::Quality;
use crate::media::MediaStore;
use crate::options::Limits;
use crate::posts::Posts;
use crate::posts::comments::Comments;
use crate::world::{App, InstagramAccount, Number, Token, World};
use logins::Logins;
use templates::Templates;
use threads::{Message, Thread, ThreadKey};
use usage::Usage;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ids: Ids,
    pub(crate) app: App,
    pub(crate) instagram_app: App,
    pub(crate) numbers: Vec<Number>,
    pub(crate) accounts: Vec<InstagramAccount>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) templates: Templates,
    /// Business accounts and Instagram accounts whose events go to the app.
    pub(crate) installed: HashSet<String>,
    /// What Instagram accounts were installed with, as it is read back.
    pub(crate) installed_fields: HashMap<String, Vec<String>>,
    /// What numbers say of themselves, by their ids.
    pub(crate) profiles: HashMap<String, Map<String, Value>>,
    /// The codes that numbers were sent to be verified with, by their ids.
    pub(crate) verification_codes: HashMap<String, String>,
    /// Whom numbers have blocked, by their ids; the newest last.
    pub(crate) blocked: HashMap<String, Vec<String>>,
    /// Codes that nobody has exchanged for a token yet.
    pub(crate) logins: Logins,
    pub(crate) customers: Customers,
    pub(crate) threads: HashMap<ThreadKey, Thread>,
    /// Which thread a message is in.
    pub(crate) message_threads: HashMap<String, ThreadKey>,
    pub(crate) faults: Vec<Fault>,
    /// Counts messages to people who are not customers, for their ids.
    pub(crate) strays: u64,
    pub(crate) media: MediaStore,
    /// Counts uploads, for their ids.
    pub(crate) uploads: u64,
    /// What accounts have posted.
    pub(crate) posts: Posts,
    /// What is written under them, and under those of others about the business.
    pub(crate) comments: Comments,
    /// What has been used of every limit.
    pub(crate) usage: Usage,
    thread_messages_max: usize,
}

impl State {
    pub(crate) fn new(world: World, ids: Ids, limits: Limits) -> Self {
        let numbers_installed = world
            .numbers
            .iter()
            .filter(|number| number.subscribed)
            .map(|number| number.business_account_id.clone());
        let accounts_installed = world
            .instagram_accounts
            .iter()
            .filter(|account| account.subscribed)
            .map(|account| account.id.clone());
        let installed = numbers_installed.chain(accounts_installed).collect();
        let mut customers = Customers {
            all: Vec::new(),
            by_id: HashMap::new(),
            by_phone: HashMap::new(),
            by_user_id: HashMap::new(),
            by_igsid: HashMap::new(),
            max: limits.customers,
        };
        for new in world.customers {
            if let Err(refusal) = customers.add(new, ids) {
                tracing::warn!(%refusal, "a customer of the world was left out");
            }
        }
        let mut templates = Templates::default();
        for template in &world.templates {
            templates.add(template, ids);
        }
        Self {
            ids,
            app: world.app,
            instagram_app: world.instagram_app,
            numbers: world.numbers,
            accounts: world.instagram_accounts,
            tokens: world.tokens,
            templates,
            installed,
            installed_fields: HashMap::new(),
            profiles: HashMap::new(),
            verification_codes: HashMap::new(),
            blocked: HashMap::new(),
            logins: Logins::default(),
            customers,
            threads: HashMap::new(),
            message_threads: HashMap::new(),
            faults: Vec::new(),
            strays: 0,
            media: MediaStore::new(limits.media_bytes),
            uploads: 0,
            posts: Posts::default(),
            comments: Comments::default(),
            usage: Usage::default(),
            thread_messages_max: limits.thread_messages.max(1),
        }
    }

    pub(crate) fn number(&self, id: &str) -> Option<&Number> {
        self.numbers.iter().find(|number| number.id == id)
    }

    pub(crate) fn number_mut(&mut self, id: &str) -> Option<&mut Number> {
        self.numbers.iter_mut().find(|number| number.id == id)
    }

    /// Whether a number has blocked a customer.
    pub(crate) fn has_blocked(&self, key: &ThreadKey) -> bool {
        let blocked = self.blocked.get(&key.account);
        blocked.is_some_and(|blocked| blocked.contains(&key.customer))
    }

    /// How people take the number's messages.
    pub(crate) fn quality(&self, number: &Number, now: i64) -> Quality {
        let by_blocks = || {
            let usage = self.usage.numbers.get(&number.id);
            usage.map_or(Quality::Green, |usage| usage.quality(number.limits, now))
        };
        number.quality.unwrap_or_else(by_blocks)
    }

    /// The Instagram account with this professional or app-scoped id.
    pub(crate) fn account(&self, id: &str) -> Option<&InstagramAccount> {
        self.accounts
            .iter()
            .find(|account| account.id == id || account.scoped_id == id)
    }

    /// Which kind of channel this phone number id or Instagram account id is.
    pub(crate) fn channel(&self, account_id: &str) -> Option<Channel> {
        if self.number(account_id).is_some() {
            Some(Channel::WhatsApp)
        } else if self.accounts.iter().any(|account| account.id == account_id) {
            Some(Channel::Instagram)
        } else {
            None
        }
    }

    pub(crate) fn thread_mut(&mut self, key: &ThreadKey) -> &mut Thread {
        self.threads.entry(key.clone()).or_default()
    }

    /// Adds a message to its thread; the oldest one goes when the thread is full.
    pub(crate) fn add_message(&mut self, key: &ThreadKey, message: Message) {
        self.message_threads.insert(message.id.clone(), key.clone());
        let thread = self.threads.entry(key.clone()).or_default();
        thread.messages.push_back(message);
        if thread.messages.len() > self.thread_messages_max
            && let Some(oldest) = thread.messages.pop_front()
        {
            self.message_threads.remove(&oldest.id);
        }
    }

    pub(crate) fn message_mut(&mut self, key: &ThreadKey, id: &str) -> Option<&mut Message> {
        self.threads.get_mut(key)?.message_mut(id)
    }
}

/// Everybody, and the ways to find them.
#[derive(Debug)]
pub(crate) struct Customers {
    all: Vec<Customer>,
    by_id: HashMap<String, usize>,
    by_phone: HashMap<String, usize>,
    by_user_id: HashMap<String, usize>,
    by_igsid: HashMap<String, usize>,
    max: usize,
}

/// Why a customer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddCustomerError {
    /// Somebody has this address already.
    #[error("a customer with {what} {value} exists already")]
    Taken {
        /// Which kind of address.
        what: &'static str,
        /// The address.
        value: String,
    },
    /// There are as many as `Limits::customers` allows.
    #[error("the bound of {0} customers is reached")]
    Full(usize),
    /// Not a phone number.
    #[error("a phone number has 7 to 15 digits")]
    Phone,
}

impl Customers {
    pub(crate) fn add(&mut self, new: NewCustomer, ids: Ids) -> Result<&Customer, AddCustomerError> {
        if self.all.len() >= self.max {
            return Err(AddCustomerError::Full(self.max));
        }
        let customer = Customer::new(new, ids, self.all.len() as u64 + 1);
        if customer
            .phone
            .as_ref()
            .is_some_and(|phone| !(7..=15).contains(&phone.len()))
        {
            return Err(AddCustomerError::Phone);
        }
        let addresses = [
            ("the id", Some(&customer.id), &self.by_id),
            ("the phone", customer.phone.as_ref(), &self.by_phone),
            ("the user id", customer.user_id.as_ref(), &self.by_user_id),
            ("the IGSID", customer.igsid.as_ref(), &self.by_igsid),
        ];
        for (what, value, index) in addresses {
            if let Some(value) = value
                && index.contains_key(value)
            {
                return Err(AddCustomerError::Taken {
                    what,
                    value: value.clone(),
                });
            }
        }
        let position = self.all.len();
        self.by_id.insert(customer.id.clone(), position);
        if let Some(phone) = &customer.phone {
            self.by_phone.insert(phone.clone(), position);
        }
        if let Some(user_id) = &customer.user_id {
            self.by_user_id.insert(user_id.clone(), position);
        }
        if let Some(igsid) = &customer.igsid {
            self.by_igsid.insert(igsid.clone(), position);
        }
        self.all.push(customer);
        Ok(&self.all[position])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Customer> {
        self.all.iter()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Customer> {
        self.by_id.get(id).map(|position| &self.all[*position])
    }

    pub(crate) fn by_phone(&self, phone: &str) -> Option<&Customer> {
        self.by_phone.get(phone).map(|position| &self.all[*position])
    }

    pub(crate) fn by_user_id(&self, user_id: &str) -> Option<&Customer> {
        self.by_user_id.get(user_id).map(|position| &self.all[*position])
    }

    pub(crate) fn by_igsid(&self, igsid: &str) -> Option<&Customer> {
        self.by_igsid.get(igsid).map(|position| &self.all[*position])
    }

    /// Changes a customer's habits; addresses stay. Answers whether there is such a customer.
    pub(crate) fn change(&mut self, id: &str, change: impl FnOnce(&mut Habits<'_>)) -> bool {
        let Some(position) = self.by_id.get(id) else {
            return false;
        };
        let customer = &mut self.all[*position];
        change(&mut Habits {
            auto_read: &mut customer.auto_read,
            read_after_ms: &mut customer.read_after_ms,
            identity: &mut customer.identity,
        });
        true
    }

    /// Gives a WhatsApp customer another phone number, and with it another business-scoped id (whatsapp.md 6.1). Answers the customer, or
    /// `None` where there is none, the number is none, or somebody has it.
    pub(crate) fn move_to(&mut self, id: &str, phone: &str, user_id: String) -> Option<Customer> {
        let position = *self.by_id.get(id)?;
        let is_number = (7..=15).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || self.by_phone.contains_key(phone) || self.by_user_id.contains_key(&user_id) {
            return None;
        }
        let customer = &mut self.all[position];
        if let Some(old) = customer.phone.replace(phone.to_owned()) {
            self.by_phone.remove(&old);
        }
        if let Some(old) = customer.user_id.replace(user_id.clone()) {
            self.by_user_id.remove(&old);
        }
        self.by_phone.insert(phone.to_owned(), position);
        self.by_user_id.insert(user_id, position);
        Some(customer.clone())
    }

    /// Takes the customer's answer to this text, if they have one left.
    pub(crate) fn take_reply(&mut self, id: &str, text: &str) -> Option<(String, u64)> {
        let position = self.by_id.get(id)?;
        let text = text.to_lowercase();
        let reply = self.all[*position]
            .replies
            .iter_mut()
            .find(|reply| reply.times > 0 && reply.to.as_ref().is_none_or(|to| text.contains(&to.to_lowercase())))?;
        reply.times -= 1;
        Some((reply.say.clone(), reply.after_ms))
    }
}

/// What may change about a customer without their becoming somebody else.
pub(crate) struct Habits<'a> {
    pub(crate) auto_read: &'a mut bool,
    pub(crate) read_after_ms: &'a mut Option<u64>,
    pub(crate) identity: &'a mut Identity,
}
