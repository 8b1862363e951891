//! The server: EHLO, AUTH (PLAIN and LOGIN), MAIL, RCPT, DATA, RSET, NOOP, QUIT, over an unencrypted connection.
//!
//! Faults strike at `smtp.connect`, `smtp.auth`, `smtp.mail`, `smtp.rcpt` and `smtp.data`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{SmtpAuth, SmtpOptions};
use crate::Core;
use crate::faults::{self, FaultKind, FaultRequest, Target};
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::media::decode_base64;

/// The longest line of a command; RFC 5321 asks for 512, and credentials may be longer.
const LINE_MAX: u64 = 4_096;
const RECIPIENTS_MAX: usize = 100;
/// How long a client may be silent, in real time.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// Whom an e-mail is from and to, and who had logged in.
#[derive(Debug, Clone, Default)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) user: Option<String>,
}

/// Takes connections until the sandbox stops.
pub(crate) async fn serve(core: Arc<Core>, options: SmtpOptions, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(options.connections_max.max(1)));
    let options = Arc::new(options);
    loop {
        let accepted = tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut stream, _)) = accepted else {
            // The next one may be taken, once a descriptor is free.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let _ = stream.write_all(b"421 too many connections\r\n").await;
            continue;
        };
        let (conversation_core, options) = (Arc::clone(&core), Arc::clone(&options));
        core.tasks.spawn(async move {
            let core = conversation_core;
            tokio::select! {
                biased;
                () = core.stopping.cancelled() => {}
                // An error is a client that went away.
                _ = Session::new(&core, &options, stream).run() => {}
            }
            drop(place);
        });
    }
}

/// What a command comes to.
enum Next {
    Reply(u16, String),
    /// Replied already, or several lines.
    Nothing,
    /// The connection is closed without a word.
    Cut,
    /// The connection is closed after this reply.
    Close(u16, &'static str),
}

struct Session<'a> {
    core: &'a Core,
    options: &'a SmtpOptions,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    greeted: bool,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

type Done<T> = std::io::Result<T>;

impl<'a> Session<'a> {
    fn new(core: &'a Core, options: &'a SmtpOptions, stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            core,
            options,
            reader: BufReader::new(reader),
            writer,
            greeted: false,
            user: None,
            from: None,
            to: Vec::new(),
        }
    }

    async fn run(mut self) -> Done<()> {
        match self.struck("connect").await {
            Some(Next::Reply(code, text)) => return self.say(code, &text).await,
            Some(_) => return Ok(()),
            None => self.say(220, "sandbox ESMTP").await?,
        }
        loop {
            let Some(line) = self.line().await? else { return Ok(()) };
            let next = match line {
                Ok(line) => self.command(&line).await?,
                Err(TooLong) => Next::Close(500, "the line is too long"),
            };
            match next {
                Next::Reply(code, text) => self.say(code, &text).await?,
                Next::Nothing => {}
                Next::Cut => return Ok(()),
                Next::Close(code, text) => return self.say(code, text).await,
            }
        }
    }

