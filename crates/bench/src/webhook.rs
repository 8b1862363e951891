//! WhatsApp webhooks without end: distinct, signed, ready to be written to a socket.
//!
//! Making a request has to cost next to nothing, because the generator shares the processor with the server that it measures. All
//! requests of one [`Webhooks`] have the same length, so each connection keeps one buffer with the finished request, and the next
//! webhook only overwrites the few bytes that differ, then signs.
//!
//! The same seed makes the same messages in the same order (times aside); another seed makes others. Two webhooks of one seed never
//! share a message id.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use aws_lc_rs::hmac;

/// Where every server of the comparison takes its webhooks.
pub const PATH: &str = "/api/webhooks/whatsapp";

/// The header that carries the signature (`whatsapp.md` 2.2).
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// The length that bodies are filled up to: that of a text message of some sentences.
pub const BODY_BYTES: usize = 844;

/// An inbound text message in Meta's envelope (`whatsapp.md` 3). Names in `<>` are filled in.
///
/// The phone number, the user ids and the name belong to the customer; the tail of the message id is random, as Meta's is, because
/// the index over it is what a store spends its time on.
const BODY: &str = concat!(
    r#"{"object":"whatsapp_business_account","entry":[{"id":"305918274660123","changes":[{"field":"messages","value":{"#,
    r#""messaging_product":"whatsapp","metadata":{"display_phone_number":"442079460111","phone_number_id":"<phone_number_id>"},"#,
    r#""contacts":[{"profile":{"name":"Customer <customer>","username":"customer.<customer>"},"wa_id":"4477<customer>","#,
    r#""user_id":"GB.482019375628<customer>","parent_user_id":"GB.ENT.902177445301<customer>"}],"#,
    r#""messages":[{"from":"4477<customer>","from_user_id":"GB.482019375628<customer>","#,
    r#""from_parent_user_id":"GB.ENT.902177445301<customer>","id":"wamid.HBgMNDQ3N<customer>FQIAEhgS<identity>","#,
    r#""timestamp":"<time>","type":"text","text":{"body":"<text>"}}]}}]}]}"#,
);

/// Repeated to fill a body up.
const TEXT: &str = "Is the blue one back in stock, and would you send it to my new address? ";

const CUSTOMER_DIGITS: usize = 8;
const IDENTITY_DIGITS: usize = 28;
const TIME_DIGITS: usize = 10;

/// What the webhooks are about.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Meta's id of the number that the messages were sent to; digits.
    pub phone_number_id: String,
    /// The app secret that the bodies are signed with.
    pub secret: String,
    /// How many people write, each as often as any other; at least 1.
    pub customers: u32,
    /// Decides all message ids.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            phone_number_id: "418205937761245".to_owned(),
            secret: "9f2c1e7ab04d4c5f8a6b3d2e1f0a7c95".to_owned(),
            customers: 5_000,
            seed: 0,
        }
    }
}

/// A seed that no earlier run used: the time, in nanoseconds.
pub fn fresh_seed() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

/// Part of a request that differs from webhook to webhook, and where it starts.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Customer(usize),
    Identity(usize),
    Time(usize),
}

/// One connection's request, overwritten by each webhook.
#[derive(Debug, Clone)]
pub struct Request {
    bytes: Vec<u8>,
    body_start: usize,
}

impl Request {
    /// Head and body, as they go over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body alone.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_start..]
    }
}

/// The maker of webhooks; shared by all connections.
#[derive(Debug)]
pub struct Webhooks {
    key: hmac::Key,
    blank: Request,
    signature_start: usize,
    slots: Vec<Slot>,
    customers: u32,
    seed: u64,
    made: AtomicU64,
}

