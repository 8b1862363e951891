//! What Meta posts, through HTTP: every answer, what is kept, what is repeated, and what too much of it does to others.

mod accounts;
mod duplicates;
mod kinds;
mod late;
mod load;
mod logged;
mod signature;
mod verification;
