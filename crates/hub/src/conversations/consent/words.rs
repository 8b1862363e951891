//! The words by which a contact says that they want no more messages, or want them again. Pure.
//!
//! A word counts only as all that a message says, written in whatever case and with whatever stands around it (`Stop!`). “Don't stop” is no
//! opt-out, nor is “stop” under a picture, in a group, in what the business says, in a reaction, or in the new wording of a message that said
//! something else. A pressed button counts where it belongs to a template, whose buttons are there to opt out by; others have the labels that
//! somebody has given to the steps of a conversation, `Stop` and `Start` among them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::conversations::content::Content;
use crate::conversations::understand::Said;

/// What a message says of being written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// That they want no more; else that they want it again.
    pub opted_out: bool,
    /// As they wrote it.
    pub word: String,
}

/// The words of all languages: which one a contact writes is not known.
#[derive(Debug, Clone, Default)]
pub struct Words(Arc<Lists>);

#[derive(Debug, Default)]
struct Lists {
    opt_out: HashSet<String>,
    opt_in: HashSet<String>,
    /// Of the longest word.
    bytes_max: usize,
}

/// How many bytes may stand around a word: a message that is longer is not looked at.
const AROUND_BYTES_MAX: usize = 64;

impl Words {
    /// With these words. One that stands in both lists opts out.
    pub fn new<'w>(opt_out: impl IntoIterator<Item = &'w str>, opt_in: impl IntoIterator<Item = &'w str>) -> Self {
        let opt_out: HashSet<String> = opt_out.into_iter().map(compared).collect();
        let opt_in: HashSet<String> = opt_in.into_iter().map(compared).collect();
        let bytes_max = opt_out.iter().chain(&opt_in).map(String::len).max().unwrap_or(0);
        Self(Arc::new(Lists {
            opt_out,
            opt_in,
            bytes_max,
        }))
    }

    /// What something that was said says of being written to: to the business alone, by the contact, and nothing beside it.
    pub fn wish_of(&self, said: &Said) -> Option<Wish> {
        let counts = !said.outbound && said.is_private;
        counts.then(|| self.wish(&said.content)).flatten()
    }

    fn wish(&self, content: &Content) -> Option<Wish> {
        let said = match content {
            Content::Text { text, .. } => text,
            Content::Reply(reply) if reply.source == "template_button" => reply.title.as_ref()?,
            _ => return None,
        };
        if said.len() > self.0.bytes_max + AROUND_BYTES_MAX {
            return None;
        }
        let word = compared(said);
        let opted_out = self.0.opt_out.contains(&word);
        (opted_out || self.0.opt_in.contains(&word)).then(|| Wish {
            opted_out,
            word: said.trim().to_owned(),
        })
    }
}

/// A text as it is compared: in small letters, without what stands around its first and last letter or digit, with one space between words.
pub fn compared(text: &str) -> String {
    let words = text
        .trim_matches(|letter: char| !letter.is_alphanumeric())
        .split_whitespace();
    let folded: Vec<String> = words.map(str::to_lowercase).collect();
    // People write one of several marks, phones another one.
    folded.join(" ").replace(['’', '`', '´'], "'")
}

#[cfg(test)]
mod tests {
    use super::{Words, compared};
    use crate::conversations::content::{Content, Media, Reply};

    fn words() -> Words {
        Words::new(["STOP", "Désabonner", "baja"], ["START", "S'abonner", "stop"])
    }

    fn wish(text: &str) -> Option<bool> {
        words().wish(&Content::text(text)).map(|wish| wish.opted_out)
    }

    #[test]
    fn a_word_counts_in_any_case_and_with_whatever_stands_around_it() {
        for text in [
            "STOP",
            "stop",
            " Stop \n",
            "stop.",
            "“Stop!”",
            "STOP 🛑",
            "*stop*",
            "\u{200e}stop",
            "DÉSABONNER",
            "Baja",
        ] {
            assert_eq!(wish(text), Some(true), "{text}");
        }
        for text in ["start", "START.", "s’abonner"] {
            assert_eq!(wish(text), Some(false), "{text}");
        }
    }

    #[test]
    fn a_word_counts_only_as_all_that_is_said() {
        for text in [
            "",
            "…",
            "🛑",
            "don't stop",
            "stop it, Tom",
            "Where is the bus stop?",
            "stopped",
            "non-stop",
            "START 10:00",
            "stop stop",
            "st op",
        ] {
            assert_eq!(wish(text), None, "{text}");
        }
        assert_eq!(wish(&format!("stop{}", " ".repeat(500))), None);
    }

    #[test]
    fn buttons_of_templates_count_and_no_others_nor_captions() {
        let pressed = |source: &str| {
            Content::Reply(Reply {
                source: source.to_owned(),
                payload: Some("STOP".to_owned()),
                title: Some("Stop".to_owned()),
                description: None,
            })
        };
        assert!(words().wish(&pressed("template_button")).unwrap().opted_out);
        for source in ["button", "list", "quick_reply", "postback"] {
            assert_eq!(words().wish(&pressed(source)), None, "{source}");
        }
        let picture = Content::Image(Media {
            caption: Some("STOP".to_owned()),
            ..Media::default()
        });
        assert_eq!(words().wish(&picture), None);
    }

    #[test]
    fn what_was_written_is_kept_as_it_was() {
        let wish = words().wish(&Content::text("  Stop! ")).unwrap();
        assert_eq!((wish.opted_out, wish.word.as_str()), (true, "Stop!"));
        assert_eq!(compared("  Cancelar  suscripción. "), "cancelar suscripción");
    }
}
