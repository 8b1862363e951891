//! The SMTP sink, spoken to word by word.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{LedgerKind, Options, SmtpAuth, SmtpOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::harness::{Harness, start, stepped};

fn with_smtp(smtp: SmtpOptions) -> Options {
    Options {
        smtp: Some(smtp),
        ..stepped()
    }
}

/// A client that says one line and reads one reply.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(harness: &Harness) -> Self {
        let address = harness.sandbox.smtp_address().unwrap();
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// The code of the next reply; `None` when the connection was closed.
    async fn reply(&mut self) -> Option<u16> {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await.unwrap_or_default();
            if read == 0 {
                return None;
            }
            if line.as_bytes()[3] == b' ' {
                return Some(line[..3].parse().unwrap());
            }
        }
    }

    async fn say(&mut self, line: &str) -> Option<u16> {
        // A connection that is cut may refuse what is said.
        let _ = self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Connected and greeted.
    async fn greeted(harness: &Harness) -> Self {
        let mut client = Self::connect(harness).await;
        assert_eq!(client.reply().await, Some(220));
        assert_eq!(client.say("EHLO here").await, Some(250));
        client
    }

    /// A whole e-mail; the code of its last reply.
    async fn sends(&mut self, to: &str, body: &str) -> Option<u16> {
        for line in [
            "MAIL FROM:<records@sandbox.example> SIZE=100",
            &format!("RCPT TO:<{to}>"),
        ] {
            let code = self.say(line).await;
            if code != Some(250) {
                return code;
            }
        }
        assert_eq!(self.say("DATA").await, Some(354));
        self.say(&format!("{body}\r\n.")).await
    }
}

async fn ask(harness: &Harness, fault: Value) {
    assert_eq!(harness.post("/sandbox/faults", "", &fault).await.0, 201, "{fault}");
}

#[tokio::test]
async fn an_e_mail_is_taken_and_read_over_http() {
    let harness = start(with_smtp(SmtpOptions::default())).await;
    let url = harness.variable("SMTP_URL");
    assert_eq!(url, format!("smtp://{}", harness.sandbox.smtp_address().unwrap()));
    let mut client = Client::greeted(&harness).await;
    let body = "Subject: Hello\r\n\r\nA line\r\n..a point\r\n";
    assert_eq!(client.sends("Amara@example.com", body).await, Some(250));
    assert_eq!(client.say("RSET").await, Some(250));
    assert_eq!(client.sends("jonas@example.com", body).await, Some(250));
    assert_eq!(client.say("NOOP").await, Some(250));
    assert_eq!(client.say("QUIT").await, Some(221));
    assert_eq!(client.reply().await, None);

    let (_, all) = harness.get("/mailbox", "").await;
    assert_eq!((all["mails"].as_array().unwrap().len(), &all["next"]), (2, &json!(2)));
    let (_, hers) = harness.get("/mailbox?to=amara@example.com", "").await;
    assert_eq!(hers["mails"].as_array().unwrap().len(), 1);
    let mail = &hers["mails"][0];
    assert_eq!(
        (&mail["subject"], &mail["text"]),
        (&json!("Hello"), &json!("A line\r\n.a point\r\n\r\n"))
    );
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("records@sandbox.example"), &json!(["Amara@example.com"]))
    );
    let url = format!("{}/mailbox?to=amara@example.com", harness.sandbox.url());
    assert_eq!(
        harness.call(harness.http.delete(url), "").await.1,
        json!({"removed": 1})
    );
    assert_eq!(harness.sandbox.mailbox().len(), 1);
    assert_eq!(harness.entries(LedgerKind::Mailed).len(), 2);
    harness.sandbox.clear_mailbox();
    assert!(harness.sandbox.mailbox().is_empty());
}

#[tokio::test]
async fn credentials_are_taken_or_refused() {
    let auth = SmtpAuth::Only {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    };
    let smtp = |auth| SmtpOptions {
        auth,
        ..SmtpOptions::default()
    };
    let harness = start(with_smtp(smtp(auth))).await;
    assert!(harness.variable("SMTP_URL").starts_with("smtp://me:secret@127.0.0.1:"));
    let mut client = Client::greeted(&harness).await;
    assert_eq!(client.sends("a@example.com", "x").await, Some(530));
    // me/wrong, me/secret.
    assert_eq!(client.say("AUTH PLAIN AG1lAHdyb25n").await, Some(535));
    assert_eq!(client.say("AUTH PLAIN nonsense!").await, Some(501));
    assert_eq!(client.say("AUTH CRAM-MD5").await, Some(504));
    assert_eq!(client.say("AUTH PLAIN AG1lAHNlY3JldA==").await, Some(235));
    assert_eq!(client.sends("a@example.com", "x").await, Some(250));
    assert_eq!(harness.sandbox.mailbox()[0].user.as_deref(), Some("me"));
    let mut client = Client::greeted(&harness).await;
    assert_eq!(client.say("AUTH LOGIN").await, Some(334));
    assert_eq!(client.say("bWU=").await, Some(334));
    assert_eq!(client.say("c2VjcmV0").await, Some(235));

    let harness = start(with_smtp(smtp(SmtpAuth::Nobody))).await;
    let mut client = Client::greeted(&harness).await;
    assert_eq!(client.say("AUTH PLAIN AG1lAHNlY3JldA==").await, Some(535));
    let harness = start(with_smtp(smtp(SmtpAuth::Anybody))).await;
    let mut client = Client::greeted(&harness).await;
    assert_eq!(client.say("AUTH PLAIN AG1lAHNlY3JldA==").await, Some(235));
}

