//! The words of a booking's confirmation, in the way in which the template takes them.

use serde_json::{Value, json};

use super::WhatsAppIntegration;
use crate::app::App;
use crate::channels::templates::verify::{self, BodyParameters};
use crate::conversations::content::Template;
use crate::http::problem::Problem;

/// What is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// When, as the guest reads it.
    pub event_date: String,
    /// Where.
    pub location: String,
}

/// The names by which a template can ask for the two, in the order in which one without names has them.
const NAMES: [&str; 2] = ["event_date", "location"];

/// The template, filled in as its definition wants. Where that is not known, by order.
pub async fn template(app: &App, booking: &Booking) -> Result<Template, Problem> {
    let channel = super::channel(app)?;
    let channel = app.channels.sending_for(&channel);
    let WhatsAppIntegration {
        booking_template: name,
        language,
        ..
    } = app.config.whatsapp_integration.clone();
    let takes = {
        let (name, language) = (name.clone(), language.clone());
        app.store
            .read(move |tx| verify::body_parameters(tx, &channel, &name, &language))
            .await?
    };
    Ok(Template {
        name,
        language,
        components: vec![json!({"type": "body", "parameters": parameters(booking, takes.as_ref())})],
    })
}

fn parameters(booking: &Booking, takes: Option<&BodyParameters>) -> Vec<Value> {
    let is_named = takes.is_some_and(|takes| takes.is_named);
    let values = [&booking.event_date, &booking.location];
    NAMES
        .into_iter()
        .zip(values)
        .map(|(name, value)| {
            if is_named {
                json!({"type": "text", "parameter_name": name, "text": value})
            } else {
                json!({"type": "text", "text": value})
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Booking, parameters};
    use crate::channels::templates::verify::BodyParameters;

    #[test]
    fn values_go_by_order_or_by_name() {
        let booking = Booking {
            event_date: "2026-12-24 21:00".to_owned(),
            location: "De Pier".to_owned(),
        };
        let by_order = [
            json!({"type": "text", "text": "2026-12-24 21:00"}),
            json!({"type": "text", "text": "De Pier"}),
        ];
        assert_eq!(parameters(&booking, None), by_order);
        let takes = |is_named: bool, names: [&str; 2]| BodyParameters {
            is_named,
            names: names.map(str::to_owned).into(),
        };
        assert_eq!(parameters(&booking, Some(&takes(false, ["1", "2"]))), by_order);
        assert_eq!(
            parameters(&booking, Some(&takes(true, ["location", "event_date"]))),
            [
                json!({"type": "text", "parameter_name": "event_date", "text": "2026-12-24 21:00"}),
                json!({"type": "text", "parameter_name": "location", "text": "De Pier"}),
            ]
        );
    }
}
