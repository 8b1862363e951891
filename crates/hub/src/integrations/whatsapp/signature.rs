//! `X-Integration-Signature: t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<raw body>` with a secret that the business and the other
//! system share. There may be several `v1`, while a secret is being replaced. Pure.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

/// The header that bears the signature.
pub const HEADER: &str = "x-integration-signature";

/// How many signatures one header may have.
const SIGNATURES_MAX: usize = 8;
/// How long the header may be.
const HEADER_BYTES_MAX: usize = 1_024;
/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// Bytes of a fingerprint: enough to tell a handful of secrets apart, too few to say anything of one.
const FINGERPRINT_BYTES: usize = 4;

/// Why a signature was refused. Whoever called is not told which; the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no such header.
    #[error("missing")]
    Missing,
    /// The header is not `t=<unix seconds>,v1=<64 hex digits>`.
    #[error("malformed")]
    Malformed,
    /// The signature is right, but of another time.
    #[error("expired")]
    Expired,
    /// No secret makes any of the signatures.
    #[error("mismatch")]
    Mismatch,
}

/// A signature that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// When it was made, in seconds since 1970.
    pub at: i64,
    /// Every `v1` of the header that one of the secrets makes, in small letters; at least one.
    pub right: Vec<String>,
    /// Who made the first of them.
    pub signer: Signer,
}

/// Whose secret it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The place of the secret among those of the settings, from 1.
    pub position: usize,
    /// The beginning of the secret's SHA-256, in hex.
    pub fingerprint: String,
}

/// Makes the header's value for a body.
pub fn sign(secret: &SecretString, at: i64, body: &[u8]) -> String {
    format!("t={at},v1={}", hex::encode(digest_of(secret, at, body)))
}

/// Checks the header of a body as it arrived. A signature may be so many seconds old, or ahead.
pub fn verify(
    header: Option<&[u8]>,
    body: &[u8],
    secrets: &[SecretString],
    now: i64,
    tolerance: i64,
) -> Result<Signature, SignatureError> {
    let (at, given) = parse(header.ok_or(SignatureError::Missing)?).ok_or(SignatureError::Malformed)?;
    let mut right = Vec::new();
    let mut signer = None;
    // Every secret and every signature is looked at, whatever came of those before.
    for (index, secret) in secrets.iter().enumerate() {
        // Anybody could sign with an empty one.
        if secret.expose_secret().is_empty() {
            continue;
        }
        let expected = digest_of(secret, at, body);
        for signature in &given {
            if verify_slices_are_equal(&expected, signature).is_ok() {
                right.push(hex::encode(signature));
                signer.get_or_insert((index, secret));
            }
        }
    }
    let (index, secret) = signer.ok_or(SignatureError::Mismatch)?;
    if now.abs_diff(at) > tolerance.unsigned_abs() {
        return Err(SignatureError::Expired);
    }
    right.dedup();
    Ok(Signature {
        at,
        right,
        signer: Signer {
            position: index + 1,
            fingerprint: fingerprint(secret),
        },
    })
}

/// What tells a secret from others without saying it: `printf %s "$SECRET" | sha256sum | cut -c 1-8`.
pub fn fingerprint(secret: &SecretString) -> String {
    let digest = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
    hex::encode(&digest.as_ref()[..FINGERPRINT_BYTES])
}

fn digest_of(secret: &SecretString, at: i64, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{at}.").as_bytes());
    context.update(body);
    let mut digest = [0; SIGNATURE_BYTES];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

/// The time and the signatures of a header. Parts of other names are left alone: a later version may have some.
fn parse(header: &[u8]) -> Option<(i64, Vec<[u8; SIGNATURE_BYTES]>)> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(header).ok()?;
    let mut at = None;
    let mut signatures = Vec::new();
    for part in text.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        match name {
            "t" if at.is_none() => at = Some(seconds(value)?),
            "v1" if signatures.len() < SIGNATURES_MAX => {
                let mut signature = [0; SIGNATURE_BYTES];
                hex::decode_to_slice(value, &mut signature).ok()?;
                signatures.push(signature);
            }
            // A second time, or too many signatures.
            "t" | "v1" => return None,
            _ => {}
        }
    }
    (!signatures.is_empty()).then_some((at?, signatures))
}

