//! A number's registration, its PIN, and the code that it is verified with (whatsapp.md 12.2).
//!
//! The reference tells that guesses of a PIN are limited (133008, 133009), and not to how many: here it is five wrong ones in an hour, and one a
//! second. A code that is asked for is nowhere sent: `GET /sandbox/state` shows it.

use serde_json::{Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::limits::NumberStatus;
use crate::lock;
use crate::state::State;
use crate::state::usage::{HOUR, SECOND, Window};
use crate::world::Number;

/// Registrations and their ends, together, in the span of [`REGISTRATIONS_MILLIS`]: 133016 beyond it.
const REGISTRATIONS_MAX: u32 = 10;
const REGISTRATIONS_MILLIS: i64 = 72 * HOUR;
/// Wrong PINs in an hour: 133008 beyond it.
const WRONG_PINS_MAX: u32 = 5;

/// What of this is asked of a number: `register`, `deregister`, `request_code`, `verify_code`, or nothing for the number itself.
pub(super) fn answer(
    core: &Core,
    number_id: &str,
    edge: Option<&str>,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let number = caller.number(state, "POST", number_id)?.clone();
    match edge {
        Some("register") => register(state, &number, params, now)?,
        Some("deregister") => deregister(state, &number, now)?,
        Some("request_code") => {
            request_code(params)?;
            let code = state.ids.digits("verification", &[&number.id], now.unsigned_abs(), 6);
            state.verification_codes.insert(number.id, code);
        }
        Some("verify_code") => verify(state, &number, params)?,
        _ => set_pin(state, &number, params)?,
    }
    core.changes.tell_state();
    Ok(json!({"success": true}))
}

fn register(state: &mut State, number: &Number, params: &Params, now: i64) -> Result<(), GraphError> {
    params.check_product()?;
    let pin = six_digits(params, "pin")?;
    count_registration(state, number, now)?;
    if !number.verified {
        return Err(GraphError::whatsapp(133_006, "The number has to be verified by a code"));
    }
    if number.pin.as_ref().is_some_and(|right| *right != pin) {
        return Err(wrong_pin(state, number, now));
    }
    if let Some(number) = state.number_mut(&number.id) {
        number.pin = Some(pin);
        // What Meta has taken from a number does not come back by registering it.
        if number.status == NumberStatus::Unregistered {
            number.status = NumberStatus::Connected;
        }
    }
    Ok(())
}

fn deregister(state: &mut State, number: &Number, now: i64) -> Result<(), GraphError> {
    // whatsapp.md 7.
    if number.shared_with_phone {
        return Err(GraphError::parameter(
            "A number that is used in the WhatsApp Business app cannot be deregistered",
        ));
    }
    check_registered(number)?;
    count_registration(state, number, now)?;
    if let Some(number) = state.number_mut(&number.id) {
        number.status = NumberStatus::Unregistered;
    }
    Ok(())
}

fn check_registered(number: &Number) -> Result<(), GraphError> {
    if number.status == NumberStatus::Unregistered {
        return Err(GraphError::whatsapp(133_010, "The phone number is not registered"));
    }
    Ok(())
}

/// Those that are refused for another reason count too: it is the asking that is limited.
fn count_registration(state: &mut State, number: &Number, now: i64) -> Result<(), GraphError> {
    let usage = state.usage.numbers.entry(number.id.clone()).or_default();
    if usage.registrations.call(now, REGISTRATIONS_MILLIS, REGISTRATIONS_MAX) {
        Ok(())
    } else {
        Err(GraphError::whatsapp(
            133_016,
            "The number was registered and deregistered 10 times in 72 hours",
        ))
    }
}

/// What a wrong PIN is answered with, which it counts for.
fn wrong_pin(state: &mut State, number: &Number, now: i64) -> GraphError {
    let wrong: &mut Window = &mut state.usage.numbers.entry(number.id.clone()).or_default().wrong_pins;
    if wrong.peek(now, SECOND) > 0 {
        return GraphError::whatsapp(133_009, "The PIN was entered too fast; try again in 1 second");
    }
    if !wrong.has_room(now, HOUR, WRONG_PINS_MAX) {
        return GraphError::whatsapp(133_008, "There were too many wrong PINs; try again in 1 hour");
    }
    wrong.add(now);
    GraphError::whatsapp(133_005, "The PIN is not that of the number")
}

fn request_code(params: &Params) -> Result<(), GraphError> {
    params.required("language")?;
    if matches!(params.required("code_method")?, "SMS" | "VOICE") {
        Ok(())
    } else {
        Err(GraphError::parameter("Param code_method must be one of {SMS, VOICE}"))
    }
}

fn verify(state: &mut State, number: &Number, params: &Params) -> Result<(), GraphError> {
    let code = digits(params, "code");
    let is_right = code.is_some() && state.verification_codes.get(&number.id) == code.as_ref();
    if !is_right {
        return Err(GraphError::parameter("Param code is not the one that was sent"));
    }
    state.verification_codes.remove(&number.id);
    if let Some(number) = state.number_mut(&number.id) {
        number.verified = true;
    }
    Ok(())
}

/// `POST /{phone-number-id}`: another PIN. It cannot be switched off.
fn set_pin(state: &mut State, number: &Number, params: &Params) -> Result<(), GraphError> {
    if params.get("webhook_configuration").is_some() {
        return Err(GraphError::parameter("Callback overrides are not simulated"));
    }
    let pin = six_digits(params, "pin")?;
    check_registered(number)?;
    if let Some(number) = state.number_mut(&number.id) {
        number.pin = Some(pin);
    }
    Ok(())
}

fn six_digits(params: &Params, name: &str) -> Result<String, GraphError> {
    digits(params, name)
        .filter(|pin| pin.len() == 6)
        .ok_or_else(|| GraphError::parameter(format!("The parameter {name} is required: six digits.")))
}

/// Digits, also where a client wrote them as a number.
fn digits(params: &Params, name: &str) -> Option<String> {
    let text = match params.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}
