//! Ids and chance, from one seed.
//!
//! Every id is a function of the seed, of what it is for, and of a number that counts within that purpose. So the third
//! message that one customer writes bears the same id in every run with the same seed, whatever other customers and
//! requests do in the meantime.

use aws_lc_rs::digest;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Makes ids from the seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    seed: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A source of chance of its own for this purpose, scope and number.
    pub(crate) fn chance(self, purpose: &str, scope: &[&str], number: u64) -> ChaCha8Rng {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.seed.to_le_bytes());
        for part in std::iter::once(&purpose).chain(scope) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.update(&number.to_le_bytes());
        let mut seed = [0; 32];
        seed.copy_from_slice(context.finish().as_ref());
        ChaCha8Rng::from_seed(seed)
    }

    /// A WhatsApp message id, in the form of whatsapp.md 4: opaque, `wamid.` and base64.
    pub(crate) fn wamid(self, purpose: &str, scope: &[&str], number: u64) -> String {
        let mut chance = self.chance(purpose, scope, number);
        format!("wamid.HBgM{}", letters(&mut chance, BASE64, 52))
    }

    /// An Instagram message id: opaque, about 150 characters, with the prefix seen in practice (instagram.md 1.2).
    pub(crate) fn mid(self, purpose: &str, scope: &[&str], number: u64) -> String {
        let mut chance = self.chance(purpose, scope, number);
        format!("aWdfZAG1faXRlbTox{}", letters(&mut chance, BASE64_URL, 135))
    }

    /// A trace id, as in the errors of graph-api.md 3.
    pub(crate) fn trace(self, number: u64) -> String {
        let mut chance = self.chance("trace", &[], number);
        format!("A{}", letters(&mut chance, BASE64_URL, 22))
    }

    /// Letters and digits.
    pub(crate) fn word(self, purpose: &str, scope: &[&str], number: u64, length: usize) -> String {
        let mut chance = self.chance(purpose, scope, number);
        letters(&mut chance, BASE64, length).replace(['+', '/'], "x")
    }

    /// The post of an account that customers comment on when they name none.
    pub(crate) fn first_post(self, account: &str) -> String {
        self.digits("post", &[account], 0, 17)
    }

    /// The hash of a customer's identity key (whatsapp.md 9.1).
    pub(crate) fn identity(self, customer: &str) -> String {
        self.word("identity", &[customer], 0, 12)
    }

    /// The id of a template.
    pub(crate) fn template(self, name: &str, language: &str) -> String {
        self.digits("template", &[name, language], 0, 15)
    }

    /// A number of that many digits, without a leading zero.
    pub(crate) fn digits(self, purpose: &str, scope: &[&str], number: u64, length: usize) -> String {
        let mut chance = self.chance(purpose, scope, number);
        (0..length)
            .map(|position| {
                let first = u8::from(position == 0);
                char::from(b'0' + chance.random_range(first..10))
            })
            .collect()
    }
}

fn letters(chance: &mut ChaCha8Rng, alphabet: &[u8; 64], length: usize) -> String {
    (0..length)
        .map(|_| char::from(alphabet[usize::from(chance.random::<u8>() & 63)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn an_id_depends_on_the_seed_the_scope_and_the_number() {
        let make = |seed, scope: &[&str], number| Ids::new(seed).wamid("in", scope, number);
        assert_eq!(make(7, &["a", "b"], 1), make(7, &["a", "b"], 1));
        for other in [
            make(8, &["a", "b"], 1),
            make(7, &["ab", ""], 1),
            make(7, &["a", "b"], 2),
        ] {
            assert_ne!(make(7, &["a", "b"], 1), other);
        }
    }
}
