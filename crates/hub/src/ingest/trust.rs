//! Who is believed to be Meta: app secrets and verify tokens. They can be replaced while the hub runs, so that a secret is rotated without a
//! stop; whoever is being checked at that moment is checked by what held when it began.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use tidings_meta::notification::Platform;
use tidings_meta::signature::Verifier;

use crate::config::{PlatformConfig, WebhookConfig};

/// What holds at present.
#[derive(Debug)]
pub struct Trusts(RwLock<Arc<Trust>>);

impl Trusts {
    /// As the settings say.
    pub fn new(config: &WebhookConfig) -> Self {
        Self(RwLock::new(Arc::new(Trust::new(config))))
    }

    /// As the settings say now.
    pub fn take_over(&self, config: &WebhookConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Trust::new(config));
    }

    /// What holds now.
    pub fn now(&self) -> Arc<Trust> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Secrets and tokens of both products.
#[derive(Debug)]
pub struct Trust {
    whatsapp: Product,
    instagram: Product,
}

/// Secrets and tokens of one product.
#[derive(Debug)]
pub struct Product {
    /// Checks signatures by any of the app secrets.
    pub verifier: Verifier,
    verify_tokens: Vec<SecretString>,
}

impl Trust {
    fn new(config: &WebhookConfig) -> Self {
        Self {
            whatsapp: Product::new(&config.whatsapp),
            instagram: Product::new(&config.instagram),
        }
    }

    /// Those of one of them.
    pub fn of(&self, platform: Platform) -> &Product {
        match platform {
            Platform::WhatsApp => &self.whatsapp,
            Platform::Instagram => &self.instagram,
        }
    }
}

impl Product {
    fn new(config: &PlatformConfig) -> Self {
        Self {
            verifier: Verifier::new(&config.app_secrets),
            verify_tokens: config.verify_tokens.clone(),
        }
    }

    /// Whether there is any token that Meta could name.
    pub fn has_verify_tokens(&self) -> bool {
        !self.verify_tokens.is_empty()
    }

    /// Whether it is one of the verify tokens. Every one is looked at, so that the time that it takes tells nothing.
    pub fn knows_verify_token(&self, given: &str) -> bool {
        self.verify_tokens
            .iter()
            .fold(false, |known, token| equals(token, given) | known)
    }
}

/// Compares digests, so that neither content nor length of the token shows in the time that it takes.
fn equals(known: &SecretString, given: &str) -> bool {
    let known = digest::digest(&digest::SHA256, known.expose_secret().as_bytes());
    let given = digest::digest(&digest::SHA256, given.as_bytes());
    verify_slices_are_equal(known.as_ref(), given.as_ref()).is_ok()
}
