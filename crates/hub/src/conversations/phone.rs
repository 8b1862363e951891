//! Phone numbers: how they are written, and which spellings are one number.

/// A phone number in the form `+<digits>`, with 7 to 15 digits (ITU-T E.164).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Understands a number as people and Meta write it: with or without `+`, with spaces, dashes, dots and brackets. `None` if it cannot be an
    /// international number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix('+')
            .or_else(|| text.strip_prefix("00"))
            .unwrap_or(text);
        let mut digits = String::with_capacity(15);
        for character in text.chars() {
            match character {
                '0'..='9' => digits.push(character),
                ' ' | '\u{a0}' | '-' | '.' | '(' | ')' | '/' => {}
                _ => return None,
            }
        }
        // No country code begins with 0.
        ((7..=15).contains(&digits.len()) && !digits.starts_with('0')).then_some(Self(digits))
    }

    /// The digits alone, as in `wa_id`.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// The form in which two spellings of one number are equal.
///
/// WhatsApp itself gives one number in two forms (reference `whatsapp.md` 16, traps 7 and 8):
/// - Brazil: mobile numbers have nine digits after the area code, and `wa_id` often lacks the leading 9.
/// - Mexico: `521…` is the old mobile form of `52…`.
/// - Argentina: `549…` is the mobile form, dialled from abroad, of `54…`.
pub fn compared(digits: &str) -> String {
    if let Some(rest) = digits.strip_prefix("55") {
        // Two digits of area code, then 9 and eight digits of which the first is 6 to 9, as mobile numbers had before.
        let (Some(area), Some(subscriber)) = (rest.get(..2), rest.get(2..)) else {
            return digits.to_owned();
        };
        if let Some(short) = subscriber
            .strip_prefix('9')
            .filter(|short| short.len() == 8 && short.as_bytes()[0] >= b'6')
        {
            return format!("55{area}{short}");
        }
    }
    if let Some(rest) = digits.strip_prefix("521").filter(|rest| rest.len() == 10) {
        return format!("52{rest}");
    }
    if let Some(rest) = digits.strip_prefix("549").filter(|rest| rest.len() == 10) {
        return format!("54{rest}");
    }
    digits.to_owned()
}

/// Whether a number in the form in which it is compared may be written in another way too.
pub fn has_variants(compared: &str) -> bool {
    ["55", "52", "54"].iter().any(|country| compared.starts_with(country))
}

#[cfg(test)]
mod tests {
    use super::{PhoneNumber, compared};

    #[test]
    fn a_number_reads_the_same_however_people_write_it() {
        for text in [
            "+44 7700 900-123",
            "447700900123",
            "00447700900123",
            "+44 (7700) 900.123",
        ] {
            assert_eq!(
                PhoneNumber::parse(text).as_ref().map(PhoneNumber::digits),
                Some("447700900123"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_number_is_refused() {
        for text in [
            "",
            "+",
            "12345",
            "0612345678",
            "GB.48201937562840117365",
            "+1234567890123456",
            "phone",
            "+44 77x",
        ] {
            assert_eq!(PhoneNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn variants_that_whatsapp_treats_as_one_are_one() {
        assert_eq!(
            compared("5511987654321"),
            compared("551187654321"),
            "Brazil's ninth digit"
        );
        assert_eq!(
            compared("5215512345678"),
            compared("525512345678"),
            "Mexico's mobile prefix"
        );
        assert_eq!(
            compared("5491123456789"),
            compared("541123456789"),
            "Argentina's mobile prefix"
        );
    }

    #[test]
    fn other_numbers_stay_as_they_are() {
        for digits in [
            "447700900123",
            "551133334444",
            "5511933334444",
            "12125550123",
            "55",
            "5",
        ] {
            assert_eq!(compared(digits), digits);
        }
    }
}