impl Webhooks {
    /// Errors if the phone number id is not made of digits, or there are no customers or more than eight digits can name.
    pub fn new(shape: &Shape) -> anyhow::Result<Self> {
        ensure!(
            !shape.phone_number_id.is_empty() && shape.phone_number_id.bytes().all(|byte| byte.is_ascii_digit()),
            "the phone number id has to be digits: {:?}",
            shape.phone_number_id
        );
        ensure!(
            (1..100_000_000).contains(&shape.customers),
            "there have to be between 1 and 99999999 customers"
        );

        let unfilled = body(&shape.phone_number_id, "").0.len();
        let text: String = TEXT
            .chars()
            .cycle()
            .take(BODY_BYTES.saturating_sub(unfilled).max(1))
            .collect();
        let (body, mut slots) = body(&shape.phone_number_id, &text);

        let mut bytes = format!(
            "POST {PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{SIGNATURE_HEADER}: sha256=",
            body.len()
        )
        .into_bytes();
        let signature_start = bytes.len();
        bytes.extend_from_slice(&[b'0'; 64]);
        bytes.extend_from_slice(b"\r\n\r\n");
        let body_start = bytes.len();
        bytes.extend_from_slice(body.as_bytes());
        for slot in &mut slots {
            let (Slot::Customer(start) | Slot::Identity(start) | Slot::Time(start)) = slot;
            *start += body_start;
        }

        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, shape.secret.as_bytes()),
            blank: Request { bytes, body_start },
            signature_start,
            slots,
            customers: shape.customers,
            seed: shape.seed,
            made: AtomicU64::new(0),
        })
    }

    /// A buffer for [`Webhooks::fill`]; not a webhook yet.
    pub fn request(&self) -> Request {
        self.blank.clone()
    }

    /// Turns the buffer, which came from [`Webhooks::request`], into the next webhook.
    pub fn fill(&self, request: &mut Request) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let unique = scramble(self.seed.wrapping_add(number));
        let further = scramble(unique ^ self.seed);
        // The high half of a product spreads the random number evenly over the customers, without a division.
        let customer = (u64::from(further as u32) * u64::from(self.customers)) >> 32;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());

        for slot in &self.slots {
            match *slot {
                Slot::Customer(start) => {
                    write_decimal(&mut request.bytes[start..start + CUSTOMER_DIGITS], customer);
                }
                Slot::Time(start) => {
                    write_decimal(&mut request.bytes[start..start + TIME_DIGITS], now);
                }
                Slot::Identity(start) => {
                    let (high, low) = request.bytes[start..start + IDENTITY_DIGITS].split_at_mut(16);
                    write_hex(high, unique);
                    write_hex(low, further);
                }
            }
        }
        let signature = hmac::sign(&self.key, request.body());
        hex::encode_to_slice(
            signature,
            &mut request.bytes[self.signature_start..self.signature_start + 64],
        )
        .expect("a SHA-256 is 32 bytes, which are 64 digits");
    }
}

/// The body with its fixed parts filled in, and where the others are.
fn body(phone_number_id: &str, text: &str) -> (String, Vec<Slot>) {
    let mut body = String::with_capacity(BODY_BYTES);
    let mut slots = Vec::new();
    let mut pieces = BODY.split('<');
    body.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once('>').expect("every name in the body is closed");
        let blank = match name {
            "phone_number_id" => phone_number_id,
            "text" => text,
            "customer" => {
                slots.push(Slot::Customer(body.len()));
                &BLANK[..CUSTOMER_DIGITS]
            }
            "identity" => {
                slots.push(Slot::Identity(body.len()));
                &BLANK[..IDENTITY_DIGITS]
            }
            "time" => {
                slots.push(Slot::Time(body.len()));
                &BLANK[..TIME_DIGITS]
            }
            other => unreachable!("the body has no slot {other}"),
        };
        body.push_str(blank);
        body.push_str(rest);
    }
    (body, slots)
}

const BLANK: &str = "0000000000000000000000000000";

/// A bijection whose neighbouring inputs have unlike outputs (the finalizer of SplitMix64): unique numbers stay unique.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn write_decimal(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn message_id(request: &Request) -> String {
        let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        body["entry"][0]["changes"][0]["value"]["messages"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_webhook_is_signed_and_has_the_length_it_names() {
        let shape = Shape::default();
        let webhooks = Webhooks::new(&shape).unwrap();
        let mut request = webhooks.request();
        webhooks.fill(&mut request);

        let text = String::from_utf8(request.bytes().to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length: 844"));
        assert_eq!(body.len(), BODY_BYTES);
        let signature = head.split("sha256=").nth(1).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, shape.secret.as_bytes());
        hmac::verify(&key, body.as_bytes(), &hex::decode(signature).unwrap()).unwrap();
    }

    #[test]
    fn no_two_webhooks_share_a_message_and_all_customers_write() {
        let webhooks = Webhooks::new(&Shape {
            customers: 7,
            ..Shape::default()
        })
        .unwrap();
        let mut request = webhooks.request();
        let mut ids = HashSet::new();
        let mut senders = HashSet::new();
        for _ in 0..1_000 {
            webhooks.fill(&mut request);
            ids.insert(message_id(&request));
            let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
            let value = &body["entry"][0]["changes"][0]["value"];
            assert_eq!(value["contacts"][0]["wa_id"], value["messages"][0]["from"]);
            senders.insert(value["contacts"][0]["wa_id"].to_string());
        }
        assert_eq!(ids.len(), 1_000);
        assert_eq!(senders.len(), 7);
    }

    #[test]
    fn the_seed_decides_the_messages() {
        let first_id = |seed| {
            let webhooks = Webhooks::new(&Shape {
                seed,
                ..Shape::default()
            })
            .unwrap();
            let mut request = webhooks.request();
            webhooks.fill(&mut request);
            message_id(&request)
        };
        assert_eq!(first_id(1), first_id(1));
        assert_ne!(first_id(1), first_id(2));
    }

    #[test]
    fn a_phone_number_id_that_would_break_the_body_is_refused() {
        let shape = Shape {
            phone_number_id: "1\"".to_owned(),
            ..Shape::default()
        };
        assert!(Webhooks::new(&shape).is_err());
    }
}