    async fn command(&mut self, line: &str) -> Done<Next> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let reply = |code, text: &str| Ok(Next::Reply(code, text.to_owned()));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.greeted = true;
                self.reset();
                let size = self.options.mail_bytes_max;
                let lines = format!(
                    "250-sandbox\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n"
                );
                self.writer.write_all(lines.as_bytes()).await?;
                Ok(Next::Nothing)
            }
            "HELO" => {
                self.greeted = true;
                self.reset();
                reply(250, "sandbox")
            }
            "NOOP" => reply(250, "nothing done"),
            "RSET" => {
                self.reset();
                reply(250, "forgotten")
            }
            "VRFY" => reply(252, "try and see"),
            "QUIT" => Ok(Next::Close(221, "bye")),
            "AUTH" | "MAIL" | "RCPT" | "DATA" if !self.greeted => reply(503, "say EHLO first"),
            "AUTH" => self.auth(rest).await,
            "MAIL" | "RCPT" | "DATA" if self.user.is_none() && self.options.auth != SmtpAuth::Anybody => {
                reply(530, "authentication required")
            }
            "MAIL" => Ok(self.mail(rest).await),
            "RCPT" => Ok(self.rcpt(rest).await),
            "DATA" => self.data().await,
            "STARTTLS" => reply(502, "not encrypted"),
            _ => reply(500, "unknown command"),
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }

    async fn auth(&mut self, rest: &str) -> Done<Next> {
        let reply = |code, text: &str| Ok(Next::Reply(code, text.to_owned()));
        if self.user.is_some() {
            return reply(503, "authenticated already");
        }
        if let Some(next) = self.struck("auth").await {
            return Ok(next);
        }
        let (way, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let credentials = match way.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let text = self.answer(initial, "").await?;
                // An identity to act for, the user, the password.
                text.and_then(|text| {
                    let mut parts = text.splitn(3, '\0').map(str::to_owned);
                    parts.next()?;
                    Some((parts.next()?, parts.next()?))
                })
            }
            "LOGIN" => {
                let user = self.answer(initial, "VXNlcm5hbWU6").await?;
                let password = self.answer("", "UGFzc3dvcmQ6").await?;
                user.zip(password)
            }
            _ => return reply(504, "only PLAIN and LOGIN"),
        };
        let Some((user, password)) = credentials else {
            return reply(501, "the credentials can't be read");
        };
        let is_right = match &self.options.auth {
            SmtpAuth::Anybody => true,
            SmtpAuth::Nobody => false,
            SmtpAuth::Only {
                user: right_user,
                password: right_password,
            } => user == *right_user && password == *right_password,
        };
        if !is_right {
            return reply(535, "the credentials are wrong");
        }
        self.user = Some(user);
        reply(235, "authenticated")
    }

    /// What the client gave with the command, or answers now; decoded.
    async fn answer(&mut self, initial: &str, question: &str) -> Done<Option<String>> {
        let text = if initial.is_empty() {
            self.say(334, question).await?;
            match self.line().await? {
                Some(Ok(line)) => line,
                _ => return Ok(None),
            }
        } else {
            initial.to_owned()
        };
        Ok(decode_base64(text.trim()).and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    async fn mail(&mut self, rest: &str) -> Next {
        let Some(from) = address(rest, "FROM:") else {
            return Next::Reply(501, "write MAIL FROM:<address>".to_owned());
        };
        if self.from.is_some() {
            return Next::Reply(503, "a sender was named already".to_owned());
        }
        if let Some(next) = self.struck("mail").await {
            return next;
        }
        self.from = Some(from);
        Next::Reply(250, "sender taken".to_owned())
    }

    async fn rcpt(&mut self, rest: &str) -> Next {
        let Some(to) = address(rest, "TO:").filter(|to| !to.is_empty()) else {
            return Next::Reply(501, "write RCPT TO:<address>".to_owned());
        };
        if self.from.is_none() {
            return Next::Reply(503, "name the sender first".to_owned());
        }
        if self.to.len() >= RECIPIENTS_MAX {
            return Next::Reply(452, "too many recipients".to_owned());
        }
        if let Some(next) = self.struck("rcpt").await {
            return next;
        }
        self.to.push(to);
        Next::Reply(250, "recipient taken".to_owned())
    }

    async fn data(&mut self) -> Done<Next> {
        let Some(from) = self.from.clone().filter(|_| !self.to.is_empty()) else {
            return Ok(Next::Reply(503, "name sender and recipients first".to_owned()));
        };
        self.say(354, "go on, and end with a point").await?;
        let Some(raw) = self.body().await? else {
            return Ok(Next::Cut);
        };
        let envelope = Envelope {
            from,
            to: std::mem::take(&mut self.to),
            user: self.user.clone(),
        };
        self.reset();
        let Ok(raw) = raw else {
            return Ok(Next::Reply(552, "the e-mail is too large".to_owned()));
        };
        // The faults that keep it out come first, those of the answer after it was taken.
        let faults = self.faults("data");
        if let Some(next) = self.before(&faults).await {
            return Ok(next);
        }
        let detail = json!({"from": envelope.from, "to": envelope.to, "bytes": raw.len()});
        let now = self.core.clock.now();
        self.core
            .ledger
            .write(now, LedgerKind::Mailed, &Subject::default(), detail);
        self.core.mailbox.add(now, envelope, &raw);
        if find(&faults, FaultKind::ResetAfterAccept).is_some() {
            return Ok(Next::Cut);
        }
        if let Some(fault) = find(&faults, FaultKind::TimeoutAfterAccept) {
            self.wait(fault, 600_000).await;
            return Ok(Next::Cut);
        }
        Ok(Next::Reply(250, "taken".to_owned()))
    }

    /// The e-mail without its stuffing, or that it was too large; `None` when the client went away.
    async fn body(&mut self) -> Done<Option<Result<Vec<u8>, TooLong>>> {
        let mut raw = Vec::new();
        let mut is_too_large = false;
        let mut at_line_start = true;
        loop {
            let mut chunk = Vec::new();
            let reading = (&mut self.reader).take(LINE_MAX);
            tokio::time::timeout(SILENCE_MAX, { reading }.read_until(b'\n', &mut chunk)).await??;
            if chunk.is_empty() {
                return Ok(None);
            }
            let ends_line = chunk.ends_with(b"\n");
            let mut line = &chunk[..];
            if at_line_start {
                if matches!(line, b".\r\n" | b".\n") {
                    return Ok(Some(if is_too_large { Err(TooLong) } else { Ok(raw) }));
                }
                line = line.strip_prefix(b".").unwrap_or(line);
            }
            is_too_large |= raw.len() + line.len() > self.options.mail_bytes_max;
            if !is_too_large {
                raw.extend_from_slice(line);
            }
            at_line_start = ends_line;
        }
    }

    /// A command without its end; `None` when the client went away.
    async fn line(&mut self) -> Done<Option<Result<String, TooLong>>> {
        let mut line = Vec::new();
        let reading = (&mut self.reader).take(LINE_MAX);
        tokio::time::timeout(SILENCE_MAX, { reading }.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(None);
        }
        if !line.ends_with(b"\n") {
            return Ok(Some(Err(TooLong)));
        }
        Ok(Some(Ok(String::from_utf8_lossy(&line).trim_end().to_owned())))
    }

    async fn say(&mut self, code: u16, text: &str) -> Done<()> {
        self.writer.write_all(format!("{code} {text}\r\n").as_bytes()).await
    }

    /// What a fault makes of this stage, if one hits it.
    async fn struck(&self, stage: &str) -> Option<Next> {
        let faults = self.faults(stage);
        self.before(&faults).await
    }

    async fn before(&self, faults: &[FaultRequest]) -> Option<Next> {
        if let Some(fault) = find(faults, FaultKind::Delay) {
            self.wait(fault, 1_000).await;
        }
        if find(faults, FaultKind::ResetBefore).is_some() {
            return Some(Next::Cut);
        }
        let fault = find(faults, FaultKind::Error)?;
        let code = fault.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(451);
        let text = fault.message.as_deref().unwrap_or("the sandbox was asked for this");
        Some(Next::Reply(code, text.replace(['\r', '\n'], " ")))
    }

    fn faults(&self, stage: &str) -> Vec<FaultRequest> {
        let mut state = lock(&self.core.state);
        let state = &mut *state;
        let now = self.core.clock.now();
        let endpoint = format!("smtp.{stage}");
        let target = Target {
            endpoint: &endpoint,
            accounts: &[],
            now,
        };
        let faults = faults::hits(&mut state.faults, &target, &[], state.ids);
        for fault in &faults {
            self.core
                .ledger
                .write(now, LedgerKind::Faulted, &Subject::default(), json!(fault));
        }
        faults
    }

    async fn wait(&self, fault: &FaultRequest, usual_millis: u64) {
        let delay = Duration::from_millis(fault.delay_ms.unwrap_or(usual_millis));
        self.core.clock.sleep_until(self.core.after(delay)).await;
    }
}

/// A line or an e-mail beyond its bound.
#[derive(Debug)]
struct TooLong;

fn find(faults: &[FaultRequest], kind: FaultKind) -> Option<&FaultRequest> {
    faults.iter().find(|fault| fault.kind == kind)
}

/// The address of `FROM:<a@b.example> SIZE=1`; that of a bounce is empty.
fn address(rest: &str, keyword: &str) -> Option<String> {
    let is_meant = rest.get(..keyword.len())?.eq_ignore_ascii_case(keyword);
    let rest = rest[keyword.len()..]
        .trim_start()
        .strip_prefix('<')
        .filter(|_| is_meant)?;
    let (address, _) = rest.split_once('>')?;
    Some(address.to_owned())
}
