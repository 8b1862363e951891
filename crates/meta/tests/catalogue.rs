//! The error catalogue against the reference: every code and subcode of `whatsapp.md` 14.2, `instagram.md` 7 and `graph-api.md` 3,
//! written out by hand under the class that the reference gives it.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidings_meta::error::{Class, Codes, GraphError, Row, explain, explain_code, rows};
use tidings_meta::notification::Platform;

/// `whatsapp.md` 14.2: a class, then its `code` or `code/subcode`. Of a block of codes, the first, the last and some between.
const WHATSAPP: &str = "
temporary      1 2 131000 131016 131057 133004 139102 139103 2494100
throttled      4 17 32 341 613 80007 80008 130429 130429/2494055 131208
pair_limit     131056
credentials    0 3 10 100/33 190/458 190/459 190/460 190/463 190/464 190/467 190/492 200 201 299 131005
window_closed  131047
recipient      130403 130472 131026 131050 131062 137000
request        100 803 131008 131009 131020 131021 131030 131030/2655007 131041 131051 131053 131055 131059 131061 131063
               131065 131201 131202 131203 131204 131205 131206 131207 131209 131210 131211 131212 131213 131214 131215
               132005 132008 132012 132018 134100 135000 138000 138019 138038 139000 139001 139002 139003 139004 139100
               139101 147001 147003 147005 1752041 2388019 2388039 2388040 2388047 2388072 2388073 2388293 2388299
               2494191 2593107 2593108 2593109
template       132000 132001 132007 132015 132016 132068 134102 141002
account        33 368 130497 131031 131037 131042 131044 131045 131048 133000 133005 133006 133010 134011 2388103
later          131049 131064 132069 133008 133009 133015 133016 134101
thread_owned   131070
inbound        130501 131052 131060
";

/// `instagram.md` 7: R temporary, T throttled, W window_closed, P recipient, Q request, C and A credentials, B account,
/// O thread_owned.
const INSTAGRAM: &str = "
temporary      -1/2207001 -1/2207032 -1/2207053 -2/2207003 1 1/1357046 2 2/1545133 24/2207008 100/2018294 1200 9007/2207027
throttled      4 9/2207042 17 17/2446079 32 341 613 613/2534040 613/1996 80002 80006
credentials    1/99 3 10 10/2534077 100/2534013 102 190 190/458 190/459 190/460 190/463 190/464 190/467 190/492 200
               200/2018027 200/2018028 200/2018021 200/2534041 36103
window_closed  10/2534022 10/2018278 10/2018065
recipient      10/2018108 100/2018001 100/2534001 100/2534014 100/2534025 200/1545041 551 551/1545041 9010 10900
request        -2/2207020 1/2207057 10/2018336 10/1404170 10/1893015 24/2207006 27 100 100/33 100/2018008 100/2018014
               100/2018047 100/2018074 100/2018109 100/2534015 100/2534068 100/2207023 100/2207028 100/2207035 100/2207036
               100/2207037 100/2207040 230 352/2207026 506 613/1893016 9004/2207052 9005 36000 36004 36000/2207004
               36001/2207005 36003/2207009 36004/2207010 2018218 2018247 9000001
account        4/2207051 10/1893063 25/2207050 100/2534029 368 613/2018338 2022
thread_owned   10/2018300 100/2534037
";

/// `graph-api.md` 3: what either platform can answer. Where a channel's own table classes the same code otherwise, that one holds.
const COMMON: &str = "
temporary      1 2
throttled      4 17 32 341 613 613/1996 80000 80001 80002 80006 80007 80008 80014
credentials    3 10 102 102/458 102/459 102/460 102/463 102/464 102/467 102/492 190 190/458 190/459 190/460 190/463 190/464
               190/467 190/492 200 250 299
request        100 100/33 506 1609005
account        368
";

const PLATFORMS: [(Platform, &str); 2] = [(Platform::WhatsApp, WHATSAPP), (Platform::Instagram, INSTAGRAM)];

type Pair = (i64, Option<i64>);

fn parse(list: &str) -> BTreeMap<Pair, Class> {
    let mut pairs = BTreeMap::new();
    let mut class = None;
    for word in list.split_whitespace() {
        if let Some(named) = Class::ALL.iter().find(|class| class.as_str() == word) {
            class = Some(*named);
            continue;
        }
        let pair = match word.split_once('/') {
            Some((code, subcode)) => (code.parse().unwrap(), Some(subcode.parse().unwrap())),
            None => (word.parse().unwrap(), None),
        };
        assert_eq!(pairs.insert(pair, class.unwrap()), None, "{word} twice");
    }
    pairs
}

/// What must hold for a platform: its own list, and the common one where its own says nothing.
fn expected(own: &str) -> BTreeMap<Pair, Class> {
    let mut expected = parse(COMMON);
    expected.extend(parse(own));
    expected
}

