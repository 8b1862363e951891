//! Words of a closed set, as callers read them: so that the OpenAPI document lists them all, from where they are defined.

/// Makes a type on the wire of each set of words: `words! { StatusWord of Status as "MessageStatus"; }`. The document knows it by the name
/// in quotes. The set is an enum with a constant `ALL` and a method `as_str`.
macro_rules! words {
    ($($name:ident of $set:ty as $schema:literal;)*) => {$(
        #[doc = concat!("A word of [`", stringify!($set), "`] on its way to a caller.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(&'static str);

        impl From<$set> for $name {
            fn from(word: $set) -> Self {
                Self(word.as_str())
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let words: Vec<&'static str> = <$set>::ALL.iter().map(|word| word.as_str()).collect();
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(words))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($schema)
            }
        }
    )*};
}
pub(crate) use words;