#[tokio::test]
async fn faults_refuse_break_and_slow_it() {
    let harness = start(with_smtp(SmtpOptions::default())).await;
    for (stage, code) in [("mail", 451), ("rcpt", 550), ("data", 452), ("data", 554)] {
        let fault = json!({"endpoint": format!("smtp.{stage}"), "kind": "error", "code": code, "count": 1});
        ask(&harness, fault).await;
        let mut client = Client::greeted(&harness).await;
        assert_eq!(client.sends("a@example.com", "x").await, Some(code), "{stage}");
        assert_eq!(client.say("RSET").await, Some(250));
        assert_eq!(client.sends("a@example.com", "x").await, Some(250), "{stage}");
    }
    assert_eq!(harness.sandbox.mailbox().len(), 4);
    ask(
        &harness,
        json!({"endpoint": "smtp.connect", "kind": "error", "code": 554, "count": 1}),
    )
    .await;
    let mut client = Client::connect(&harness).await;
    assert_eq!((client.reply().await, client.reply().await), (Some(554), None));
    ask(
        &harness,
        json!({"endpoint": "smtp", "kind": "reset_before", "count": 1}),
    )
    .await;
    assert_eq!(Client::connect(&harness).await.reply().await, None);
    ask(
        &harness,
        json!({"endpoint": "smtp.data", "kind": "reset_after_accept", "count": 1}),
    )
    .await;
    let mut client = Client::greeted(&harness).await;
    assert_eq!(client.sends("lost@example.com", "x").await, None);
    assert_eq!(harness.sandbox.mailbox().len(), 5);

    // Slow by the sandbox's clock, which is moved only once the client waits.
    ask(
        &harness,
        json!({"endpoint": "smtp.data", "kind": "delay", "delayMs": 60_000, "count": 1}),
    )
    .await;
    let mut client = Client::greeted(&harness).await;
    let sent = tokio::join!(client.sends("late@example.com", "x"), async {
        while harness.entries(LedgerKind::Faulted).len() < 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(harness.sandbox.mailbox().len(), 5);
        harness.sandbox.advance(Duration::from_mins(1)).await;
    });
    assert_eq!(sent.0, Some(250));
    assert_eq!(harness.sandbox.mailbox().len(), 6);
}

#[tokio::test]
async fn what_is_too_much_or_out_of_order_is_refused() {
    let smtp = SmtpOptions {
        mail_bytes_max: 1_000,
        connections_max: 1,
        ..SmtpOptions::default()
    };
    let harness = start(with_smtp(smtp)).await;
    let mut client = Client::connect(&harness).await;
    assert_eq!(client.reply().await, Some(220));
    let mut second = Client::connect(&harness).await;
    assert_eq!((second.reply().await, second.reply().await), (Some(421), None));
    for (line, code) in [
        ("MAIL FROM:<a@example.com>", 503),
        ("HELO here", 250),
        ("DATA", 503),
        ("RCPT TO:<a@example.com>", 503),
        ("MAIL TO:<a@example.com>", 501),
        ("MAIL FROM:a@example.com", 501),
        ("MAIL FROM:<>", 250),
        ("MAIL FROM:<>", 503),
        ("RCPT TO:<>", 501),
        ("STARTTLS", 502),
        ("VRFY a", 252),
        ("é", 500),
        ("", 500),
        ("RSET", 250),
    ] {
        assert_eq!(client.say(line).await, Some(code), "{line}");
    }
    assert_eq!(client.sends("a@example.com", &"long\r\n".repeat(200)).await, Some(552));
    assert_eq!(client.sends("a@example.com", "short").await, Some(250));
    assert_eq!(harness.sandbox.mailbox().len(), 1);
    assert_eq!(client.say(&"x".repeat(10_000)).await, Some(500));
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest).await;
    // An open connection doesn't hold up stopping.
    let open = Client::connect(&harness).await;
    harness.sandbox.stop().await;
    drop(open);
}
