//! Codes that people gave an app by logging in, until they are exchanged for a token (graph-api.md 7, instagram.md 1.3).

use std::collections::VecDeque;

use crate::ids::Ids;
use crate::world::Token;

/// Most that wait; the oldest go.
const LOGINS_MAX: usize = 1_000;

/// A code, and what it is good for.
#[derive(Debug)]
pub(crate) struct Given {
    code: String,
    /// What the token will be like.
    pub(crate) like: Token,
    /// With which address alone.
    pub(crate) redirect_uri: String,
    pub(crate) at: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Logins {
    waiting: VecDeque<Given>,
    /// Counts all of them, for their codes.
    count: u64,
}

impl Logins {
    /// Makes a code.
    pub(crate) fn add(&mut self, ids: Ids, like: Token, redirect_uri: String, at: i64) -> String {
        self.count += 1;
        let code = format!("AQ{}", ids.word("login", &[&redirect_uri], self.count, 40));
        if self.waiting.len() >= LOGINS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Given {
            code: code.clone(),
            like,
            redirect_uri,
            at,
        });
        code
    }

    /// What a code is good for; it is good once.
    pub(crate) fn take(&mut self, code: &str) -> Option<Given> {
        let position = self.waiting.iter().position(|given| given.code == code)?;
        self.waiting.remove(position)
    }
}