fn error(code: i64, subcode: Option<i64>, http_status: u16) -> GraphError {
    GraphError {
        code,
        subcode,
        message: "Meta's own words".to_owned(),
        details: None,
        user_title: None,
        user_message: None,
        is_transient: None,
        fbtrace_id: None,
        http_status,
        retry_after: None,
    }
}

#[test]
fn every_documented_error_is_listed_with_its_class() {
    for (platform, own) in PLATFORMS {
        for ((code, subcode), class) in expected(own) {
            let explanation = explain_code(platform, code, subcode);
            assert!(explanation.listed, "{platform} {code}/{subcode:?}");
            assert_eq!(explanation.class, class, "{platform} {code}/{subcode:?}");
            // The HTTP status of an answer says nothing against the table.
            for http_status in [200, 400, 429, 500] {
                let answered = explain(platform, &error(code, subcode, http_status));
                assert_eq!(answered, explanation, "{platform} {code}/{subcode:?}");
            }
        }
    }
}

#[test]
fn every_row_says_what_happened_and_what_to_do() {
    for (platform, _) in PLATFORMS {
        for row in rows(platform) {
            for text in [row.meaning, row.remedy] {
                let is_clean = !text.contains(['\n', '\t']) && !text.contains("  ");
                assert!(text.len() >= 10 && is_clean, "{row:?}");
                assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{row:?}");
            }
            assert_ne!(row.meaning, row.remedy);
        }
    }
}

/// Each code (or block of codes) of a row with each of its subcodes.
fn keys(row: &Row) -> Vec<(i64, i64, Option<i64>)> {
    let codes = match row.codes {
        Codes::Each(codes) => codes.iter().map(|code| (*code, *code)).collect(),
        Codes::Range(first, last) => vec![(first, last)],
    };
    let subcodes = if row.subcodes.is_empty() {
        vec![None]
    } else {
        row.subcodes.iter().copied().map(Some).collect()
    };
    let mut keys = Vec::new();
    for (first, last) in codes {
        keys.extend(subcodes.iter().map(|subcode| (first, last, *subcode)));
    }
    keys
}

/// The rows of the common table: those of both platforms.
fn common_rows() -> Vec<&'static Row> {
    let of_instagram: Vec<&Row> = rows(Platform::Instagram).collect();
    rows(Platform::WhatsApp)
        .filter(|row| of_instagram.contains(row))
        .collect()
}

#[test]
fn no_table_has_a_code_twice() {
    let check = |name: &str, table: &[&Row]| {
        assert!(table.len() > 20, "{name} has {} rows", table.len());
        let mut seen = BTreeSet::new();
        for key in table.iter().flat_map(|row| keys(row)) {
            assert!(seen.insert(key), "{name} has {key:?} twice");
        }
    };
    let common = common_rows();
    check("common", &common);
    for (platform, _) in PLATFORMS {
        let own: Vec<&Row> = rows(platform).filter(|row| !common.contains(row)).collect();
        check(platform.as_str(), &own);
    }
}

#[test]
fn every_row_is_in_the_reference() {
    for (platform, own) in PLATFORMS {
        let expected = expected(own);
        for (first, last, subcode) in rows(platform).flat_map(keys) {
            let is_expected = expected
                .keys()
                .any(|(code, of)| (first..=last).contains(code) && *of == subcode);
            assert!(is_expected, "{platform} {first}-{last}/{subcode:?}");
        }
    }
}

#[test]
fn the_most_specific_row_wins() {
    use Platform::{Instagram, WhatsApp};

    let meaning = |platform, code, subcode| explain_code(platform, code, subcode).meaning;
    let class = |platform, code, subcode| explain_code(platform, code, subcode).class;
    // A subcode's own row, then the code's for any other subcode.
    assert_ne!(meaning(WhatsApp, 190, Some(463)), meaning(WhatsApp, 190, None));
    assert_eq!(meaning(WhatsApp, 190, Some(1)), meaning(WhatsApp, 190, None));
    // A code's own row inside a block.
    assert_eq!(class(Instagram, 230, None), Class::Request);
    assert_eq!(class(WhatsApp, 230, None), Class::Credentials);
    // A platform's own row before the common one.
    assert_eq!(class(WhatsApp, 100, Some(33)), Class::Credentials);
    assert_eq!(class(Instagram, 100, Some(33)), Class::Request);
    // One platform's errors are not the other's.
    assert!(!explain_code(Instagram, 131_056, None).listed);
    assert_eq!(class(Instagram, 10, Some(2_534_022)), Class::WindowClosed);
    assert_eq!(class(WhatsApp, 10, Some(2_534_022)), Class::Credentials);
}

#[test]
fn blocks_end_where_they_end() {
    for code in [
        199, 300, 131_200, 131_216, 137_999, 138_039, 79_999, 80_015, 147_000, 147_006, 139_005,
    ] {
        assert!(!explain_code(Platform::WhatsApp, code, None).listed, "{code}");
    }
    for code in [35_999, 36_005] {
        assert!(!explain_code(Platform::Instagram, code, None).listed, "{code}");
    }
}

