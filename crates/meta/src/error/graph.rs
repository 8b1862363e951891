//! What every Graph call can answer (reference `graph-api.md` 3, with the channel references' remarks on the same codes).

use super::Class::{Account, Credentials, Request, Temporary, Throttled};
use super::row::{Row, code, range, subcode};

/// Subcodes say the same with either code (reference `graph-api.md` 3).
const TOKEN: &[i64] = &[190, 102];

pub(super) const ROWS: &[Row] = &[
    // A send that ends so may still have taken effect: look for its trace first (`whatsapp.md` 13.9, `instagram.md` 3.1).
    code(
        &[1],
        Temporary,
        "Something went wrong at Meta that it does not name.",
        "Nothing at first: it is tried again a few times. If it lasts, look at Meta's status page and compare the request with Meta's documentation.",
    )
    .may_have_arrived(),
    code(
        &[2],
        Temporary,
        "Meta's service is down or overloaded.",
        "Nothing at first: it is tried again. If it lasts, look at Meta's status page.",
    )
    .may_have_arrived(),
    code(
        &[3],
        Credentials,
        "The app lacks the capability or permission for this kind of call.",
        "Check the app's products, permissions and their review in Meta's dashboard.",
    ),
    code(
        &[4],
        Throttled,
        "The app has used up its allowed number of calls.",
        "Make fewer calls, above all fewer polling ones; more are allowed as the hour passes.",
    ),
    code(
        &[10],
        Credentials,
        "The app does not have the permission for this, or it was taken away.",
        "Connect the account again with all permissions, and check the app's review.",
    ),
    code(
        &[17],
        Throttled,
        "The person or account behind the token has used up the allowed number of calls.",
        "Make fewer calls with this token; other apps of the same person count too.",
    ),
    code(
        &[32],
        Throttled,
        "The Page has used up its allowed number of calls.",
        "Make fewer calls for this Page.",
    ),
    code(
        &[100],
        Request,
        "A parameter of the request is wrong.",
        "Read the details of the error: they name the parameter. Correct the request.",
    ),
    subcode(
        &[100],
        &[33],
        Request,
        "The object does not exist, was deleted, or the token may not see it.",
        "Check the id, and whether the token has access to it.",
    ),
    code(
        &[102],
        Credentials,
        "The session of the token has ended.",
        "Make a new token.",
    ),
    code(
        &[190],
        Credentials,
        "The token is not valid, or no longer.",
        "Make a new token and give it to the channel.",
    ),
    subcode(
        TOKEN,
        &[458],
        Credentials,
        "The person or business has removed the app.",
        "Let them connect the app again.",
    ),
    subcode(
        TOKEN,
        &[459],
        Credentials,
        "Meta wants the token's owner to pass a check of their own account first.",
        "The owner logs in at Facebook or Instagram and does what is asked there.",
    ),
    subcode(
        TOKEN,
        &[460],
        Credentials,
        "The owner's password was changed, which ended the token.",
        "Make a new token; a system user's token does not depend on a password.",
    ),
    subcode(
        TOKEN,
        &[463],
        Credentials,
        "The token has expired.",
        "Make a new token; an expired one cannot be refreshed. Prefer a system user's token where there is one.",
    ),
    subcode(
        TOKEN,
        &[464],
        Credentials,
        "The token's owner has not confirmed their own account.",
        "The owner logs in and confirms it.",
    ),
    subcode(
        TOKEN,
        &[467],
        Credentials,
        "The token was made invalid: its owner logged out, or it was revoked.",
        "Make a new token.",
    ),
    subcode(
        TOKEN,
        &[492],
        Credentials,
        "The token's owner no longer has a role on the Page or business.",
        "Give the role back, or let another administrator connect the channel.",
    ),
    range(
        200,
        299,
        Credentials,
        "A permission is missing: it was not granted, was taken away, or does not extend to this asset.",
        "Assign the asset to the token's owner with full control, and check the app's permissions and review.",
    ),
    code(
        &[341],
        Throttled,
        "The application has reached a limit of its own.",
        "Make fewer calls.",
    ),
    code(
        &[368],
        Account,
        "Meta has restricted the account because it sees a violation of its policies.",
        "Stop automated sending, look at what was sent, and appeal in Business Support.",
    ),
    code(
        &[506],
        Request,
        "The same content was posted just before.",
        "Do not post it again; change the text where it is meant to appear twice.",
    ),
    code(
        &[613],
        Throttled,
        "The number of calls of this kind has reached its limit.",
        "Nothing at first: the pace is lowered. If it comes often, lower the settings of the pace.",
    ),
    subcode(
        &[613],
        &[1996],
        Throttled,
        "The number of calls rises and falls too suddenly.",
        "Spread the calls evenly over time.",
    ),
    range(
        80000,
        80014,
        Throttled,
        "The business has used up its allowed number of calls of one kind.",
        "Wait as long as Meta's usage header names, and make fewer calls.",
    ),
    code(
        &[1_609_005],
        Request,
        "Meta could not read the page behind a link.",
        "Check that the link can be opened by anybody, or leave it out.",
    ),
];
