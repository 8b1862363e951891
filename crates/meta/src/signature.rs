//! Signs and checks webhook bodies.
//!
//! Meta sends `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 over the exact bytes of the body with the app secret as key
//! (reference `whatsapp.md` 2.2, `graph-api.md` 9.2). The bytes must be those that arrived: a body that was parsed and printed
//! again no longer has the escapes that were signed.
//!
//! A [`Verifier`] accepts any of several secrets, since secrets rotate and one endpoint may serve several apps. It compares in
//! constant time, and prepares each key once: checking is on the way of every notification.

use std::fmt;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The header that bears the signature.
pub const HEADER: &str = "x-hub-signature-256";

/// What the header's value starts with.
const PREFIX: &[u8] = b"sha256=";

/// Makes the value of the signature header for a body: `sha256=` and 64 lowercase hex digits.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// Why a body's signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header.
    #[error("the request has no signature header")]
    Missing,
    /// The header is not `sha256=` and 64 hex digits.
    #[error("the signature header is not sha256= and 64 hex digits")]
    Malformed,
    /// No secret makes this signature for this body.
    #[error("no app secret makes this signature for this body")]
    Mismatch,
}

/// Checks signatures against the secrets of one endpoint.
#[derive(Clone)]
pub struct Verifier {
    /// One place for each secret that was given, so that an index means the same to the caller. `None` for an empty secret.
    keys: Vec<Option<hmac::Key>>,
}

impl Verifier {
    /// Prepares the keys. An empty secret is never used: anybody could sign with it.
    pub fn new(secrets: &[SecretString]) -> Self {
        let keys = secrets
            .iter()
            .map(|secret| {
                let secret = secret.expose_secret().as_bytes();
                (!secret.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, secret))
            })
            .collect();
        Self { keys }
    }

    /// Whether there is no usable secret, so that every body would be refused.
    pub fn is_empty(&self) -> bool {
        self.keys.iter().all(Option::is_none)
    }

    /// Checks a body as it arrived against the signature header as it arrived, and tells which secret made the signature, by its
    /// place in the list given to [`Verifier::new`].
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8]) -> Result<usize, SignatureError> {
        let header = header.ok_or(SignatureError::Missing)?;
        let digits = header.strip_prefix(PREFIX).ok_or(SignatureError::Malformed)?;
        let mut signature = [0_u8; 32];
        hex::decode_to_slice(digits, &mut signature).map_err(|_| SignatureError::Malformed)?;
        self.keys
            .iter()
            .position(|key| {
                key.as_ref()
                    .is_some_and(|key| hmac::verify(key, body, &signature).is_ok())
            })
            .ok_or(SignatureError::Mismatch)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("secrets", &self.keys.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's test vector (`whatsapp.md` 2.2).
    const SECRET: &str = "9f2c1e7ab04d4c5f8a6b3d2e1f0a7c95";
    const BODY: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"305918274660123","changes":[{"value":{"text":"ol\u00e1 \ud83d\ude00"},"field":"messages"}]}]}"#;
    const SIGNATURE: &str = "sha256=c966ae88370ff1fe73605aab3170ada567d2c5096d9cd39836c3643a636bb653";

    fn verifier(secrets: &[&str]) -> Verifier {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        Verifier::new(&secrets)
    }

    #[test]
    fn signs_the_reference_vector() {
        assert_eq!(BODY.len(), 147);
        assert_eq!(sign(SECRET.as_bytes(), BODY.as_bytes()), SIGNATURE);
    }

    #[test]
    fn accepts_the_reference_vector_and_names_the_secret() {
        let both = verifier(&["an older one", SECRET]);
        assert_eq!(both.verify(Some(SIGNATURE.as_bytes()), BODY.as_bytes()), Ok(1));
        let one = verifier(&[SECRET]);
        assert_eq!(one.verify(Some(SIGNATURE.as_bytes()), BODY.as_bytes()), Ok(0));
    }

    #[test]
    fn refuses_the_same_json_in_raw_utf8() {
        let raw = BODY.replace(r"\u00e1 \ud83d\ude00", "á 😀");
        assert!(
            sign(SECRET.as_bytes(), raw.as_bytes()).starts_with("sha256=310f02188fae"),
            "the reference names this signature too"
        );
        assert_eq!(
            verifier(&[SECRET]).verify(Some(SIGNATURE.as_bytes()), raw.as_bytes()),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn tells_missing_malformed_and_mismatch_apart() {
        let verifier = verifier(&[SECRET]);
        let check = |header: Option<&str>| verifier.verify(header.map(str::as_bytes), b"{}");
        assert_eq!(check(None), Err(SignatureError::Missing));
        for malformed in [
            "",
            "sha256=",
            "sha1=0123456789012345678901234567890123456789",
            &SIGNATURE[7..],
            &SIGNATURE[..70],
            &format!("{SIGNATURE}0"),
            &format!("{SIGNATURE}00"),
            &SIGNATURE.replace('c', "x"),
            &format!(" {SIGNATURE}"),
        ] {
            assert_eq!(check(Some(malformed)), Err(SignatureError::Malformed), "{malformed}");
        }
        assert_eq!(check(Some(SIGNATURE)), Err(SignatureError::Mismatch));
    }

    #[test]
    fn never_uses_an_empty_secret() {
        let verifier = verifier(&["", SECRET]);
        assert!(!verifier.is_empty());
        assert_eq!(
            verifier.verify(Some(sign(b"", b"{}").as_bytes()), b"{}"),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(verifier.verify(Some(SIGNATURE.as_bytes()), BODY.as_bytes()), Ok(1));
        assert!(super::Verifier::new(&[SecretString::from("")]).is_empty());
        assert!(super::Verifier::new(&[]).is_empty());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", verifier(&[SECRET])), "Verifier { secrets: 1 }");
    }
}