#[test]
fn template_draft_errors_are_found_behind_code_100() {
    for subcode in [
        2_388_019, 2_388_039, 2_388_040, 2_388_047, 2_388_072, 2_388_073, 2_388_293, 2_388_299,
    ] {
        assert_eq!(
            explain_code(Platform::WhatsApp, 100, Some(subcode)),
            explain_code(Platform::WhatsApp, subcode, None)
        );
    }
    // Small numbers mean something else as a code: 190 as a subcode of 100 is not a token's error.
    assert_eq!(
        explain_code(Platform::WhatsApp, 100, Some(190)),
        explain_code(Platform::WhatsApp, 100, None)
    );
}

/// `whatsapp.md` 14.3.
#[test]
fn the_confusions_of_third_party_guides_are_not_ours() {
    let explain = |code| explain_code(Platform::WhatsApp, code, None);
    assert!(explain(131_042).meaning.contains("payment"));
    assert!(!explain(131_042).meaning.contains("template"));
    assert!(explain(132_001).meaning.contains("template"));
    assert!(explain(131_008).meaning.contains("missing"));
    assert!(!explain(131_008).meaning.contains("blocked"));
    assert!(explain(131_026).meaning.contains("blocked"));
    assert!(explain(131_047).meaning.contains("24 hours"));
    let classes: BTreeSet<Class> = [131_048, 131_049, 131_056, 130_429]
        .map(|code| explain(code).class)
        .into();
    assert_eq!(classes.len(), 4, "four limits that are not the same");
}

#[test]
fn documented_waits_are_given() {
    let whatsapp = |code| explain_code(Platform::WhatsApp, code, None).wait;
    assert_eq!(whatsapp(131_049), Some(Duration::from_hours(24)));
    assert_eq!(whatsapp(132_069), Some(Duration::from_hours(1)));
    assert_eq!(whatsapp(133_015), Some(Duration::from_mins(5)));
    assert_eq!(whatsapp(133_016), Some(Duration::from_hours(72)));
    assert_eq!(whatsapp(134_101), Some(Duration::from_mins(10)));
    assert_eq!(whatsapp(80_007), Some(Duration::from_hours(1)));
    assert_eq!(whatsapp(4), Some(Duration::from_hours(1)));
    assert_eq!(whatsapp(130_429), None);
    assert_eq!(
        explain_code(Platform::Instagram, 9, Some(2_207_042)).wait,
        Some(Duration::from_hours(24))
    );
}

#[test]
fn errors_that_leave_the_outcome_open_say_so() {
    for (platform, code, subcode) in [
        (Platform::WhatsApp, 1, None),
        (Platform::WhatsApp, 2, None),
        (Platform::WhatsApp, 131_000, None),
        (Platform::WhatsApp, 131_016, None),
        (Platform::Instagram, 1, Some(1_357_046)),
        (Platform::Instagram, 2, None),
    ] {
        let explanation = explain_code(platform, code, subcode);
        assert!(explanation.may_have_arrived, "{platform} {code}");
        assert_eq!(explanation.class, Class::Temporary);
    }
    for code in [130_429, 131_056, 131_026, 190, 100] {
        assert!(!explain_code(Platform::WhatsApp, code, None).may_have_arrived);
    }
}

#[test]
fn an_unlisted_error_is_classed_by_its_answer() {
    const UNLISTED: i64 = 424_242;
    let check = |http_status, is_transient, class| {
        for (platform, _) in PLATFORMS {
            let mut error = error(UNLISTED, Some(7), http_status);
            error.is_transient = is_transient;
            let explanation = explain(platform, &error);
            assert!(!explanation.listed);
            assert_eq!(explanation.class, class, "{http_status} {is_transient:?}");
            for part in ["424242", "subcode 7", "Meta's own words"] {
                assert!(explanation.meaning.contains(part));
            }
            assert!(!explanation.remedy.is_empty());
            assert_eq!(explanation.may_have_arrived, http_status >= 500);
        }
    };
    check(500, None, Class::Temporary);
    check(503, Some(false), Class::Temporary);
    check(400, Some(true), Class::Temporary);
    check(403, Some(true), Class::Temporary);
    check(401, None, Class::Credentials);
    check(403, None, Class::Credentials);
    check(429, None, Class::Throttled);
    check(400, None, Class::Request);
    check(404, Some(false), Class::Request);
    check(200, None, Class::Request);

    let of_status = explain_code(Platform::WhatsApp, UNLISTED, None);
    assert_eq!((of_status.class, of_status.listed), (Class::Request, false));
    assert!(of_status.meaning.contains("424242"));
}

#[test]
fn every_class_has_a_name_of_its_own_and_is_used() {
    let names: BTreeSet<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
    let used: BTreeSet<Class> = PLATFORMS
        .iter()
        .flat_map(|(platform, _)| rows(*platform))
        .map(|row| row.class)
        .collect();
    assert_eq!((names.len(), used.len(), Class::ALL.len()), (12, 12, 12));
}
