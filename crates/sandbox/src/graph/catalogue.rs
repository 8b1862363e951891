//! The catalogue of errors: every code of Meta's tables, as whatsapp.md 14.2, instagram.md 7 and, for both, graph-api.md 3 have them.
//!
//! It says how each one is answered: HTTP status and text. Whatever the sandbox doesn't provoke by itself, a fault does (`faults`),
//! and looks here for its shape. Texts that the reference shows are Meta's; the others are the column "meaning".

use crate::customers::people::Channel;

/// One error that Meta answers, or tells in a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CataloguedError {
    /// In whose table it stands.
    pub channel: Channel,
    /// `code`; the first one of a range.
    pub code: i64,
    /// The last code of a range; `code` where there is no range.
    pub code_last: i64,
    /// `error_subcode`.
    pub subcode: Option<i64>,
    /// The status of the answer. 400 where the table names none (whatsapp.md 14.1); on Instagram by the kind of error (instagram.md 7).
    pub http_status: u16,
    /// The text behind `(#code)`.
    pub message: &'static str,
}

/// The row that fits best: the one with this subcode, else the one without, else any of the code; `None` for a code of no table.
pub(crate) fn find(channel: Channel, code: i64, subcode: Option<i64>) -> Option<&'static CataloguedError> {
    let of_code = || {
        ERRORS
            .iter()
            .filter(move |row| row.channel == channel && (row.code..=row.code_last).contains(&code))
    };
    of_code()
        .find(|row| subcode.is_some() && row.subcode == subcode)
        .or_else(|| of_code().find(|row| row.subcode.is_none()))
        .or_else(|| of_code().next())
}

const fn row(channel: Channel, code: i64, http_status: u16, message: &'static str) -> CataloguedError {
    CataloguedError {
        channel,
        code,
        code_last: code,
        subcode: None,
        http_status,
        message,
    }
}

const fn whatsapp(code: i64, http_status: u16, message: &'static str) -> CataloguedError {
    row(Channel::WhatsApp, code, http_status, message)
}

const fn instagram(code: i64, http_status: u16, message: &'static str) -> CataloguedError {
    row(Channel::Instagram, code, http_status, message)
}

impl CataloguedError {
    const fn subcode(self, subcode: i64) -> Self {
        Self {
            subcode: Some(subcode),
            ..self
        }
    }

    const fn to(self, code_last: i64) -> Self {
        Self { code_last, ..self }
    }
}

