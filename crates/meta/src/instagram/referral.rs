//! By what a customer came: an ad, an ig.me link, a product page (`instagram.md` 2.5, 2.6).

use super::json::Object;

/// A referral, alone or inside a message or postback. Every part may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Referral {
    /// What the business put into its link or ad (`ref`).
    pub reference: Option<String>,
    /// `ADS`, or another word for a link: free text (`instagram.md` 2.6).
    pub source: Option<String>,
    /// `OPEN_THREAD` (`type`).
    pub kind: Option<String>,
    /// The ad that was clicked.
    pub ad_id: Option<String>,
    /// How that ad looked.
    pub ads_context: Option<AdsContext>,
    /// The product on whose page the customer pressed "message" (`product.id`).
    pub product_id: Option<String>,
}

/// How the ad looked that a customer clicked (`ads_context_data`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdsContext {
    /// Its headline.
    pub title: Option<String>,
    /// Its picture.
    pub photo_url: Option<String>,
    /// Its film.
    pub video_url: Option<String>,
}

impl Referral {
    pub(super) fn read(referral: &Object<'_>) -> Self {
        Self {
            reference: referral.string("ref"),
            source: referral.string("source"),
            kind: referral.string("type"),
            ad_id: referral.string("ad_id"),
            ads_context: referral.object("ads_context_data").map(|context| AdsContext {
                title: context.string("ad_title"),
                photo_url: context.string("photo_url"),
                video_url: context.string("video_url"),
            }),
            product_id: referral.object("product").and_then(|product| product.string("id")),
        }
    }
}