/// Written in one way alone, so that what was signed is what was read.
fn seconds(text: &str) -> Option<i64> {
    const DIGITS_MAX: usize = 12;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    (is_plain && text.len() <= DIGITS_MAX)
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::{SignatureError, fingerprint, sign, verify};

    const BODY: &[u8] = br#"{"phoneNumber":"+31612345678"}"#;
    const AT: i64 = 1_795_400_000;
    const TOLERANCE: i64 = 300;

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| (*text).into()).collect()
    }

    #[track_caller]
    fn refused(header: Option<&str>, expected: SignatureError) {
        let error = verify(
            header.map(str::as_bytes),
            BODY,
            &secrets(&["one", "two"]),
            AT,
            TOLERANCE,
        )
        .unwrap_err();
        assert_eq!(error, expected, "{header:?}");
    }

    #[test]
    fn what_openssl_makes_is_taken() {
        // printf %s '1795400000.{"phoneNumber":"+31612345678"}' | openssl dgst -sha256 -hmac one
        let made = sign(&"one".into(), AT, BODY);
        assert_eq!(made, format!("t={AT},v1={VECTOR}"));
        let signature = verify(Some(made.as_bytes()), BODY, &secrets(&["one"]), AT, TOLERANCE).unwrap();
        assert_eq!(signature.right, [VECTOR]);
    }

    const VECTOR: &str = "1dd9684fa7e638950241d96744f4fe34bfd5a63209553a7acba80bdb4a604aa7";

    #[test]
    fn any_secret_and_any_of_several_signatures_will_do() {
        let known = secrets(&["one", "two"]);
        let by = |secret: &str| sign(&secret.into(), AT, BODY);
        let signature = verify(Some(by("two").as_bytes()), BODY, &known, AT, TOLERANCE).unwrap();
        assert_eq!(signature.signer.position, 2);
        assert_eq!(signature.signer.fingerprint, fingerprint(&"two".into()));
        let v1 = |secret: &str| by(secret).split_once(',').unwrap().1.to_owned();
        let both = format!("t={AT}, {} ,v0=x,{},{}", v1("other"), v1("two"), v1("one"));
        let signature = verify(Some(both.as_bytes()), BODY, &known, AT, TOLERANCE).unwrap();
        assert_eq!(signature.signer.position, 1);
        assert_eq!(signature.right.len(), 2, "each that is right is remembered");
        let capitals = by("one").to_uppercase().replace("T=", "t=").replace("V1=", "v1=");
        let signature = verify(Some(capitals.as_bytes()), BODY, &known, AT, TOLERANCE).unwrap();
        assert_eq!(signature.right, [v1("one").strip_prefix("v1=").unwrap()]);
    }

    #[test]
    fn the_time_is_signed_and_bounded() {
        let known = secrets(&["one"]);
        let made = sign(&"one".into(), AT, BODY);
        for (now, expected) in [
            (AT + TOLERANCE, true),
            (AT - TOLERANCE, true),
            (AT + TOLERANCE + 1, false),
            (AT - TOLERANCE - 1, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            let taken = verify(Some(made.as_bytes()), BODY, &known, now, TOLERANCE);
            assert_eq!(taken.is_ok(), expected, "{now}");
            assert!(taken.is_ok() || taken == Err(SignatureError::Expired));
        }
        let other_time = made.replace(&AT.to_string(), &(AT + 1).to_string());
        refused(Some(&other_time), SignatureError::Mismatch);
    }

    #[test]
    fn another_body_secret_or_none_is_a_mismatch() {
        refused(Some(&sign(&"three".into(), AT, BODY)), SignatureError::Mismatch);
        refused(Some(&sign(&"one".into(), AT, b"{}")), SignatureError::Mismatch);
        refused(None, SignatureError::Missing);
        let by_nothing = sign(&"".into(), AT, BODY);
        let taken = verify(Some(by_nothing.as_bytes()), BODY, &secrets(&[""]), AT, TOLERANCE);
        assert_eq!(taken, Err(SignatureError::Mismatch));
    }

    #[test]
    fn whatever_else_is_malformed() {
        let digits = "0".repeat(64);
        let nine = format!("t={AT}{}", format!(",v1={digits}").repeat(9));
        let long = format!("t={AT},v1={digits},v2={}", "x".repeat(2_000));
        for header in [
            "",
            "t",
            "t=1",
            &format!("v1={digits}"),
            &format!("t=,v1={digits}"),
            &format!("t=-1,v1={digits}"),
            &format!("t=+1,v1={digits}"),
            &format!("t=01,v1={digits}"),
            &format!("t=1e3,v1={digits}"),
            &format!("t=99999999999999999999,v1={digits}"),
            &format!("t={AT},t={AT},v1={digits}"),
            &format!("t={AT},v1={}", &digits[1..]),
            &format!("t={AT},v1={digits}0"),
            &format!("t={AT},v1={}g", &digits[1..]),
            &format!("t={AT};v1={digits}"),
            &format!("sha256={digits}"),
            &nine,
            &long,
        ] {
            refused(Some(header), SignatureError::Malformed);
        }
        let bytes = [b't', b'=', 0xff];
        let taken = verify(Some(&bytes), BODY, &secrets(&["one"]), AT, TOLERANCE);
        assert_eq!(taken, Err(SignatureError::Malformed));
    }
}
