//! The desk: a page on which a person makes things go wrong, changes limits, numbers and tokens, moves the clock, and reads the mail.
//!
//! A client of the control API alone, like the phone, and served under the same policy.

use axum::Router;
use axum::routing::get;

use crate::phone::file;

/// The page and its two companions, to be merged into the sandbox's router.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/desk",
            get(async || file("text/html; charset=utf-8", include_str!("page.html"))),
        )
        .route(
            "/desk/desk.css",
            get(async || file("text/css; charset=utf-8", include_str!("desk.css"))),
        )
        .route(
            "/desk/desk.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("desk.js"))),
        )
}

#[cfg(test)]
mod tests {
    use crate::faults::{FaultKind, FaultRequest};

    const PAGE: &str = include_str!("page.html");
    const SCRIPT: &str = include_str!("desk.js");

    #[test]
    fn the_page_holds_nothing_that_the_policy_forbids() {
        for forbidden in ["<style", " style=", " onclick", "javascript:", "http://", "https://"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        for door in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(
                !SCRIPT.contains(door),
                "{door} would let an e-mail become part of the page"
            );
        }
    }

    #[test]
    fn every_element_that_the_script_asks_for_is_on_the_page() {
        let asked: Vec<&str> = SCRIPT
            .split("byId(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!asked.is_empty());
        for id in asked {
            assert!(PAGE.contains(&format!("id=\"{id}\"")), "no element has the id {id}");
        }
    }

    /// Each choice of the page's is one that faults know, and the other way round.
    #[test]
    fn every_kind_of_fault_is_offered_where_it_happens() {
        let offers: serde_json::Map<String, serde_json::Value> = {
            let (_, rest) = SCRIPT.split_once("const kindsAt = ").unwrap();
            let (table, _) = rest.split_once(";\n").unwrap();
            serde_json::from_str(table).unwrap()
        };
        let mut offered = Vec::new();
        for (endpoint, kinds) in offers {
            for kind in kinds.as_array().unwrap() {
                let kind: FaultKind = serde_json::from_value(kind.clone()).unwrap();
                let request = FaultRequest {
                    endpoint: endpoint.clone(),
                    kind,
                    ..FaultRequest::default()
                };
                assert_eq!(request.problem(), None, "{endpoint} {kind:?}");
                offered.push(kind);
            }
        }
        for kind in FaultKind::ALL {
            assert!(offered.contains(kind), "{kind:?} is offered nowhere");
        }
    }
}