/// Every row of both tables.
pub const ERRORS: &[CataloguedError] = &[
    // whatsapp.md 14.2
    whatsapp(0, 401, "The app user could not be authenticated"),
    whatsapp(1, 400, "An unknown error occurred"),
    whatsapp(2, 503, "Service temporarily unavailable"),
    whatsapp(3, 500, "Application does not have the capability to make this API call"),
    whatsapp(4, 400, "Application request limit reached"),
    whatsapp(10, 403, "Permission denied"),
    whatsapp(17, 400, "User request limit reached"),
    whatsapp(32, 400, "Page request limit reached"),
    whatsapp(33, 400, "Parameter value is not valid: the business number was deleted"),
    whatsapp(100, 400, "Invalid parameter"),
    whatsapp(
        100,
        400,
        "Object does not exist, cannot be loaded due to missing permissions, or does not support this operation",
    )
    .subcode(33),
    whatsapp(190, 401, "Invalid access token"),
    whatsapp(190, 401, "The user has not authorized the application").subcode(458),
    whatsapp(190, 401, "The user is checkpointed and has to log in").subcode(459),
    whatsapp(190, 401, "The session was invalidated because the password was changed").subcode(460),
    whatsapp(190, 401, "Session has expired").subcode(463),
    whatsapp(190, 401, "The user is not confirmed").subcode(464),
    whatsapp(
        190,
        401,
        "The access token is invalid, since the user logged out or it was revoked",
    )
    .subcode(467),
    whatsapp(190, 401, "The session is invalid, since the user lost the role").subcode(492),
    whatsapp(200, 403, "Permission error").to(299),
    whatsapp(341, 400, "Application limit reached"),
    whatsapp(368, 403, "Temporarily blocked for policies violations"),
    whatsapp(613, 400, "Calls to this api have exceeded the rate limit"),
    whatsapp(803, 400, "Some of the aliases you requested do not exist"),
    whatsapp(80_007, 400, "Rate limit issues"),
    whatsapp(
        80_008,
        400,
        "There have been too many calls to this WhatsApp Business account",
    ),
    whatsapp(130_403, 400, "The business has blocked this user"),
    whatsapp(130_429, 400, "Rate limit hit"),
    whatsapp(130_429, 400, "Rate limit hit").subcode(2_494_055),
    whatsapp(130_472, 400, "User's number is part of an experiment"),
    whatsapp(
        130_497,
        403,
        "Business account is restricted from messaging users in this country",
    ),
    whatsapp(130_501, 400, "Message type is not currently supported"),
    whatsapp(131_000, 500, "Something went wrong"),
    whatsapp(131_005, 403, "Access denied"),
    whatsapp(131_008, 400, "Required parameter is missing"),
    whatsapp(131_009, 400, "Parameter value is not valid"),
    whatsapp(131_016, 500, "Service unavailable"),
    whatsapp(131_020, 400, "The group has only one member"),
    whatsapp(131_021, 400, "Recipient cannot be sender"),
    whatsapp(131_026, 400, "Message undeliverable"),
    whatsapp(131_030, 400, "Recipient phone number not in allowed list"),
    whatsapp(131_030, 400, "Recipient phone number not in allowed list").subcode(2_655_007),
    whatsapp(131_031, 403, "Account has been locked"),
    whatsapp(
        131_037,
        400,
        "The number needs an approved display name before it can send",
    ),
    whatsapp(131_041, 400, "The group is unknown"),
    whatsapp(131_042, 400, "Business eligibility payment issue"),
    whatsapp(131_044, 400, "Business eligibility payment issue"),
    whatsapp(131_045, 500, "Incorrect certificate"),
    whatsapp(131_047, 400, "Re-engagement message"),
    whatsapp(131_048, 400, "Spam rate limit hit"),
    whatsapp(
        131_049,
        400,
        "Message not delivered to maintain healthy ecosystem engagement",
    ),
    whatsapp(131_050, 400, "User has stopped marketing messages"),
    whatsapp(131_051, 400, "Message type unknown"),
    whatsapp(131_052, 400, "Media download error"),
    whatsapp(131_053, 400, "Media upload error"),
    whatsapp(131_055, 400, "Method not allowed"),
    whatsapp(131_056, 400, "(Business Account, Consumer Account) pair rate limit hit"),
    whatsapp(131_057, 500, "Account in maintenance mode"),
    whatsapp(131_059, 400, "The paging cursor is expired or corrupt"),
    whatsapp(131_060, 400, "This message is unavailable"),
    whatsapp(
        131_061,
        400,
        "The template has to be sent through the marketing endpoint",
    ),
    whatsapp(131_062, 400, "Recipient not allowed for this message"),
    whatsapp(
        131_063,
        400,
        "Marketing templates are disabled on the Cloud API for this account",
    ),
    whatsapp(
        131_064,
        400,
        "The account is limited because of misclassified templates",
    ),
    whatsapp(
        131_065,
        400,
        "Maximum prices are not available in the country of the user",
    ),
    whatsapp(131_070, 400, "The thread is owned by another app or agent"),
    whatsapp(131_201, 206, "Some members of the group could not be handled"),
    whatsapp(131_202, 400, "The member is in the group already"),
    whatsapp(131_203, 400, "Groups error"),
    whatsapp(131_204, 400, "The group has too many members"),
    whatsapp(131_205, 400, "Groups error"),
    whatsapp(131_206, 400, "Groups error"),
    whatsapp(131_207, 403, "The group is suspended"),
    whatsapp(131_208, 429, "The rate limit of groups is hit"),
    whatsapp(131_209, 400, "The picture of the group is not valid").to(131_210),
    whatsapp(131_211, 400, "The number has too many groups"),
    whatsapp(131_212, 400, "The user is not a member of the group"),
    whatsapp(131_213, 400, "There is no request to join from this user"),
    whatsapp(131_214, 400, "Making groups is disabled for this number"),
    whatsapp(131_215, 400, "The number is not eligible for groups"),
    whatsapp(
        132_000,
        400,
        "Number of parameters does not match the expected number of params",
    ),
    whatsapp(132_001, 404, "Template name does not exist in the translation"),
    whatsapp(132_005, 400, "Translated text too long"),
    whatsapp(132_007, 400, "Template format character policy violated"),
    whatsapp(132_008, 400, "Template parameter value is not valid"),
    whatsapp(
        132_012,
        400,
        "Parameter format does not match format in the created template",
    ),
    whatsapp(132_015, 400, "Template is paused"),
    whatsapp(132_016, 400, "Template is disabled"),
    whatsapp(132_018, 400, "There is an issue with the parameters in your template"),
    whatsapp(132_068, 400, "Flow is in blocked state"),
    whatsapp(132_069, 400, "Flow is in throttled state"),
    whatsapp(133_000, 500, "Incomplete deregistration"),
    whatsapp(133_004, 503, "Server temporarily unavailable"),
    whatsapp(133_005, 400, "Two step verification PIN mismatch"),
    whatsapp(133_006, 400, "Phone number re-verification needed"),
    whatsapp(133_008, 400, "Too many two step verification PIN guesses"),
    whatsapp(133_009, 400, "Two step verification PIN guessed too fast"),
    whatsapp(133_010, 400, "Phone number not registered"),
    whatsapp(
        133_015,
        400,
        "Please wait a few minutes before attempting to register this phone number",
    ),
    whatsapp(133_016, 400, "Account register or deregister rate limit exceeded"),
    whatsapp(134_011, 400, "The terms of payments are not accepted"),
    whatsapp(
        134_100,
        400,
        "Only marketing templates can be sent through this endpoint",
    ),
    whatsapp(134_101, 400, "The template is being synchronised"),
    whatsapp(134_102, 500, "The template is unavailable"),
    whatsapp(135_000, 400, "Generic user error"),
    whatsapp(137_000, 400, "The identity key does not match"),
    whatsapp(138_000, 400, "Calling error").to(138_038),
    whatsapp(139_000, 400, "Flow error").to(139_004),
    whatsapp(139_100, 400, "Some users could not be blocked or unblocked"),
    whatsapp(139_101, 400, "The block list is full"),
    whatsapp(139_102, 400, "The block list is being changed by another call"),
    whatsapp(139_103, 400, "The block list could not be changed"),
    whatsapp(141_002, 400, "The template can't be sent for now"),
    whatsapp(147_001, 400, "Business username error").to(147_005),
    whatsapp(1_752_041, 400, "Duplicate onboarding request"),
    whatsapp(2_388_019, 400, "There are too many message templates"),
    whatsapp(2_388_039, 400, "A field of the template is too long"),
    whatsapp(
        2_388_040,
        400,
        "The character limit of a field of the template is exceeded",
    ),
    whatsapp(2_388_047, 400, "The format of the template's header is incorrect"),
    whatsapp(2_388_072, 400, "The format of the template's body is incorrect"),
    whatsapp(2_388_073, 400, "The format of the template's footer is incorrect"),
    whatsapp(2_388_103, 400, "The number can't be migrated yet"),
    whatsapp(2_388_293, 400, "The template has too many variables for its length"),
    whatsapp(2_388_299, 400, "Variables can't be at the start or end of the template"),
    whatsapp(2_494_100, 400, "The number is in maintenance"),
    whatsapp(2_494_191, 400, "Taking the thread is not allowed"),
    whatsapp(2_593_107, 400, "The synchronisation was requested already"),
    whatsapp(
        2_593_108,
        400,
        "The synchronisation was requested later than 24 hours after onboarding",
    ),
    whatsapp(2_593_109, 400, "The owner does not share the history"),
    // graph-api.md 3, what WhatsApp's own table does not have
    whatsapp(102, 401, "Session key invalid or no longer valid"),
    whatsapp(102, 401, "The user has not authorized the application").subcode(458),
    whatsapp(102, 401, "The user is checkpointed and has to log in").subcode(459),
    whatsapp(102, 401, "The session was invalidated because the password was changed").subcode(460),
    whatsapp(102, 401, "Session has expired").subcode(463),
    whatsapp(102, 401, "The user is not confirmed").subcode(464),
    whatsapp(
        102,
        401,
        "The session is invalid, since the user logged out or it was revoked",
    )
    .subcode(467),
    whatsapp(102, 401, "The session is invalid, since the user lost the role").subcode(492),
    whatsapp(506, 400, "Duplicate status message"),
    whatsapp(613, 400, "The volume of requests is inconsistent").subcode(1_996),
    whatsapp(80_000, 400, "There have been too many calls to this account").to(80_006),
    whatsapp(80_009, 400, "There have been too many calls to this account").to(80_014),
    whatsapp(1_609_005, 400, "The link could not be read"),
    // instagram.md 7
    instagram(-1, 500, "Instagram server error").subcode(2_207_001),
    instagram(-1, 500, "The container could not be created").subcode(2_207_032),
    instagram(-1, 500, "The upload failed").subcode(2_207_053),
    instagram(-2, 400, "Downloading the media timed out").subcode(2_207_003),
    instagram(-2, 400, "The container is expired").subcode(2_207_020),
    instagram(1, 500, "An unknown error occurred"),
    instagram(1, 500, "An unknown error occurred").subcode(99),
    instagram(1, 500, "Invalid JSON reply").subcode(1_357_046),
    instagram(1, 500, "The thumbnail offset is out of range").subcode(2_207_057),
    instagram(2, 503, "Service temporarily unavailable"),
    instagram(2, 503, "Service temporarily unavailable").subcode(1_545_133),
    instagram(3, 400, "Application does not have the capability to make this API call"),
    instagram(4, 400, "Application request limit reached"),
    instagram(4, 400, "The publishing looks like spam").subcode(2_207_051),
    instagram(9, 400, "The daily quota of publishing is used up").subcode(2_207_042),
    instagram(10, 403, "Application does not have permission for this action"),
    instagram(10, 400, "This message is sent outside of allowed window.").subcode(2_534_022),
    instagram(10, 400, "This message is sent outside of allowed window.").subcode(2_018_278),
    instagram(10, 400, "This message is sent outside of allowed window.").subcode(2_018_065),
    instagram(10, 400, "This person cannot receive messages right now").subcode(2_018_108),
    instagram(10, 400, "Another app is controlling this thread now").subcode(2_018_300),
    instagram(10, 403, "The account is temporarily restricted from sending messages").subcode(1_893_063),
    instagram(10, 403, "The link between account, user and Page can't be verified").subcode(2_534_077),
    instagram(10, 400, "The feature is not available").subcode(2_018_336),
    instagram(10, 400, "The feature is not available").subcode(1_404_170),
    instagram(10, 400, "The feature is not available").subcode(1_893_015),
    instagram(17, 400, "User request limit reached"),
    instagram(17, 400, "User request limit reached").subcode(2_446_079),
    instagram(24, 400, "The media can't be found").subcode(2_207_006),
    instagram(24, 400, "The container is missing or expired").subcode(2_207_008),
    instagram(25, 400, "The account is inactive, checkpointed or restricted").subcode(2_207_050),
    instagram(27, 400, "The routing action is not supported"),
    instagram(32, 400, "Page request limit reached"),
    instagram(100, 400, "Invalid parameter"),
    instagram(
        100,
        400,
        "Object does not exist, cannot be loaded due to missing permissions, or does not support this operation",
    )
    .subcode(33),
    instagram(100, 400, "No matching user found").subcode(2_018_001),
    instagram(100, 400, "Failed to fetch the file from the url").subcode(2_018_008),
    instagram(100, 400, "message and sender_action exclude each other").subcode(2_018_014),
    instagram(100, 400, "Upload attachment failure").subcode(2_018_047),
    instagram(100, 400, "Invalid attachment id").subcode(2_018_074),
    instagram(100, 400, "The attachment is too large").subcode(2_018_109),
    instagram(100, 400, "Fetching the video timed out").subcode(2_018_294),
    instagram(100, 400, "The thread was archived or deleted").subcode(2_534_001),
    instagram(100, 400, "The Page is not linked to an Instagram account").subcode(2_534_013),
    instagram(100, 400, "No matching Instagram user").subcode(2_534_014),
    instagram(100, 400, "Invalid message data").subcode(2_534_015),
    instagram(100, 400, "The comment is invalid for a private reply").subcode(2_534_025),
    instagram(100, 400, "The business is blocked from the messaging API").subcode(2_534_029),
    instagram(100, 400, "The app is not the owner of the thread").subcode(2_534_037),
    instagram(100, 400, "Several images are not enabled for this account").subcode(2_534_068),
    instagram(100, 400, "The type of the media is not valid").subcode(2_207_023),
    instagram(100, 400, "The carousel has too many or too few items").subcode(2_207_028),
    instagram(100, 400, "A tag of the media is not valid").subcode(2_207_035),
    instagram(100, 400, "A tag of the media is not valid").subcode(2_207_036),
    instagram(100, 400, "A tag of the media is not valid").subcode(2_207_037),
    instagram(100, 400, "The media has too many tags").subcode(2_207_040),
    instagram(102, 401, "Session key invalid or no longer valid"),
    instagram(190, 401, "Invalid access token"),
    instagram(190, 401, "The user has not authorized the application").subcode(458),
    instagram(190, 401, "The user is checkpointed and has to log in").subcode(459),
    instagram(190, 401, "The session was invalidated because the password was changed").subcode(460),
    instagram(190, 401, "Session has expired").subcode(463),
    instagram(190, 401, "The user is not confirmed").subcode(464),
    instagram(
        190,
        401,
        "The access token is invalid, since the user logged out or it was revoked",
    )
    .subcode(467),
    instagram(
        190,
        401,
        "The session is invalid, since the user lost the role on the Page",
    )
    .subcode(492),
    instagram(200, 403, "Permission error"),
    instagram(
        200,
        403,
        "Cannot message users who are not admins, developers or testers of the app",
    )
    .subcode(2_018_027),
    instagram(
        200,
        403,
        "Cannot message users who are not admins, developers or testers of the app",
    )
    .subcode(2_018_028),
    instagram(
        200,
        403,
        "Cannot message users who are not admins, developers or testers of the app",
    )
    .subcode(2_018_021),
    instagram(200, 403, "This person isn't available right now").subcode(1_545_041),
    instagram(200, 403, "The owner has disabled access to the messages").subcode(2_534_041),
    instagram(230, 403, "User consent is required to access user profile"),
    instagram(341, 400, "Application limit reached"),
    instagram(352, 400, "The format of the video is not supported").subcode(2_207_026),
    instagram(
        368,
        403,
        "The action attempted has been deemed abusive or is otherwise disallowed",
    ),
    instagram(506, 400, "Duplicate status message"),
    instagram(551, 400, "This person isn't available right now"),
    instagram(551, 400, "This person isn't available right now").subcode(1_545_041),
    instagram(613, 400, "Calls to this api have exceeded the rate limit"),
    instagram(613, 400, "Calls to this api have exceeded the rate limit").subcode(2_534_040),
    instagram(613, 400, "The same topic was requested already").subcode(1_893_016),
    instagram(613, 400, "The tag is used in a bothersome way").subcode(2_018_338),
    instagram(613, 400, "The volume of requests is inconsistent").subcode(1_996),
    instagram(1_200, 400, "Temporary send message failure"),
    instagram(2_022, 400, "Commerce messages are disabled after a violation"),
    instagram(9_004, 400, "The media could not be fetched from this URI").subcode(2_207_052),
    instagram(9_005, 400, "The content of the video can't be found"),
    instagram(9_007, 400, "The container is not ready").subcode(2_207_027),
    instagram(9_010, 400, "No matching user found"),
    instagram(10_900, 400, "The activity was replied to already"),
    instagram(36_000, 400, "The image is too big").subcode(2_207_004),
    instagram(36_001, 400, "The format of the image is not supported").subcode(2_207_005),
    instagram(36_002, 400, "The image could not be handled"),
    instagram(36_003, 400, "The aspect ratio is not supported").subcode(2_207_009),
    instagram(36_004, 400, "The caption is too long").subcode(2_207_010),
    instagram(36_103, 400, "The account is not eligible for the messaging API"),
    instagram(80_002, 400, "There have been too many calls to this Instagram account"),
    instagram(80_006, 400, "There have been too many calls to this Messenger account"),
    instagram(2_018_218, 400, "The profile is unavailable"),
    instagram(2_018_247, 400, "Insufficient permission to access user profile"),
    instagram(9_000_001, 400, "The message was deleted"),
    // graph-api.md 3, what Instagram's own table does not have
    instagram(102, 401, "The user has not authorized the application").subcode(458),
    instagram(102, 401, "The user is checkpointed and has to log in").subcode(459),
    instagram(102, 401, "The session was invalidated because the password was changed").subcode(460),
    instagram(102, 401, "Session has expired").subcode(463),
    instagram(102, 401, "The user is not confirmed").subcode(464),
    instagram(
        102,
        401,
        "The session is invalid, since the user logged out or it was revoked",
    )
    .subcode(467),
    instagram(102, 401, "The session is invalid, since the user lost the role").subcode(492),
    instagram(201, 403, "Permission error").to(229),
    instagram(231, 403, "Permission error").to(299),
    instagram(80_000, 400, "There have been too many calls to this account").to(80_001),
    instagram(80_003, 400, "There have been too many calls to this account").to(80_005),
    instagram(80_007, 400, "There have been too many calls to this account").to(80_014),
    instagram(1_609_005, 400, "The link could not be read"),
];

#[cfg(test)]
mod tests {
    use super::{ERRORS, find};
    use crate::customers::people::Channel;

    #[test]
    fn every_row_is_found_by_its_code_and_subcode_and_there_is_no_double() {
        for (position, row) in ERRORS.iter().enumerate() {
            assert_eq!(find(row.channel, row.code, row.subcode), Some(row));
            let double = ERRORS[..position].iter().any(|other| {
                other.channel == row.channel
                    && other.subcode == row.subcode
                    && other.code_last >= row.code
                    && other.code <= row.code_last
            });
            assert!(!double, "{row:?} stands twice");
        }
    }

    #[test]
    fn a_code_with_an_unknown_subcode_has_the_row_of_the_code() {
        let row = find(Channel::WhatsApp, 190, Some(999)).unwrap();
        assert_eq!((row.code, row.subcode), (190, None));
        assert_eq!(find(Channel::WhatsApp, 250, None).unwrap().http_status, 403);
        assert_eq!(find(Channel::WhatsApp, 999_999, None), None);
    }
}
